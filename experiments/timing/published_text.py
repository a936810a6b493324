"""Published latencies in words: which ones are asked for, each with its source, and where they disagree."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlatency.agent.realtime.cost.published import Record, Role, zoo
from vlatency.experiments.shared.table import milliseconds, text_table
from vlatency.sim.errors import UsageError

UNLIKE, FAR = 1.2, 2.0
"""Ratios of two figures from which on they disagree: with the same software, and with different software."""
OF = {"call": "whole call", "encode": "encode", "part": "part"}


@dataclass(frozen=True)
class Wanted:
    """Which records are asked for. A word selects names that begin with it: orin also selects orin-nano."""

    model: str = ""
    device: str = ""
    software: str = ""
    role: Role | None = None

    def select(self) -> list[Record]:
        """The records. UsageError, which lists the words that there are, if there are none."""
        asked = {"model": self.model, "device": self.device, "software": self.software}
        found = list(zoo().records)
        for place, (part, word) in enumerate(asked.items()):
            known = dict.fromkeys(record.name.split("/")[place] for record in found)
            found = [record for record in found if _begins(record.name.split("/")[place], word.lower())]
            if not found:
                raise UsageError(f"nothing is published with {part} {word}; there are {', '.join(sorted(known))}")
        found = [record for record in found if self.role in (None, record.role)]
        if not found:
            raise UsageError(f"of these, nothing covers a{'n' * (self.role == 'encode')} {self.role}")
        return found


def _begins(name: str, word: str) -> bool:
    return not word or name == word or name.startswith(f"{word}-")


def listing(records: Sequence[Record]) -> list[str]:
    """Lines of text: each name with its figures and, below them, where they stand."""
    lines: list[str] = []
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.name, []).append(record)
    for name, group in groups.items():
        lines += ["", f"{name}  {group[0].model}; {group[0].device}; {group[0].software}"]
        rows = [[f"  {each.id}", _total(each), each.timed, OF[each.role]] for each in group]
        table = text_table(["", "", "", ""], rows)[1:]
        lines += [f"{row}  {_rest(each)}" for row, each in zip(table, group, strict=True)]
        lines += [f"  from {source}" for source in dict.fromkeys(map(source_of, group))]
    return lines[1:]


def source_of(record: Record) -> str:
    """Where a figure stands."""
    thread = " (thread)" * (record.read == "I")
    return f"{record.source}, {record.path}, {record.commit}{thread}"


def _total(record: Record) -> str:
    return "-" if record.total_ms is None else f"{milliseconds(record.total_ms)} ms"


def _rest(record: Record) -> str:
    said = [record.configuration]
    said += [record.covers] * (record.role == "part")
    tails = {"p95": record.p95_ms, "p99": record.p99_ms, "first call": record.first_call_ms}
    said += [f"{name} {milliseconds(ms)}" for name, ms in tails.items() if ms is not None]
    said += [f"{len(record.samples_ms)} samples"] if record.samples_ms else []
    said += [" + ".join(f"{name} {milliseconds(ms)}" for name, ms in record.stages_ms.items())] * bool(record.stages_ms)
    return "; ".join(said)


def in_full(records: Iterable[Record]) -> list[str]:
    """Every field of some records."""
    lines: list[str] = []
    for record in records:
        fields = record.model_dump(exclude_defaults=True)
        lines += ["", *(f"{name:<14} {_plain(value)}" for name, value in fields.items())]
    return lines[1:]


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Disagreement:
    """Figures of one model on one device that differ although they are of the same thing.

    Attributes:
        about: model and device, and the software if it is the same.
        records: from the fastest to the slowest.
        same_software: whether software is no explanation.
    """

    about: str
    records: tuple[Record, ...]
    same_software: bool

    @property
    def ratio(self) -> float:
        """The slowest over the fastest."""
        return (self.records[-1].total_ms or 0) / (self.records[0].total_ms or 1)


def disagreements(records: Iterable[Record]) -> list[Disagreement]:
    """Where two sources measured the same and found another figure, the same software first, then the largest ratio."""
    groups: dict[tuple[str, str, bool], dict[str, Record]] = {}
    for one, two in itertools.combinations([record for record in records if record.total_ms], 2):
        if not _comparable(one, two):
            continue
        same = _family(one) == _family(two)
        if not same and _project(one) == _project(two):
            continue  # versions of one project, each with another of its own software paths
        low, high = sorted((one.total_ms or 0, two.total_ms or 0))
        if high >= low * (UNLIKE if same else FAR):
            key = (_board(one), _family(one) if same else "", same)
            groups.setdefault(key, {}).update({one.id: one, two.id: two})
    found = [
        Disagreement(
            f"{board}/{family}" if same else board,
            tuple(sorted(group.values(), key=lambda record: (record.total_ms or 0, record.id))),
            same,
        )
        for (board, family, same), group in groups.items()
    ]
    return sorted(found, key=lambda each: (not each.same_software, -each.ratio))


def _comparable(one: Record, two: Record) -> bool:
    """Whether two sources claim to have measured the same. What one of them does not state is no difference."""
    if one.source == two.source or one.name == two.name or _board(one) != _board(two):
        return False
    stated = [(one.views, two.views), (one.resolution, two.resolution), (one.denoise_steps, two.denoise_steps)]
    stated += [(_precision(one), _precision(two))]
    same_part = one.role == two.role and (one.role != "part" or one.covers == two.covers)
    return same_part and one.batch == two.batch and all(a == b or None in (a, b) for a, b in stated)


def _board(record: Record) -> str:
    """Model and device, without its memory."""
    return re.sub(r"-\d+gb$", "", record.name.rpartition("/")[0])


def _family(record: Record) -> str:
    """Software without its version and without how it was called."""
    return re.sub(r"-(early|standalone|server|bench|[\d.]+)$", "", record.name.rpartition("/")[2])


def _project(record: Record) -> str:
    found = re.search(r"[\w.-]+/[\w.-]+", record.source)
    return found[0] if found else record.source


def _precision(record: Record) -> str | None:
    return re.sub(r" \(.*?\)", "", record.precision) if record.precision else None


def side_by_side(found: Sequence[Disagreement]) -> list[str]:
    """Lines of text: each disagreement as a small table."""
    lines: list[str] = []
    for each in found:
        why = "the same software" if each.same_software else "different software"
        lines += ["", f"{each.about}: {each.ratio:.1f} times, {why}"]
        rows = [[f"  {record.name.rpartition('/')[2]}", _total(record), record.timed] for record in each.records]
        for row, record in zip(text_table(["", "", ""], rows)[1:], each.records, strict=True):
            note = f"; {record.note}" if record.note else ""
            lines.append(f"{row}  {record.configuration}  {record.source} [{record.id}]{note}")
    return lines[1:]
