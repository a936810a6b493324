"""One figure of published latencies: model by model and device by device, stages stacked, software side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from vlatency.agent.realtime.cost.published import Record
from vlatency.experiments.reporting.svg import element
from vlatency.experiments.shared.table import milliseconds
from vlatency.sim.errors import UsageError

WIDTH, LABELS, RIGHT, LINE = 960, 400, 70, 16
"""Of the figure, of the words at its left and right, and of a bar with its gap [px]."""
KINDS = {
    "preprocess": ("#9aa5b1", "images to tensors"),
    "vision": ("#4c9f70", "vision"),
    "backbone": ("#2f6fb2", "language model, or the whole backbone"),
    "head": ("#d9822b", "action head"),
    "rest": ("#b9a7d6", "not split by the source"),
}
"""Colour of each kind of stage, and what it is."""
STAGES = {
    "preprocess": "preprocess",
    "vision": "vision",
    "depth": "vision",
    "backbone": "backbone",
    "llm_prefill": "backbone",
    "action_head": "head",
}
"""Stages that are parts of the total; what is left of it is "rest"."""
STYLE = "text{font:11px sans-serif;fill:#222}.model{font-weight:bold;font-size:14px}.device{font-weight:bold}"


@dataclass(frozen=True)
class Segment:
    """A part of a bar."""

    kind: str
    ms: float


def segments(record: Record) -> list[Segment]:
    """The stages of a record from the first to the last, and what of the total the source did not split."""
    parts = [Segment(STAGES[name], ms) for name, ms in record.stages_ms.items() if name in STAGES]
    rest = (record.total_ms or 0.0) - sum(part.ms for part in parts)
    # Medians of stages need not add up; a difference below 2 % is no stage.
    return [*parts, Segment("rest", rest)] if rest > 0.02 * (record.total_ms or 0.0) else parts


def figure(records: Iterable[Record]) -> str:
    """The figure as SVG text. UsageError if none of the records covers a call or an encode at batch 1.

    Args:
        records: to draw; parts of a call, and batches, are left out. Each model has an axis of its own.
    """
    models: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        if record.role != "part" and record.batch == 1:
            model, device, _ = record.name.split("/")
            models.setdefault(model, {}).setdefault(device, []).append(record)
    if not models:
        raise UsageError("none of these covers a call or an encode, so there is nothing to draw")
    drawn, y = _legend(), 48.0
    for model, devices in sorted(models.items()):
        longest = max(record.total_ms or 0.0 for group in devices.values() for record in group)
        drawn.append(_text(8, y, model, "model"))
        for device, group in sorted(devices.items()):
            y += LINE + 4
            drawn.append(_text(16, y, f"{device}: {group[0].device}", "device"))
            for record in group:
                y += LINE
                drawn += _bar(record, y, (WIDTH - LABELS - RIGHT) / longest)
        y += 2 * LINE
    head = [element("title", "Published latencies"), element("style", STYLE)]
    head.append(element("rect", x=0, y=0, width=WIDTH, height=y, fill="#fff"))
    box = f"0 0 {WIDTH} {y:g}"
    return str(element("svg", *head, *drawn, viewBox=box, width=WIDTH, xmlns="http://www.w3.org/2000/svg")) + "\n"


def _legend() -> list[Markup]:
    drawn, x = [], 8.0
    for colour, words in KINDS.values():
        drawn += [element("rect", x=x, y=8, width=12, height=12, fill=colour), _text(x + 17, 18, words)]
        x += 40 + 6.2 * len(words)
    return drawn


def _bar(record: Record, y: float, px_per_ms: float) -> list[Markup]:
    words = f"{record.name.rpartition('/')[2]}, {record.configuration}"
    words = words if len(words) <= 66 else f"{words[:63]}..."
    says = f"{record.id}: {record.name}, {record.configuration}, {record.timed}; {record.source}"
    drawn, x = [element("title", says), _text(LABELS - 8, y, words, anchor="end")], float(LABELS)
    for part in segments(record):
        width = part.ms * px_per_ms
        drawn.append(element("rect", x=x, y=y - 10, width=width, height=LINE - 4.0, fill=KINDS[part.kind][0]))
        x += width
    drawn.append(_text(x + 5, y, f"{milliseconds(record.total_ms)} ms"))
    return [element("g", *drawn)]


def _text(x: float, y: float, words: str, class_: str | None = None, anchor: str | None = None) -> Markup:
    return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)
