"""The note's table with our columns, as rows for a page, and as Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlatency.experiments.reporting.headline import Answer, rate
from vlatency.experiments.reporting.mode_table import difference, milliseconds, outcome
from vlatency.experiments.reporting.run_summary import features, policy_line
from vlatency.experiments.reporting.study import Shown, Study
from vlatency.experiments.sweeps.plan import show

NO_FIGURE = "not measured"
COLUMNS = (
    "study", "place", "task", "arm", "mode", "cameras", "width", "height", "encoding", "reuse", "k", "n", "success",
    "ci_low", "ci_high", "vl_ms", "loop_ms", "fps", "control_hz", "keeps_up", "difference", "difference_low",
    "difference_high", "p_holm", "verdict", "letters", "break_even", "break_even_low",
    "break_even_high", "latency", "policy", "stand_in", "command",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """An arm: its pace, and its cell in each place."""

    number: int
    arm: str
    features: str
    vl_ms: str
    loop_ms: str
    fps: str
    keeps_up: str
    cells: tuple[Shown, ...]


def lines(study: Study) -> list[Line]:
    """One an arm; figures that differ between places are given from the least to the greatest."""
    found = []
    for number, arm in enumerate(study.arms, 1):
        cells = study.of_arm(arm)
        if not cells:
            continue
        paced = [cell for cell in cells if cell.loop_ms is not None]
        keeps = {cell.keeps_up for cell in cells}
        found.append(
            Line(
                number=number,
                arm=arm,
                features=features(cells[0].setting, cells[0].mode),
                vl_ms=_span([milliseconds(cell.vl_ms) for cell in cells]),
                loop_ms=_span([milliseconds(cell.loop_ms) for cell in paced]) if paced else "world waits",
                fps=_span([f"{cell.rate_hz:.3g}" for cell in paced if cell.rate_hz]) if paced else "-",
                keeps_up="world waits" if None in keeps else " / ".join(sorted(_yes(bool(each)) for each in keeps)),
                cells=tuple(cells),
            )
        )
    return found


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _span(figures: Sequence[str]) -> str:
    each = sorted(set(figures), key=float)
    return each[0] if len(each) == 1 else f"{each[0]} to {each[-1]}" if each else "-"


def verdict(cell: Shown) -> str:
    """In a word, against the reference; nothing for the reference itself."""
    if cell.against is None:
        return ""
    if not cell.against.significant:
        return "cannot tell"
    return "better" if cell.against.difference.estimate > 0 else "worse"


def heads(study: Study) -> list[str]:
    """Names of the columns."""
    hertz = f"{study.cells[0].setting['control_hz']:g} Hz possible?" if study.cells else "keeps up?"
    places = [show(where) for where in study.places]
    return ["configuration", "VL ms", "total ms", "FPS", hertz, *fall_heads(study), *places]


def fall_heads(study: Study) -> list[str]:
    """Names of the columns of break-evens: one a place, apart from the load."""
    rests = dict.fromkeys(rest for rest, _, _ in study.falls)
    return [f"break-even {study.load}" + (f", {show(rest)}" if len(rests) > 1 else "") for rest in rests]


def falls(study: Study, arm: str) -> list[str]:
    """The break-evens of an arm, one a column of `fall_heads`."""
    found = {(rest, name): fall.describe() for rest, name, fall in study.falls}
    return [found.get((rest, arm), "") for rest in dict.fromkeys(rest for rest, _, _ in study.falls)]


def wide(study: Study) -> list[list[str]]:
    """The table in text."""
    rows = []
    for line in lines(study):
        row = [line.arm, line.vl_ms, line.loop_ms, line.fps, line.keeps_up, *falls(study, line.arm)]
        for where in study.places:
            cell = study.cell(where, line.arm)
            row.append(_in_text(cell) if cell and cell.success else NO_FIGURE)
        rows.append(row)
    return rows


def _in_text(cell: Shown) -> str:
    assert cell.success
    return f"{rate(cell.success)} {cell.k}/{cell.n}" + (f" {verdict(cell)}" if cell.against else "")


def notes(study: Study) -> list[str]:
    """What has to stand beside every figure."""
    policies = ", ".join(map(policy_line, study.policies)) or NO_FIGURE
    stand_in = any(policy["stand_in"] for policy in study.policies)
    return [
        f"Success is that of {policies}"
        + ("; Qwen2.5-VL-3B itself was not run. Latencies are those of the clock below." if stand_in else "."),
        f"Latency: {', '.join(study.latencies) or NO_FIGURE}.",
        "VL ms is one encode; total ms is what a control tick waits for: encode and head in sync, the head in async.",
        f"Intervals are Wilson's at 95 %, those of differences Newcombe's, each by itself. {_comparisons(study)}",
        f"{study.drawn_by}.",
    ]


def _comparisons(study: Study) -> str:
    how = f"Verdicts against {study.arms[0]}: exact McNemar on shared seeds"
    if study.looks > 1:
        return f"{how}, Holm over the study, looked at up to {study.looks} times (p-values allow for that)."
    said = f"{how}, Holm over the study."
    return said + " Arms that share a letter cannot be told apart." * any(cell.letters for cell in study.cells)


def markdown(studies: Iterable[tuple[Study, Answer]]) -> str:
    """All tables, each after its answer."""
    text: list[str] = []
    for study, answer in studies:
        head = heads(study)
        text += [f"# {_cell(study.name)}", "", f"**{_cell(answer.short)}.** {_cell(answer.sentence)}", ""]
        text += [f"| {' | '.join(map(_cell, head))} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
        text += [f"| {' | '.join(map(_cell, row))} |" for row in wide(study)]
        text += ["", *(f"- {_cell(line)}" for line in (*_differences(study), *notes(study)))]
        text += ["", f"    {study.command}", ""]
    return "\n".join(text)


def _differences(study: Study) -> list[str]:
    return [
        f"{cell.arm} against {study.arms[0]}, {show(cell.where)}: {outcome(cell.against)}"
        for cell in study.cells
        if cell.against
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def as_csv(studies: Iterable[Study]) -> str:
    """A row a cell, all studies in one table; what was not measured stays empty."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for study in studies:
        for cell in study.cells:
            writer.writerow(_record(study, cell) | _fall(study, cell))
    return file.getvalue()


def _record(study: Study, cell: Shown) -> dict[str, object]:
    o = cell.setting["optimization"]
    record: dict[str, object] = {
        "study": study.name, "place": show(cell.where), "task": cell.task, "arm": cell.arm, "mode": cell.mode,
        "cameras": " ".join(o["cameras"]), "width": o["width"], "height": o["height"], "encoding": o["encoding"],
        "reuse": cell.setting["reuse"], "k": cell.k, "n": cell.n, "vl_ms": cell.vl_ms, "loop_ms": cell.loop_ms,
        "fps": cell.rate_hz, "control_hz": cell.setting["control_hz"], "keeps_up": cell.keeps_up,
        "letters": cell.letters, "latency": cell.latency, "verdict": verdict(cell), "command": study.command,
    }  # fmt: skip
    if cell.success:
        record |= {"success": cell.success.estimate, "ci_low": cell.success.low, "ci_high": cell.success.high}
    if cell.against:
        d = cell.against.difference
        record |= {"difference": d.estimate, "difference_low": d.low, "difference_high": d.high}
        record["p_holm"] = cell.against.p_value
    if cell.policy:
        record |= {"policy": policy_line(cell.policy), "stand_in": cell.policy["stand_in"]}
    return record


def _fall(study: Study, cell: Shown) -> dict[str, object]:
    """The break-even of the cell's arm and place; empty where there is none, or where it goes on beyond the tested."""
    for rest, arm, fall in study.falls:
        if arm == cell.arm and set(rest) <= set(cell.where):
            return {"break_even": fall.estimate, "break_even_low": fall.low, "break_even_high": fall.high}
    return {}


def latex(studies: Iterable[Study]) -> str:
    """A `tabular` a study, for the package booktabs."""
    text: list[str] = []
    for study in studies:
        head = heads(study)
        text += [f"% {_comment(study.command)}", *(f"% {_comment(note)}" for note in notes(study))]
        text += [f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", "\\toprule"]
        text += [f"{' & '.join(map(_tex, head))} \\\\", "\\midrule"]
        text += [f"{' & '.join(map(_tex, row))} \\\\" for row in wide(study)]
        text += ["\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(text)


def _comment(text: str) -> str:
    return " ".join(text.split())


_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | {"<": "$<$", ">": "$>$", "[": "{[}", "]": "{]}"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in text)


def said(cell: Shown) -> str:
    """The comparison of a cell in full, for a tool tip."""
    return outcome(cell.against) if cell.against else ""


def changed(cell: Shown) -> str:
    """The comparison of a cell in short, such as "-10 points [-31, +9]"."""
    return difference(cell.against.difference, " points") if cell.against else ""
