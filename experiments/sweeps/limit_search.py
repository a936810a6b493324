"""A search for the largest latency (or delay, or speed) that a task forgives: its axes, its record, its episodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlatency.agent.realtime.timing import Latency
from vlatency.experiments.analysis.threshold import Design, Limit, Search
from vlatency.experiments.evaluation.configuration import Configuration
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.shared.table import percent, text_table
from vlatency.sim.errors import UsageError

AxisName = Literal["vl-latency", "head-latency", "camera-delay", "actuation", "speed"]
LEVELS = 33
"""Values that may be tried, evenly from the lowest to the highest."""
RECORD = "search.jsonl"
"""The file of a search: its declaration, then one line a batch."""


@dataclass(frozen=True)
class Axis:
    """What is varied.

    Attributes:
        unit: of its values.
        low, high: the range that is searched unless another one is asked for.
        apply: the configuration at a value, given what the clock charges where it is not varied.
    """

    unit: str
    low: float
    high: float
    apply: Callable[[Configuration, float, Latency], Configuration]


def _latency(configuration: Configuration, vl_ms: float, head_ms: float) -> Configuration:
    return replace(configuration, clock=replace(configuration.clock, latency=f"fixed:{vl_ms!r},{head_ms!r}"))


def _camera(configuration: Configuration, delay_ms: float) -> Configuration:
    clock = configuration.clock
    return replace(configuration, clock=replace(clock, robot=replace(clock.robot, camera_delay_ms=delay_ms)))


def _actuation(configuration: Configuration, delay_ms: float) -> Configuration:
    clock = configuration.clock
    return replace(configuration, clock=replace(clock, robot=replace(clock.robot, actuation_ms=delay_ms)))


AXES: dict[AxisName, Axis] = {
    "vl-latency": Axis("ms", 0, 1600, lambda options, value, base: _latency(options, value, base.head_ms)),
    "head-latency": Axis("ms", 0, 400, lambda options, value, base: _latency(options, base.vl_ms, value)),
    "camera-delay": Axis("ms", 0, 800, lambda options, value, base: _camera(options, value)),
    "actuation": Axis("ms", 0, 800, lambda options, value, base: _actuation(options, value)),
    "speed": Axis("m/s", 0.01, 0.12, lambda options, value, base: replace(options, speed=value)),
}


def levels_between(low: float, high: float) -> tuple[float, ...]:
    """The values that may be tried. UsageError unless `low` is below `high`."""
    if not 0 <= low < high:
        raise UsageError(f"low must be at least 0 and below high, not {low:g} with high {high:g}")
    return tuple(round(float(value), 6) for value in np.linspace(low, high, LEVELS))


def one_setting(configuration: Configuration, seed: int, episodes: int) -> tuple[Setting, str]:
    """The setting of one mode, and the policy. UsageError if there is more than one, or none of that kind."""
    settings, policy = configuration.settings(seed, episodes)
    if len(settings) != 1 or settings[0].mode == "pause":
        raise UsageError("a search is about one mode, sync or async: in pause mode no latency is charged")
    return settings[0], policy


class Record:
    """The file of a search, from which it goes on where it stopped."""

    def __init__(self, folder: Path, declared: Mapping[str, Any]) -> None:
        """Open or begin it. UsageError if the folder holds a search that was declared otherwise."""
        self.path = folder / RECORD
        now = json.loads(json.dumps(declared))
        if not self.path.is_file():
            write_text(self.path, json.dumps(now) + "\n")
        try:
            then, *batches = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
            self.batches = [(int(batch["level"]), int(batch["successes"]), int(batch["episodes"])) for batch in batches]
            changed = sorted(name for name in {*then, *now} if then.get(name) != now.get(name))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{self.path} cannot be used ({error}); choose another --out") from None
        if changed:
            raise UsageError(f"{folder} holds a search with another {', '.join(changed)}; choose another --out")

    def append(self, level: int, value: float, successes: int, episodes: int) -> None:
        """Keep a batch."""
        batch = {"level": level, "value": value, "successes": successes, "episodes": episodes}
        write_text(self.path, self.path.read_text(encoding="utf-8") + json.dumps(batch) + "\n")
        self.batches.append((level, successes, episodes))


def search(
    design: Design,
    record: Record,
    seed: int,
    setting_at: Callable[[float], tuple[Setting, str]],
    run: Callable[[Sequence[Job]], Sequence[Row]],
    say: Callable[[Search, float], None],
) -> Search:
    """Run batches until the interval is narrow enough, each on scenes that no other batch has seen.

    Args:
        design: declared before the first episode.
        record: of what was run before, and of what is run now.
        seed: of the first episode.
        setting_at: the setting and the policy at a value.
        run: episodes.
        say: is told of the search after each batch, and at which value it was.
    """
    found = Search(design)
    for level, successes, episodes in record.batches:
        found.add(level, successes, episodes)
    while (place := found.next_level()) is not None:
        value, first = design.levels[place], seed + int(found.episodes.sum())
        setting, policy = setting_at(value)
        rows = run([Job(setting, policy, first + number) for number in range(design.batch)])
        good = sum(bool(row["success"]) for row in rows)
        record.append(place, value, good, len(rows))
        found.add(place, good, len(rows))
        say(found, value)
    return found


def declaration(
    design: Design, axis: AxisName, setting: Setting, policy: str, software: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything on which the episodes and the order of the search depend.

    Args:
        design: of the search.
        axis: what is varied.
        setting: at the lowest value.
        policy: that is evaluated.
        software: of the worker.
    """
    rule = {name: value for name, value in asdict(design).items() if name != "most"}  # the end may be put off
    declared = {"axis": axis, "design": rule, "setting": setting.as_json()}
    return declared | {"policy": policy, "software": dict(software)}


def interval(limit: Limit, unit: str) -> str:
    """The interval in words."""
    low, high = limit.low, limit.high
    if limit.rises:
        where = "none, as success rises along this axis"
    elif low is None:
        where = "not known" if high is None else f"below {high:g} {unit}"
    else:
        where = f"{low:g} {unit} or more" if high is None else f"{low:g} to {high:g} {unit}"
    return f"{where} (95 %, {limit.episodes} episodes)"


def tried(found: Search, unit: str) -> list[str]:
    """Lines of text: each value that was tried, with its successes."""
    rows = [
        [f"{level:g} {unit}", f"{good}/{count}", percent(good / count)]
        for level, good, count in zip(found.design.levels, found.successes, found.episodes, strict=True)
        if count
    ]
    return text_table(["tried", "k/n", "rate %"], rows)


def tornado(limits: Mapping[AxisName, Limit]) -> list[str]:
    """Lines of text: a bar for each axis, the one whose milliseconds hurt most first; what is not certain is dotted."""
    ends = {name: (limit.low or 0.0, AXES[name].high if limit.high is None else limit.high)
            for name, limit in limits.items() if not limit.rises}  # fmt: skip
    px = 50 / max(high for _, high in ends.values()) if ends else 0.0
    rows = [
        [name, "#" * round(low * px) + "." * (round(high * px) - round(low * px)), interval(limits[name], "ms")]
        for name, (low, high) in sorted(ends.items(), key=lambda each: sum(each[1]))
    ]
    return [f"{name:<14} {bar:<50}  {words}" for name, bar, words in rows]
