"""What a run or a sweep says when it ends: the table that is printed, summary.md and summary.json."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlatency.experiments.analysis.break_even import BreakEven
from vlatency.experiments.evaluation import feature_ages
from vlatency.experiments.evaluation.run_folder import SCHEMA, SUMMARY_JSON, SUMMARY_MD
from vlatency.experiments.reporting.result import Policy, Result
from vlatency.experiments.reporting.wording import (
    comparison,
    divided,
    encode_details,
    limits,
    policy_line,
    surroundings,
)
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.shared.table import markdown_table, milliseconds, percent, text_table
from vlatency.experiments.sweeps.plan import Place, Plan, show

Falls = dict[tuple[Place, str], BreakEven]
Column = tuple[str, Callable[[Result], str]]


def _rate(result: Result) -> str:
    return f"{percent(result.success.estimate)}%" if result.success else "not measured"


def _missed(result: Result) -> str:
    return f"{100 * result.missed / result.ticks:.1f}%" if result.missed else "0"


def _seconds(result: Result) -> str:
    return "-" if result.time_to_success_s is None else f"{result.time_to_success_s:.1f} s"


def _keeps_up(result: Result) -> str:
    return {None: "world waits", True: "yes", False: "no"}[result.keeps_up]


LETTERS: Column = ("letters", lambda result: result.letters or "")
SUCCESS: tuple[Column, ...] = (
    ("k/n", lambda result: f"{result.k}/{result.n}" if result.n else "-"),
    ("success\nrate", _rate),
    ("95 % CI", lambda result: limits(result.success) if result.success else ""),
    ("VL\nms", lambda result: milliseconds(result.vl_ms)),
)
MODE_COLUMNS: tuple[Column, ...] = (
    ("mode", lambda result: result.arm),
    *SUCCESS,
    ("feature age\np50", lambda result: milliseconds(result.feature_age_ms_p50)),
    ("[ms]\np95", lambda result: milliseconds(result.feature_age_ms_p95)),
    ("ticks\nmissed", _missed),
    ("time to\nsuccess", _seconds),
)
"""Of the table of a run, whose arms are modes."""
ARM_COLUMNS: tuple[Column, ...] = (
    ("arm", lambda result: result.arm),
    *SUCCESS,
    ("loop\nms", lambda result: milliseconds(result.loop_ms) if result.loop_ms is not None else "-"),
    ("loop\nHz", lambda result: f"{result.rate_hz:.1f}" if result.rate_hz else "-"),
    ("keeps\nup", _keeps_up),
    LETTERS,
)
"""Of the table of a sweep. Letters are left out where there are none."""


@dataclass(frozen=True)
class Summary:
    """All that is said of a plan once its episodes are there.

    Attributes:
        plan: what was to be measured.
        results: one an arm and place.
        falls: break-even by place (without the load) and arm.
        columns: of the table.
        command: that measured it.
        software: versions, renderer, and for a sweep the hash of the code.
    """

    plan: Plan
    results: tuple[Result, ...]
    falls: Falls
    columns: tuple[Column, ...]
    command: str
    software: dict[str, Any]

    def text(self) -> list[str]:
        """A table a place, then what it permits to say."""
        lines: list[str] = []
        for place in self.plan.places:
            here = [result for result in self.results if result.place == place]
            columns = [each for each in self.columns if each != LETTERS or any(result.letters for result in here)]
            rows = [[value(result) for _, value in columns] for result in here]
            lines += ["", show(place)] if len(self.plan.places) > 1 else [""]
            lines += [f"  {line}" for line in text_table([head for head, _ in columns], rows)]
            lines += [f"  {line}" for line in self._comparisons(here)]
        return lines[1:] + self.notes()

    def _comparisons(self, results: Sequence[Result]) -> list[str]:
        reference = self.plan.arms[0]
        return [
            f"{each.arm} against {reference}, same seeds: {comparison(each.against)}"
            for each in results
            if each.against
        ]

    def notes(self) -> list[str]:
        """The sentences under the tables."""
        lines: list[str] = []
        parted = [result for result in self.results if result.split]
        if parted:
            once = ", as if looked at once" * (self.plan.looks > 1)
            lines += ["", f"late or wrong, against {self.plan.arms[0]} on the same seeds{once}"]
            lines += [f"  {each.arm}, {show(each.place)}: {divided(each.split)}" for each in parted if each.split]
        if self.plan.break_even:
            option, threshold = self.plan.break_even
            lines += [
                "",
                f"break-even: the {option} above which success is below {percent(threshold)} % [95 % interval]",
            ]
            lines += [
                f"  {arm}{f', {show(rest)}' if rest else ''}: {fall.describe()}"
                for (rest, arm), fall in self.falls.items()
            ]
        count = sum(result.against is not None for result in self.results)
        if count:
            several = f", adjusted by Holm over {count} comparisons" * (count > 1)
            lines += ["", f"p-values are exact McNemar on shared seeds{several};"]
            lines.append("intervals of differences are Newcombe's, each at 95 % by itself")
        if LETTERS in self.columns and any(result.letters for result in self.results):
            lines.append("arms that share a letter cannot be told apart (Holm over the pairs of the place)")
        if self.plan.looks > 1:
            lines.append(
                f"each comparison was looked at up to {self.plan.looks} times; p-values allow for it, intervals do not"
            )
        lines += [swap_line(each) for each in self.results if each.setting.swap_instruction and each.n]
        if not all(result.n for result in self.results):
            lines.append("not all cells are measured yet")
        return lines

    def as_json(self) -> dict[str, Any]:
        """What summary.json holds."""
        rows = [row for result in self.results for row in result.rows]
        falls = [{"place": dict(rest), "arm": arm, **asdict(fall)} for (rest, arm), fall in self.falls.items()]
        return {
            "schema": SCHEMA,
            "name": self.plan.name,
            "about": self.plan.about,
            "episodes": self.plan.episodes,
            "looks": self.plan.looks,
            "command": self.command,
            "software": self.software,
            "results": [result.as_json() for result in self.results],
            "break_even": falls,
            "feature_age": {
                "bins_ms": feature_ages.BINS,
                "ticks": [feature_ages.total(result.rows) for result in self.results],
            },
            "success_against_age": feature_ages.success_against_age(rows),
        }

    def markdown(self) -> str:
        """What summary.md holds."""
        heads = [head for head, _ in self.columns]
        lines = [f"# {self.plan.name}", "", self.plan.about, ""]
        for place in self.plan.places:
            here = [result for result in self.results if result.place == place]
            lines += [f"## {show(place)}", ""] if len(self.plan.places) > 1 else []
            lines += [*markdown_table(heads, [[value(result) for _, value in self.columns] for result in here]), ""]
            lines += [f"- {line}" for line in self._comparisons(here)]
        lines += ["", *(f"- {line.strip()}" for line in self.notes() if line), *self._provenance()]
        lines += ["", *feature_ages.markdown({result.arm: result.rows for result in self.results})]
        return "\n".join([*lines, f"    {self.command}", ""])

    def _provenance(self) -> list[str]:
        measured = [result for result in self.results if result.origin]
        policies = dict.fromkeys(result.origin.policy for result in measured if result.origin)
        latencies = dict.fromkeys(result.origin.latency for result in measured if result.origin)
        first = self.results[0].setting
        versions = ", ".join(f"{name} {version}" for name, version in self.software["versions"].items())
        around = dict.fromkeys(
            line for each in self.results for line in [*encode_details(each.setting, None), *surroundings(each.setting)]
        )
        return [
            f"- seeds from {first.seed}; {first.timing.control_hz:g} Hz control",
            *(f"- {line}" for line in around),
            *(f"- policy {policy_line(policy)}. {meaning(policy)}" for policy in policies),
            *(f"- latency {latency}" for latency in latencies),
            *(["- control: the policy saw black images"] if first.blackout else []),
            f"- drawn by {self.software['gl_renderer']}; {versions}",
        ]

    def write(self, folder: Path) -> None:
        """Write summary.json and summary.md into a folder."""
        write_text(folder / SUMMARY_JSON, json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n")
        write_text(folder / SUMMARY_MD, self.markdown())


def meaning(policy: Policy) -> str:
    """Whose success it is."""
    if policy.stand_in:
        return "Success is the tiny stand-in's; Qwen2.5-VL-3B itself was not run"
    return "Success is this policy's own"


def swap_line(result: Result) -> str:
    """What was lifted where the policy was told another object than the task's."""

    def lifted(key: str) -> str:
        return f"{sum(bool(row[key]) for row in result.rows)}/{result.n}"

    return (
        f"{result.arm}, told another object: lifted the instructed one {lifted('instructed_lifted')}, "
        f"the former target {lifted('former_target_lifted')}"
    )
