"""Timings that other tools have written, as records: CSV, JSON, tables, logs, Chrome traces, Nsight's summaries."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vlatency.sim.errors import UsageError

MOST_BYTES = 500_000_000
Fields = dict[str, Any]
"""One record: a number or a text by the name of its column."""
NAMES = ("name", "range", "event", "operation")
"""Columns that say what a record is of."""


@dataclass(frozen=True)
class LogFile:
    """The records of a file.

    Attributes:
        kind: of the file, in words.
        records: at least one, in the order of the file.
        remarks: what must be known to judge them.
    """

    kind: str
    records: tuple[Fields, ...]
    remarks: tuple[str, ...] = ()


def read_log(path: Path) -> LogFile:
    """Read a file of timings, whichever kind it is of.

    Raises:
        UsageError: it cannot be read, or holds no records; one line.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} has more than {MOST_BYTES:,} bytes; cut out the events that matter")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text (byte {error.start}); export it as CSV or JSON") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    if "\0" in text:
        raise UsageError(f"{path} is not a text file; export it as CSV or JSON")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"{path} is empty")
    try:
        found = _json(text, lines) if text.lstrip()[0] in "{[" else _table(lines) or _csv(lines) or _text(lines)
    except RecursionError:
        raise UsageError(f"{path} cannot be used: it is nested too deeply") from None
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be used: {error}") from None
    if not found.records:
        raise UsageError(f"{path} ({found.kind}) has no records")
    return found


def _json(text: str, lines: Sequence[str]) -> LogFile:
    try:
        values = json.loads(text)
    except ValueError as error:
        if len(lines) == 1 or not lines[1].lstrip().startswith("{"):
            raise ValueError(f"it is not valid JSON: {error}") from None
        return LogFile("JSONL", tuple(_json_line(number, line) for number, line in enumerate(lines, 1)))
    events = values.get("traceEvents") if isinstance(values, dict) else values
    if isinstance(events, list) and any(isinstance(event, dict) and "ph" in event for event in events):
        return _trace(event for event in events if isinstance(event, dict))
    if isinstance(values, list):
        records = [each if isinstance(each, dict) else {"value": each} for each in values]
        return LogFile("JSON", tuple(map(flat, records)))
    lists = {name: each for name, each in flat(values).items() if isinstance(each, list)}
    if lists:
        return LogFile("JSON", tuple({name: number} for name, numbers in lists.items() for number in numbers))
    return LogFile("JSON", (flat(values),))


def _json_line(number: int, line: str) -> Fields:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise ValueError(f"line {number} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"line {number} is no JSON object")
    return flat(values)


def flat(values: Mapping[str, Any]) -> Fields:
    """An object without objects inside: the field b of the object a becomes a.b."""
    found: Fields = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found.update({f"{name}.{inner}": each for inner, each in flat(value).items()})
        else:
            found[name] = value
    return found


def _trace(events: Iterable[Mapping[str, Any]]) -> LogFile:
    """Complete events (X), and pairs of begin and end (B, E), of a trace in Chrome's format; times in microseconds."""
    records: list[Fields] = []
    begun: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for number, event in enumerate(events):
        phase, thread = event.get("ph"), (event.get("pid"), event.get("tid"))
        if phase == "X":
            records.append({"name": event.get("name"), "dur_us": event.get("dur"), "cat": event.get("cat")})
        elif phase == "B":
            begun.setdefault(thread, []).append(event)
        elif phase == "E":
            if not begun.get(thread):
                raise ValueError(f"event {number} ends what has not begun")
            start = begun[thread].pop()
            try:
                dur = float(event["ts"]) - float(start["ts"])
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"event {number} has no time stamp (ts) that is a number") from None
            records.append({"name": start.get("name"), "dur_us": dur, "cat": start.get("cat")})
    on_gpu = any(record["cat"] in ("kernel", "gpu_user_annotation") for record in records)
    remark = "this trace has kernels of a GPU: what is timed on the CPU may be their launch alone"
    return LogFile("Chrome trace", tuple(records), (remark,) if on_gpu else ())


def _table(lines: Sequence[str]) -> LogFile | None:
    """A table drawn with | (Markdown) or with box characters."""
    rows = [re.split(r"[|│┃]", line.strip().strip("|│┃")) for line in lines if re.match(r"\s*[|│┃]", line)]
    cells = [[cell.strip().strip("*").strip() for cell in row] for row in rows]
    cells = [row for row in cells if not all(re.fullmatch(r":?-*:?", cell) for cell in row)]
    if len(cells) < 2:
        return None
    heads, records, first = cells[0], [], ""
    for row in cells[1:]:
        if len(row) != len(heads):
            has = f"{len(row)} cells, and its head {len(heads)}"
            raise ValueError(f"a row of its table has {has}: {' | '.join(row)[:60]}")
        if sum(map(bool, row)) < 2:
            continue  # a line that names a group
        first = row[0] or first  # the same as in the row above
        records.append(dict(zip(heads, [first, *row[1:]], strict=True)))
    return LogFile("table", tuple(records))


def _csv(lines: Sequence[str]) -> LogFile | None:
    """A CSV with a head, which may stand below lines that a tool has printed."""
    for place, line in enumerate(islice(lines, 20)):
        mark = max(",;\t", key=line.count)
        heads = [head.strip() for head in next(csv.reader([line], delimiter=mark))]
        if _is_head(heads):
            return _below(heads, lines, place, mark)
    return _numbers(lines)


def _below(heads: Sequence[str], lines: Sequence[str], place: int, mark: str) -> LogFile:
    """The records below the head of a CSV."""
    if len(set(heads)) < len(heads):
        twice = next(head for head in heads if heads.count(head) > 1)
        raise ValueError(f"its column {twice!r} is there twice")
    records = []
    for number, row in enumerate(csv.reader(lines[place + 1 :], delimiter=mark), place + 2):
        if len(row) != len(heads):
            raise ValueError(f"line {number} has {len(row)} fields, and the head {len(heads)}")
        records.append(dict(zip(heads, [cell.strip() for cell in row], strict=True)))
    nsight = "Total Time (ns)" in heads or "DurNonChild (ns)" in heads
    remark = "Nsight times ranges on the CPU: without a synchronisation inside they are the launch alone"
    return LogFile("Nsight's CSV" if nsight else "CSV", tuple(records), (remark,) if nsight else ())


def _is_head(heads: Sequence[str]) -> bool:
    """Whether a line is the head of a CSV: words, of which one may name a time."""
    words = [head for head in heads if re.search(r"[A-Za-z]", head)]
    timed = any(re.search(TIME, head, re.IGNORECASE) for head in heads)
    short = all(len(head.split()) <= 4 for head in heads)
    labelled = any(re.search(r"[=:]\s*\d", head) for head in heads)
    return len(words) == len(heads) and short and (timed or len(heads) > 1) and not labelled


TIME = (
    r"latenc|infer|time|duration|elapsed|(^|[^a-z])dt|e2e|total|rtt|(_|\.|\()(ns|us|ms|s|sec|seconds)\)?$|mean|avg|p50"
)
"""Names of columns that may be times."""


def _numbers(lines: Sequence[str]) -> LogFile | None:
    """One number a line, without a head."""
    if all(re.fullmatch(r"\s*[-+\d.,eE]+\s*(ns|us|µs|ms|s)?\s*", line) for line in lines):
        return LogFile("numbers", tuple({"value": line.strip()} for line in lines))
    return None


LABELLED = re.compile(r"([A-Za-z][A-Za-z_.]*(?: [A-Za-z_.]+){0,2})\s*[:=]\s*([\d.]+)\s*(ns|us|µs|ms|s)\b")
PERIOD = "loop period_ms"
"""What the cadence of LeRobot's control loop becomes."""
CADENCE = re.compile(r"\bdt:\s*([\d.]+) \(")
SLOW = re.compile(r"running slower \(([\d.]+) Hz\)")


def _text(lines: Sequence[str]) -> LogFile:
    """Whatever a log says as LABEL: NUMBER UNIT or LABEL=NUMBERUNIT, and the period of LeRobot's control loop."""
    records: list[Fields] = []
    for line in lines:
        found: Fields = {label.lower(): f"{number}{unit}" for label, number, unit in LABELLED.findall(line)}
        if period := CADENCE.search(line):
            found[PERIOD] = period[1]
        if (rate := SLOW.search(line)) and float(rate[1]) > 0:
            found[PERIOD] = 1000 / float(rate[1])
        records += [found] if found else []
    if not records:
        raise ValueError("no timings were found in it; it is no CSV, JSON, table or log with times such as 12.5 ms")
    return LogFile("log", tuple(records))
