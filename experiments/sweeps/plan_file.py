"""What a sweep measures: a YAML file becomes cells.

about: one line that says what the sweep asks
episodes: 100                        # of each cell, on the same seeds
common: {latency: insertion_vla}     # options of experiments/run.py, for all arms
across: {task: [static, conveyor]}   # each arm in each place: all combinations of these
arms:                                # the first one is the reference
  current: {views: 5, res: 640x360, mode: sync}
  224 px:  {views: 5, res: 224, mode: sync}
split: true                          # optional: for each other arm two more cells, see analysis/late_or_wrong.py
break_even: {over: speed, threshold: 0.5}   # optional: see experiments/analysis/break_even.py
looks: 5                             # optional: stop early what is decided, see experiments/analysis/interim_looks.py
"""

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vlatency.agent.realtime.cost.named import NoFigure
from vlatency.experiments.analysis.interim_looks import MAX_LOOKS
from vlatency.experiments.evaluation.configuration import OPTIONS, parse_options
from vlatency.experiments.evaluation.setting import Setting, crossed
from vlatency.experiments.shared.command import check_range
from vlatency.experiments.sweeps.cell_store import canonical
from vlatency.experiments.sweeps.plan import AS_IS, LATE, WRONG, Cell, Place, Plan, show
from vlatency.sim.errors import UsageError

PRESETS = Path(__file__).parent / "presets"
KEYS = ("about", "episodes", "seed", "common", "across", "arms", "split", "break_even", "looks")
FIRST_SEED = 10_000


def presets() -> dict[str, Path]:
    """The sweeps that ship with vlatency, by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


@dataclass(frozen=True)
class Overrides:
    """What a command line changes of a sweep."""

    episodes: int = 0
    """Episodes of each cell; 0 takes what the sweep says."""
    looks: int = 0
    """Look at the results so many times, and stop measuring what is decided; 0 takes what the sweep says, or only the
    end."""
    split: bool = False
    """Late or wrong: two more cells for each arm, its timing and its features apart."""
    policy: str = ""
    """A policy, as in run.py; default is what the sweep says, or tiny."""
    env: str = ""
    """An environment, as in run.py; default is what the sweep says, or vlatency."""


def read_plan(source: str, change: Overrides = Overrides()) -> Plan:
    """The sweep of a preset or a YAML file.

    Raises:
        UsageError: there is no such sweep, or it cannot be used.
    """
    path = presets().get(source, Path(source))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError:
        raise UsageError(f"no sweep '{source}'; give a YAML file, or one of {', '.join(presets())}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    check_range("episodes", change.episodes, 0)
    check_range("looks", change.looks, 0)
    try:
        spec = _checked(content, KEYS, "a sweep's keys are")
        changed = {"episodes": change.episodes, "looks": change.looks, "split": change.split}
        spec |= {name: value for name, value in changed.items() if value}
        if options := {name: value for name in ("policy", "env") if (value := getattr(change, name))}:
            spec["common"] = _checked(spec.get("common", {}), OPTIONS, "options are") | options
        return make_plan(path.stem, spec)
    except UsageError as error:
        raise UsageError(f"sweep {source}: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML as usual, but a name that a mapping has twice is an error, where PyYAML would drop the first one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(f"'{twice[0]}' is there twice in one mapping; keep one of them")
        return super().construct_mapping(node, deep)


def make_plan(name: str, spec: dict[str, Any]) -> Plan:
    """The sweep that a YAML file's content describes. UsageError if it is wrong."""
    episodes, looks = _whole(spec.get("episodes", 20), "episodes"), _whole(spec.get("looks", 1), "looks")
    check_range("looks", looks, 1, min(MAX_LOOKS, episodes))
    seed = _whole(spec.get("seed", FIRST_SEED), "seed", least=0)
    for key, kind in (("split", bool), ("about", str)):
        if not isinstance(spec.get(key, kind()), kind):
            raise UsageError(f"{key} must be {'true or false' if kind is bool else 'text'}, not {spec[key]!r}")
    common, arms = _checked(spec.get("common", {}), OPTIONS, "options are"), _arms(spec.get("arms", {}))
    across = _across(spec.get("across", {}), arms)
    places = [tuple(zip(across, values, strict=True)) for values in itertools.product(*across.values())]
    made: dict[tuple[Place, str], Cell] = {}
    left_out: dict[str, str] = {}
    for arm, options in arms.items():
        try:
            made |= {(p, arm): _cell(p, arm, {**common, **dict(p), **options}, seed, episodes) for p in places}
        except NoFigure as error:
            if not made:  # without a reference there is nothing to compare
                raise
            left_out[arm] = str(error)
    arms = {arm: options for arm, options in arms.items() if arm not in left_out}
    cells: list[Cell] = []
    for place in places:
        reference: Cell | None = None
        for arm in arms:
            cell = made[place, arm]
            reference = reference or cell
            for other in cells:
                if (other.place, other.part, other.setting) == (place, AS_IS, cell.setting):
                    raise UsageError(f"arms: {arm} measures the same as {other.arm}; leave one of them out")
            cells.append(cell)
            if spec.get("split") and cell is not reference:
                cells += _parts(cell, reference)
    cells = [dataclasses.replace(cell, setting=canonical(cell.setting)) for cell in cells]
    _check_places(places, cells)
    fall = _break_even(spec["break_even"], across) if spec.get("break_even") else None
    about, without = spec.get("about", ""), tuple(left_out.items())
    return Plan(name, about, episodes, looks, tuple(arms), tuple(places), tuple(cells), fall, without)


def _check_places(places: list[Place], cells: list[Cell]) -> None:
    """UsageError if two places are one, as those of res 224 and res 224x224."""
    seen: dict[tuple[Setting, ...], Place] = {}
    for place in places:
        first = seen.setdefault(tuple(cell.setting for cell in cells if cell.place == place), place)
        if first != place:
            raise UsageError(f"across: {show(place)} measures the same as {show(first)}; leave one of them out")


def _arms(content: Any) -> dict[str, dict[str, Any]]:
    arms = {arm: _checked(o or {}, OPTIONS, "options are") for arm, o in _checked(content).items()}
    if strange := [arm for arm in arms if not isinstance(arm, str) or not arm.strip()]:
        raise UsageError(f"arms: a name must be text, not {strange[0]!r}; put it in quotes")
    if not arms:
        raise UsageError("it has no arms; give at least one, a name and its options")
    return arms


def _across(content: Any, arms: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    across = _checked(content, OPTIONS, "options are")
    for option, given in across.items():
        if not isinstance(given, list) or not given:
            raise UsageError(f"across: {option} needs a list of values")
        if any(isinstance(value, (list, dict)) or value is None for value in given):
            raise UsageError(f"across: {option} needs single values, such as 0.1 or static; write a list as '1,2'")
        values = across[option] = [_number(value, OPTIONS[option]) for value in given]
        if len(set(values)) < len(values):
            raise UsageError(f"across: {option} has a value twice; keep one of them")
        if any(option in options for options in arms.values()):
            raise UsageError(f"{option} is both across all arms and one arm's own")
    return across


def _number(value: Any, kind: Any) -> Any:
    """The number that a text says, if the option wants one: YAML takes 1e-2 for text. Other values as they are."""
    number = next((each for each in (int, float) if kind in (each, each | None)), None)
    try:
        return number(value) if number and isinstance(value, str) else value
    except ValueError:
        return value


def _cell(place: Place, arm: str, options: dict[str, Any], seed: int, episodes: int) -> Cell:
    from vlatency.envs.tasks import check_speed, find_task  # MuJoCo, which a help text must not wait for

    try:
        settings, policy = parse_options(options).settings(seed, episodes)
        setting = settings[0]
        if setting.timing.latency.basis == "live":
            raise UsageError("latency measured differs from run to run, so that a sweep cannot compare it; use run.py")
        if not setting.guest:
            check_speed(find_task(setting.task), setting.speed)
        if "mode" not in options or len(settings) != 1:
            raise UsageError("mode must be one of pause, sync, async: each mode is a cell of its own")
    except NoFigure:
        raise
    except UsageError as error:
        raise UsageError(f"{arm}, {show(place)}: {error}") from None
    return Cell(place, arm, AS_IS, setting, policy)


def _parts(cell: Cell, reference: Cell) -> list[Cell]:
    """The two cells that tell whether this arm is late or wrong."""
    if cell.policy != reference.policy:
        raise UsageError(f"{cell.arm} has another policy than {reference.arm}: that is no split of one optimization")
    late, wrong = crossed(reference.setting, cell.setting), crossed(cell.setting, reference.setting)
    return [dataclasses.replace(cell, part=part, setting=setting) for part, setting in ((LATE, late), (WRONG, wrong))]


def _break_even(spec: Any, across: dict[str, Any]) -> tuple[str, float]:
    wanted = _checked(spec, ("over", "threshold"), "break_even's keys are")
    option, threshold = str(wanted.get("over")), _number(wanted.get("threshold", 0.5), float)
    numbers = [value for value in across.get(option, ()) if type(value) in (int, float)]
    if len(numbers) < 2 or len(numbers) < len(across[option]):
        raise UsageError(f"break_even: over must name an option that across has several numbers of, not {option}")
    if not isinstance(threshold, float) or not 0 < threshold < 1:
        raise UsageError(f"break_even: threshold must be above 0 and below 1, not {threshold}")
    return option, threshold


def _checked(content: Any, keys: Any = None, says: str = "") -> dict[str, Any]:
    """A copy of a mapping whose keys are known. UsageError if it is none, or has others."""
    if not isinstance(content, dict):
        raise UsageError(f"expected names with values, not {content!r}")
    for key in content:
        if keys is not None and key not in keys:
            raise UsageError(f"unknown '{key}'; {says} {', '.join(keys)}")
    return dict(content)


def _whole(value: Any, name: str, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return value
