"""What a report shows: studies, each read from the folder of a run or of a sweep, with figures as they stand there."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlatency.experiments.analysis.break_even import BreakEven
from vlatency.experiments.analysis.late_or_wrong import Split
from vlatency.experiments.analysis.paired import Interval, Paired
from vlatency.experiments.evaluation.run_folder import (
    CONFIG,
    EPISODES,
    SUMMARY_JSON,
    SUMMARY_MD,
    SWEEP,
    VIDEOS,
    Row,
    RunFolder,
)
from vlatency.experiments.sweeps.plan import AS_IS, show
from vlatency.sim.errors import UsageError

TIMING = ("latency", "vl_ms", "head_ms", "perf_factor", "latency_of", "seed")
"""Fields of a setting that say how long things take, or which episodes were run."""
Where = tuple[tuple[str, Any], ...]
"""The options that hold for all arms of a place, such as the task: `experiments.sweeps.plan.Place`."""


@dataclass(frozen=True)
class Shown:
    """One measured cell, or one that is still to be measured.

    Attributes:
        where: its place.
        arm: its name.
        mode: pause, sync or async.
        setting: as JSON.
        k, n: successes and episodes.
        success: with its interval; None if n is 0.
        vl_ms: nominal latency of an encode [ms].
        loop_ms: what a control tick waits for [ms]; None where the world waits.
        against: compared with the reference arm on shared seeds; None for the reference and where that is missing.
        letters: arms of a place that share one cannot be told apart.
        split: late or wrong.
        rows: the n episodes.
        latency: what was charged, and whether that was measured; None if n is 0.
        policy: folder, parameters, stand_in; None if n is 0.
    """

    where: Where
    arm: str
    mode: str
    setting: dict[str, Any]
    k: int
    n: int
    success: Interval | None
    vl_ms: float
    loop_ms: float | None
    against: Paired | None
    letters: str | None
    split: Split | None
    rows: tuple[Row, ...]
    latency: str | None
    policy: dict[str, Any] | None

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.setting["task"])

    @property
    def rate_hz(self) -> float | None:
        """Control ticks a second that the configuration can serve [Hz]; None where nothing limits them."""
        return 1000 / self.loop_ms if self.loop_ms else None

    @property
    def keeps_up(self) -> bool | None:
        """Whether it serves every control tick in time; None where the world waits for it."""
        return None if self.loop_ms is None else self.loop_ms * self.setting["control_hz"] <= 1000

    @property
    def outcomes(self) -> dict[int, bool]:
        """Success by seed."""
        return {row["seed"]: bool(row["success"]) for row in self.rows}


@dataclass(frozen=True)
class Film:
    """An episode on film, with the age of its features on the strip."""

    where: Where
    arm: str
    seed: int
    outcome: str
    path: Path


@dataclass(frozen=True)
class Study:
    """What one run or one sweep found.

    Attributes:
        name, about, command: for people.
        folder: where it was read from.
        arms: their names, the reference first.
        places: in the order measured.
        cells: place by place, arm by arm.
        falls: break-even by place (without the load) and arm.
        load: the option along which success falls, if there are any.
        looks: how often each comparison was looked at.
        drawn_by: the renderer, and versions.
        films: that lie in the folders.
    """

    name: str
    about: str
    command: str
    folder: Path
    arms: tuple[str, ...]
    places: tuple[Where, ...]
    cells: tuple[Shown, ...]
    falls: tuple[tuple[Where, str, BreakEven], ...]
    load: str | None
    looks: int
    drawn_by: str
    films: tuple[Film, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Each once."""
        return tuple(dict.fromkeys(cell.task for cell in self.cells))

    @property
    def only_timing_differs(self) -> bool:
        """All arms see and do the same in the same mode: what differs is how long it takes."""
        return len({_apart_from_timing(cell) for cell in self.cells}) == 1 and len({c.vl_ms for c in self.cells}) > 1

    def cell(self, where: Where, arm: str) -> Shown | None:
        """The cell there, if there is one."""
        return next((cell for cell in self.cells if (cell.where, cell.arm) == (where, arm)), None)

    def of_arm(self, arm: str) -> list[Shown]:
        """Its cells, in the order of places."""
        return [cell for cell in self.cells if cell.arm == arm]

    @property
    def latencies(self) -> tuple[str, ...]:
        """What the clock charged, each provenance once, without the figures."""
        found = dict.fromkeys(cell.latency.partition(": VL ")[0] for cell in self.cells if cell.latency)
        return tuple(f"{name} (chosen, not measured)" if name.startswith("fixed") else name for name in found)

    @property
    def policies(self) -> tuple[dict[str, Any], ...]:
        """Each once."""
        found = {json.dumps(cell.policy): cell.policy for cell in self.cells if cell.policy}
        return tuple(found.values())


def _apart_from_timing(cell: Shown) -> str:
    """What is measured, but for its place and what says how long things take, as text."""
    left_out = {*TIMING, "modes", *dict(cell.where)}
    return json.dumps([cell.mode, {key: value for key, value in cell.setting.items() if key not in left_out}])


def read_study(folder: Path) -> Study:
    """The study in a folder that `run.py` or `sweep.py` wrote. UsageError if there is none, or it is damaged."""
    if (folder / SWEEP).is_file():
        try:
            return _read_sweep(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{folder} holds a sweep that cannot be used ({error!r}); measure it again") from None
    if (folder / CONFIG).is_file():
        return read_run(RunFolder(folder))
    raise UsageError(f"{folder} holds no run and no sweep: it has neither {CONFIG} nor {SWEEP}")


def printed(sweep: Path) -> str:
    """The table of a sweep as it was printed. UsageError if its summary is not there."""
    try:
        return (sweep / SUMMARY_MD).read_text(encoding="utf-8").split("```")[1].strip("\n")
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{sweep / SUMMARY_MD} cannot be used ({error!r}); measure the sweep again") from None


def read_run(run: RunFolder) -> Study:
    """A run as a study: its modes are the arms, pause the reference."""
    from vlatency.agent.realtime.episode import MODES
    from vlatency.experiments.reporting.mode_table import REFERENCE, compare
    from vlatency.experiments.reporting.run_summary import summary
    from vlatency.experiments.sweeps.verdicts import pace_ms

    setting = run.setting
    where: Where = (("task", setting["task"]),)
    if setting.get("speed") is not None:
        where += (("speed", setting["speed"]),)
    judged, against = summary(run.config, run.rows), compare(run.rows)
    cells = []
    for found in judged["cells"]:
        mode = found["mode"]
        cells.append(
            Shown(
                where=where,
                arm=mode,
                mode=mode,
                setting=setting,
                k=found["k"],
                n=found["n"],
                success=Interval(found["success"], found["ci_low"], found["ci_high"]),
                vl_ms=found["vl_ms"],
                loop_ms=pace_ms(mode, setting["vl_ms"], setting["head_ms"]),
                against=against.get(mode),
                letters=None,
                split=None,
                rows=tuple(row for row in run.rows if row["mode"] == mode),
                latency="none" if mode == REFERENCE else run.config["latency"],
                policy=run.config["policy"],
            )
        )
    return Study(
        name=run.config["name"],
        about=f"task {show(where).removeprefix('task ')}, in each mode of running the model",
        command=run.config["command"],
        folder=run.path,
        arms=tuple(mode for mode in MODES if mode in setting["modes"]),
        places=(where,),
        cells=tuple(cells),
        falls=(),
        load=None,
        looks=1,
        drawn_by=_software(run.config),
        films=tuple(_films(run.path, where, None)),
    )


def _read_sweep(folder: Path) -> Study:
    about = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
    judged = json.loads((folder / SUMMARY_JSON).read_text(encoding="utf-8"))
    whole = [cell for cell in about["cells"] if cell["part"] == AS_IS]
    cells, films = [], {}
    for plan, found in zip(whole, judged["cells"], strict=True):
        where = tuple(plan["place"].items())
        path = folder.parent / "cells" / plan["folder"]
        run = RunFolder(path) if (path / CONFIG).is_file() else None
        if found["n"] and (run is None or not (path / EPISODES).is_file()):
            raise ValueError(f"{path} is not there")
        setting, n = plan["setting"], found["n"]
        rows = [row for row in run.rows if row["seed"] < setting["seed"] + n] if run else []
        cells.append(
            Shown(
                where=where,
                arm=plan["arm"],
                mode=setting["modes"][0],
                setting=setting,
                k=found["k"],
                n=n,
                success=Interval(**found["success"]) if found["success"] else None,
                vl_ms=found["vl_ms"],
                loop_ms=found["loop_ms"],
                against=_paired(found["against_reference"]),
                letters=found["letters"],
                split=_split(found["late_or_wrong"]),
                rows=tuple(sorted(rows, key=lambda row: row["seed"])),
                latency=run.config["latency"] if run and n else None,
                policy=run.config["policy"] if run and n else None,
            )
        )
        films.update({(where, plan["arm"], film.seed): film for film in _films(path, where, plan["arm"])})
    falls = [(tuple(fall.pop("place").items()), fall.pop("arm"), BreakEven(**fall)) for fall in judged["break_even"]]
    load = next((name for name, _ in cells[0].where if name not in dict(falls[0][0])), None) if falls else None
    return Study(
        name=about["name"],
        about=about["about"],
        command=about["command"],
        folder=folder,
        arms=tuple(dict.fromkeys(cell.arm for cell in cells)),
        places=tuple(dict.fromkeys(cell.where for cell in cells)),
        cells=tuple(cells),
        falls=tuple(falls),
        load=load,
        looks=about["looks"],
        drawn_by=_software(about["software"]),
        films=tuple(films.values()),
    )


def _paired(found: dict[str, Any] | None) -> Paired | None:
    return Paired(**{**found, "difference": Interval(**found["difference"])}) if found else None


def _split(found: dict[str, Any] | None) -> Split | None:
    if found is None:
        return None
    total, late, wrong = (_paired(found[part]) for part in ("total", "late", "wrong"))
    assert total and late and wrong
    return Split(total, late, wrong, Interval(**found["interaction"]))


def _films(run: Path, where: Where, arm: str | None) -> Iterable[Film]:
    """The films of a run; each mode is an arm unless one is named."""
    for path in sorted((run / VIDEOS).glob("*-*-*.mp4")):
        mode, seed, outcome = path.stem.split("-")
        if seed.isdecimal():
            yield Film(where, arm or mode, int(seed), outcome, path)


def _software(software: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in software["versions"].items())
    return f"Drawn by {software['gl_renderer']}; {versions}"
