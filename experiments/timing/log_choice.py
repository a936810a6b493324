"""Which numbers of a log are the latency, and in which unit they are."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from vlatency.agent.realtime.cost.schema import MAX_MS
from vlatency.experiments.timing.log_files import NAMES, PERIOD, TIME, Fields, LogFile
from vlatency.sim.errors import UsageError

Unit = Literal["ns", "us", "ms", "s"]
IN_MS: dict[str, float] = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
SPELT = {"µs": "us", "sec": "s", "seconds": "s", "msec": "ms", "usec": "us", "nsec": "ns"}
LAUNCH = ("policy_infer_ms", "policy_timing.infer_ms")
ALONE = "times the launch alone, some 30 ms too little (openpi, issue 983); use server_infer_ms or client_infer_ms"
FIRST = (
    *("client_infer_ms", "client_rtt_ms", "rtt_ms", "roundtrip_ms", "server_timing.infer_ms", "server_infer_ms"),
    *("infer_ms", "inference time", "rtc inference latency", "total time", "e2e", "latency_ms", "latency"),
)
"""Columns that are whole calls, the ones that cover most first."""
STATISTICS = {
    "mean": ("mean", "avg", "average"),
    "p50": ("p50", "median", "med"),
    "p95": ("p95",),
    "p99": ("p99",),
    "std": ("std", "stddev", "stdev"),
    "min": ("min",),
    "max": ("max",),
}


@dataclass(frozen=True)
class Timings:
    """One latency, as the log has it.

    Attributes:
        what: column, event or row.
        samples_ms: each call, in the order of the log; empty if the log has only statistics.
        statistics: of the calls [ms], by the names of `STATISTICS`.
        count: of the calls; None if the log does not say.
        remarks: what must be known to judge them.
    """

    what: str
    samples_ms: tuple[float, ...]
    statistics: dict[str, float]
    count: int | None
    remarks: tuple[str, ...]


def choose(log: LogFile, what: str, unit: Unit | None) -> Timings:
    """The latency that a log is about.

    Args:
        log: the records.
        what: a column, an event or words of a row; empty if there is only one.
        unit: of the numbers; None if the log says it.

    Raises:
        UsageError: there is none, or more than one, or a value is no time; one line that says which there are.
    """
    columns = list(dict.fromkeys(name for record in log.records for name in record))
    if what.lower() in LAUNCH:
        raise UsageError(f"{what} {ALONE}")
    found = {name: column for name in STATISTICS if (column := _statistic(columns, name))}
    if "mean" in found or "p50" in found:
        return _summary(log, what, unit, found)
    whole = next((column for column in columns if column.lower() in ("e2e", "total")), None)
    if log.kind == "table" and whole is not None:
        return _summary(log, what, unit, {"p50": whole})
    named = next((column for column in columns if column.lower() in NAMES), None)
    if named is not None and log.kind in ("Chrome trace", "Nsight's CSV"):
        return _events(log, what, unit, named)
    column = _column(log.records, columns, what)
    return _samples(column, column, log.records, unit, log.remarks)


def _statistic(columns: Sequence[str], name: str) -> str | None:
    plain = {re.sub(r"[\s_]*(\(?(ns|us|ms|s)\)?)?$", "", column.lower()): column for column in columns}
    return next((plain[spelt] for spelt in STATISTICS[name] if spelt in plain), None)


def _column(records: Sequence[Fields], columns: Sequence[str], what: str) -> str:
    known = {column.lower(): column for column in columns}
    if what:
        if what.lower() not in known:
            raise UsageError(f"there is no column {what!r}; there are {', '.join(columns)}")
        return known[what.lower()]
    timed = [column for column in columns if re.search(TIME, column, re.IGNORECASE) and "stamp" not in column.lower()]
    sample = {name: value for record in reversed(records) for name, value in record.items() if value not in ("", None)}
    usable = [column for column in timed if column.lower() not in LAUNCH and _is_number(sample.get(column))]
    if any(column.lower() in LAUNCH for column in timed) and not usable:
        raise UsageError(f"{LAUNCH[0]} {ALONE}")
    first = next((known[name] for name in FIRST if name in known), None)
    if first is None and len(usable) == 1:
        first = usable[0]
    if first is None and len(columns) == 1:
        first = columns[0]
    if first is None:
        raise UsageError(f"which column is the latency? Say --what with one of {', '.join(usable or columns)}")
    return first


def _events(log: LogFile, what: str, unit: Unit | None, named: str) -> Timings:
    count = Counter(str(record[named]) for record in log.records if record.get(named))
    if not what and len(count) == 1:
        what = next(iter(count))
    chosen = [record for record in log.records if record.get(named) == what]
    if not chosen:
        some = ", ".join(f"{name} ({number})" for name, number in count.most_common(8))
        why = f"there is no event {what!r}" if what else "which event is the latency?"
        raise UsageError(f"{why} Say --what with one of {some}{', ...' * (len(count) > 8)}")
    remarks = () if {record.get("cat") for record in chosen} <= {"kernel", "gpu_user_annotation"} else log.remarks
    column = next(name for name in chosen[0] if name.lower().startswith("dur"))
    return _samples(what, column, chosen, unit, remarks)


def _samples(what: str, column: str, records: Sequence[Fields], unit: Unit | None, remarks: Sequence[str]) -> Timings:
    said = list(remarks)
    values = [(number, record[column]) for number, record in enumerate(records, 1) if column in record]
    given = [(number, value) for number, value in values if value not in ("", None)]
    if len(given) < len(values):
        said.append(f"{len(values) - len(given)} of {len(values)} records have no {column}")
    samples = tuple(_ms(value, column, unit, f"record {number}") for number, value in given)
    if not samples:
        raise UsageError(f"{column} has no values")
    if column == PERIOD:
        said.append("this is the period of the control loop, which is at least as long as an inference: an upper bound")
    return Timings(what, samples, {}, len(samples), tuple(said))


def _summary(log: LogFile, what: str, unit: Unit | None, columns: dict[str, str]) -> Timings:
    used = set(columns.values())
    labels = [
        " ".join(str(value) for name, value in record.items() if name not in used and not _is_number(value))
        for record in log.records
    ]
    words = what.lower().split()
    found = [place for place, label in enumerate(labels) if all(word in label.lower() for word in words)]
    exact = [place for place in found if labels[place].lower() == what.lower()]
    if len(exact or found) != 1:
        some = "; ".join(labels[place] for place in (found or range(len(labels)))[:8])
        raise UsageError(f"{len(found)} rows are meant by {what!r}; say --what with words of one of: {some}")
    place = (exact or found)[0]
    record, label = log.records[place], labels[place]
    first = label.partition(" ")[0]
    if first.lower() in LAUNCH:
        raise UsageError(f"{label} {ALONE}")
    own = _unit_of(first)
    figures = {
        name: _ms(record[column], column, unit or own, f"row {place + 1}")
        for name, column in columns.items()
        if record.get(column) not in ("", None)
    }
    instances = next((record[name] for name in record if name.lower() in ("instances", "n", "count")), None)
    count = int(str(instances)) if str(instances).isdigit() else None
    if not figures:
        raise UsageError(f"the row {label!r} has no figures")
    return Timings(label or "the only row", (), figures, count, log.remarks)


def _is_number(value: Any) -> bool:
    found = CELL.fullmatch(str(value).strip(" *"))
    return found is not None and SPELT.get(found[2].lower(), found[2].lower()) in ("", *IN_MS)


def _unit_of(column: str) -> Unit | None:
    """The unit that a column's name ends in."""
    found = re.search(r"(?:^|[_.\s(\[])(ns|us|µs|ms|s|sec|seconds|msec|usec|nsec)[)\]]?$", column.lower())
    name = SPELT.get(found[1], found[1]) if found else ""
    return next((unit for unit in get_args(Unit) if unit == name), None)


CELL = re.compile(r"([-+]?[\d.,]*\d[\d.,]*(?:e[-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?))\s*(\S*)", re.IGNORECASE)


def _ms(value: Any, column: str, unit: Unit | None, place: str) -> float:
    """A cell in milliseconds: in the unit that it names itself, else in `unit`, else in that of its column's name."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{place}: {column} is {str(value)[:40]!r}, not a time")
    found = CELL.fullmatch(str(value).strip(" *"))
    spelt = SPELT.get(found[2].lower(), found[2].lower()) if found else ""
    number = _number(found[1]) if found else None
    if number is None or spelt not in ("", *IN_MS):
        raise UsageError(f"{place}: {column} is {str(value)[:40]!r}, not a time")
    if not math.isfinite(number) or number < 0:
        raise UsageError(f"{place}: {column} is {value}; a latency is a finite number of at least 0")
    known = spelt or unit or _unit_of(column)
    if not known:
        raise UsageError(f"the unit of {column} is not stated; say --unit ms, or s, us or ns")
    if number * IN_MS[known] > MAX_MS:
        raise UsageError(f"{place}: {column} is {value}, more than an hour in {known}")
    return number * IN_MS[known]


def _number(text: str) -> float | None:
    """1234.5 of 1234.5, 1,234.5 or 1234,5; None if it is no number. 1,234 may be either, so it is none."""
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+\.\d+", text):
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text and not re.search(r",\d{3}$", text):
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None
