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
import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlatency.experiments.analysis.interim_looks import MAX_LOOKS
from vlatency.experiments.evaluation.setting import Setting, crossed
from vlatency.experiments.run import Args, resolve
from vlatency.experiments.shared.command import check_range
from vlatency.experiments.sweeps.cell_store import canonical
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    import yaml

PRESETS = Path(__file__).parent / "presets"
KEYS = ("about", "episodes", "seed", "common", "across", "arms", "split", "break_even", "looks")
HOW = ("episodes", "seed", "workers", "engine", "address", "batch", "videos", "trace", "out", "resume")
"""Options of a run that are no arm's to choose."""
OPTIONS = {field.name: field for field in dataclasses.fields(Args) if field.name not in HOW}
FIRST_SEED = 10_000
AS_IS, LATE, WRONG = "", "late", "wrong"
"""Parts of a split: an arm itself, its timing with the reference's features, its features at the reference's timing."""

Place = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Cell:
    """One cell of the sweep's table.

    Attributes:
        place: the options that hold for all arms here, such as the task.
        arm: its name.
        part: AS_IS, LATE or WRONG.
        setting: what is measured; several cells of a sweep may have the same.
        policy: its folder.
    """

    place: Place
    arm: str
    part: str
    setting: Setting
    policy: str


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        name, about: for people.
        episodes: of each cell.
        looks: how often each comparison is looked at; 1: only at the end.
        arms: their names, the reference first.
        places: see `Cell`.
        cells: place by place, arm by arm.
        break_even: the option along which success falls and the threshold, if the sweep asks for that.
    """

    name: str
    about: str
    episodes: int
    looks: int
    arms: tuple[str, ...]
    places: tuple[Place, ...]
    cells: tuple[Cell, ...]
    break_even: tuple[str, float] | None = None

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Of all cells, each once."""
        return tuple(dict.fromkeys(cell.setting for cell in self.cells))

    @property
    def hash(self) -> str:
        """SHA-256 of what the sweep measures and compares, apart from its name."""
        content = [(cell.place, cell.arm, cell.part, cell.setting.hash) for cell in self.cells]
        whole = json.dumps([content, self.episodes, self.looks, self.break_even])
        return hashlib.sha256(whole.encode()).hexdigest()

    @property
    def comparisons(self) -> int:
        """How many arms are compared with a reference."""
        return len(self.places) * (len(self.arms) - 1)

    def cell(self, place: Place, arm: str, part: str = AS_IS) -> Cell | None:
        """The cell there, if the sweep has it."""
        found = (cell for cell in self.cells if (cell.place, cell.arm, cell.part) == (place, arm, part))
        return next(found, None)


def show(place: Place) -> str:
    """Such as "task conveyor, speed 0.05"."""
    return ", ".join(f"{name} {value}" for name, value in place) or "everywhere"


def presets() -> dict[str, Path]:
    """The sweeps that ship with vlatency, by name."""
    return {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}


def read_plan(
    source: str, episodes: int | None = None, looks: int | None = None, split: bool = False, policy: str | None = None
) -> Plan:
    """The sweep of a preset or a YAML file; the other arguments override what it says.

    Raises:
        UsageError: there is no such sweep, or it cannot be used.
    """
    import yaml

    path = presets().get(source, Path(source))
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # noqa: S506 - a SafeLoader
    except OSError:
        raise UsageError(f"no sweep '{source}'; give a YAML file, or one of {', '.join(presets())}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    try:
        spec = _checked(content, KEYS, "a sweep's keys are")
        spec |= {"episodes": episodes} if episodes else {}
        spec |= {"looks": looks} if looks else {}
        spec |= {"split": True} if split else {}
        if policy:
            spec["common"] = {**_checked(spec.get("common", {}), OPTIONS, "options are"), "policy": policy}
        return make_plan(path.stem, spec)
    except UsageError as error:
        raise UsageError(f"sweep {source}: {error}") from None


def _loader() -> "type[yaml.SafeLoader]":
    """YAML as usual, but a name that a mapping has twice is an error, where PyYAML would drop the first one."""
    import yaml

    class Once(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            names = [key.value for key, _ in node.value]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise UsageError(f"'{twice[0]}' is there twice in one mapping; keep one of them")
            return super().construct_mapping(node, deep)

    return Once


def make_plan(name: str, spec: dict[str, Any]) -> Plan:
    """The sweep that a YAML file's content describes. UsageError if it is wrong."""
    episodes, looks = _whole(spec.get("episodes", 20), "episodes"), _whole(spec.get("looks", 1), "looks")
    check_range("looks", looks, 1, min(MAX_LOOKS, episodes))
    common = _checked(spec.get("common", {}), OPTIONS, "options are")
    across = _checked(spec.get("across", {}), OPTIONS, "options are")
    for key, kind in (("split", bool), ("about", str)):
        if not isinstance(spec.get(key, kind()), kind):
            raise UsageError(f"{key} must be {'true or false' if kind is bool else 'text'}, not {spec[key]!r}")
    arms = {arm: _checked(o or {}, OPTIONS, "options are") for arm, o in _checked(spec.get("arms", {})).items()}
    if strange := [arm for arm in arms if not isinstance(arm, str) or not arm.strip()]:
        raise UsageError(f"arms: a name must be text, not {strange[0]!r}; put it in quotes")
    if not arms:
        raise UsageError("it has no arms; give at least one, a name and its options")
    for option, values in across.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"across: {option} needs a list of values")
        if any(isinstance(value, (list, dict)) or value is None for value in values):
            raise UsageError(f"across: {option} needs single values, such as 0.1 or static; write a list as '1,2'")
        if len(set(values)) < len(values):
            raise UsageError(f"across: {option} has a value twice; keep one of them")
        if any(option in options for options in arms.values()):
            raise UsageError(f"{option} is both across all arms and one arm's own")
    places = [tuple(zip(across, values, strict=True)) for values in itertools.product(*across.values())]
    cells: list[Cell] = []
    for place in places:
        reference: Cell | None = None
        for arm, options in arms.items():
            resolved = {**common, **dict(place), **options, "seed": spec.get("seed", FIRST_SEED), "episodes": episodes}
            cell = _cell(place, arm, resolved)
            reference = reference or cell
            twin = next((each.arm for each in cells if (each.place, each.setting) == (place, cell.setting)), None)
            if twin is not None:
                raise UsageError(f"arms: {arm} measures the same as {twin}; leave one of them out")
            cells.append(cell)
            if spec.get("split") and cell is not reference:
                cells += _parts(cell, reference)
    cells = [dataclasses.replace(cell, setting=canonical(cell.setting)) for cell in cells]
    fall = _break_even(spec["break_even"], across) if spec.get("break_even") else None
    return Plan(name, spec.get("about", ""), episodes, looks, tuple(arms), tuple(places), tuple(cells), fall)


def _cell(place: Place, arm: str, options: dict[str, Any]) -> Cell:
    from vlatency.envs.tasks import check_speed, find_task

    try:
        setting, policy = resolve(Args(**{name: _typed(name, value) for name, value in options.items()}))
        check_speed(find_task(setting.task), setting.speed)
        if len(setting.modes) != 1:
            raise UsageError("mode must be one of pause, sync, async: each mode is a cell of its own")
    except UsageError as error:
        raise UsageError(f"{arm}, {show(place)}: {error}") from None
    return Cell(place, arm, AS_IS, setting, str(policy))


def _parts(cell: Cell, reference: Cell) -> list[Cell]:
    """The two cells that tell whether this arm is late or wrong."""
    if cell.policy != reference.policy:
        raise UsageError(f"{cell.arm} has another policy than {reference.arm}: that is no split of one optimization")
    late, wrong = crossed(reference.setting, cell.setting), crossed(cell.setting, reference.setting)
    return [dataclasses.replace(cell, part=part, setting=setting) for part, setting in ((LATE, late), (WRONG, wrong))]


def _break_even(spec: Any, across: dict[str, Any]) -> tuple[str, float]:
    wanted = _checked(spec, ("over", "threshold"), "break_even's keys are")
    option, threshold = str(wanted.get("over")), wanted.get("threshold", 0.5)
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


def _typed(name: str, value: Any) -> Any:
    """A value of YAML as the option of that name has it. UsageError if it cannot be."""
    default = Args.__dataclass_fields__[name].default
    try:
        if isinstance(default, bool):
            if isinstance(value, bool):
                return value
        elif isinstance(default, int):
            return _whole(value, name)
        elif isinstance(default, str):
            return ",".join(map(str, value)) if isinstance(value, list) else str(value)
        elif not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise UsageError(f"{name} cannot be {value!r}")


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 and name != "seed":
        raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value
