"""Every form of the table has the figures of summary.json, and escapes what people call their arms."""

import csv
import json
from pathlib import Path

import pytest

from tests.builders.studies import SHIP, write_sweep
from vlatency.experiments.reporting.headline import answer
from vlatency.experiments.reporting.html_page import html
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.summary_text import markdown as in_markdown
from vlatency.experiments.reporting.summary_text import text
from vlatency.experiments.reporting.tables import as_csv, heads, latex, markdown, notes, wide

HOSTILE = '<script>alert("x")</script> & 50 % _of_ | it'


def test_csv_holds_every_result_with_its_provenance(folders: dict[str, Path], report: Path) -> None:
    rows = list(csv.DictReader((report.parent / "report.csv").open()))
    results = [each for path in folders.values() for each in json.loads((path / "summary.json").read_text())["results"]]
    assert len(rows) == len(results)
    for row, result in zip(rows, results, strict=True):
        success = result["success"]["estimate"]
        assert (int(row["k"]), int(row["n"]), float(row["success"])) == (result["k"], result["n"], success)
        assert row["stand_in"] == "True" and row["latency"] and row["command"] and row["servers"] == "two"
        if result["against"]:
            assert float(row["difference"]) == result["against"]["difference"]["estimate"]
            assert row["verdict"] in ("better", "worse", "cannot tell")


def test_break_even_is_a_column_of_every_table(summaries: dict[str, Summary], report: Path) -> None:
    summary = summaries["fast"]
    falls = {arm: fall for (_, arm), fall in summary.falls.items()}
    assert heads(summary)[5] == "break-even speed"
    assert [row[5] for row in wide(summary)] == [fall.describe() for fall in falls.values()]
    for name in ("report.md", "report.tex", "report.html"):
        assert "break-even speed" in (report.parent / name).read_text()
    records = list(csv.DictReader((report.parent / "report.csv").open()))
    found = {row["arm"]: row["break_even_high"] for row in records if row["study"] == "fast"}
    assert found == {arm: "" if fall.high is None else str(fall.high) for arm, fall in falls.items()}


@pytest.mark.parametrize("name", ["ship", "late", "split", "fast"])
def test_notes_say_whose_success_which_latency_and_which_gpus(name: str, summaries: dict[str, Summary]) -> None:
    said = " ".join(notes(summaries[name]))
    assert "stand-in for Qwen2.5-VL-3B" in said and "encoder and head each on its own GPU" in said
    assert any(word in said for word in ("measured", "scaled", "modelled")) and "McNemar" in said


def test_measured_and_fitted_latencies_of_one_table_are_told_apart_in_every_form(tmp_path: Path) -> None:
    common = {"latency": "insertion_vla", "views": 5}
    arms = {
        "measured": {"res": "640x360", "encoding": "joint", "mode": "sync"},
        "fitted": {"res": 224, "encoding": "batched", "mode": "sync"},
        "modelled": {"res": "640x360", "encoding": "joint", "mode": "async", "latency": "roofline:orin"},
        "halved": {"res": "640x360", "encoding": "joint", "mode": "sync", "perf_factor": 0.5},
        "INT8": {"res": "640x360", "encoding": "joint", "quant": "bnb-int8", "mode": "sync"},
    }
    spec = {"episodes": 2, "common": common, "across": {"task": ["static", "small"]}, "arms": arms}
    study = read_study(write_sweep(tmp_path, "mixed", spec))
    summary = study.summary
    shown = {row[0]: row[1:] for row in wide(summary)}
    assert shown["measured"][:3] == ["381", "392", "2.55"]
    assert [shown[arm][0] for arm in ("fitted", "modelled", "halved")] == ["116 fit", "393 fit", "191 fit"]
    assert all(figure.endswith(" fit") for figure in shown["fitted"][:3])
    assert shown["modelled"][1] == "11.0"  # the head alone
    assert set(shown["INT8"]) == {"\N{EM DASH}"}
    pages = (
        markdown([(summary, answer(summary))]),
        latex([summary]),
        html([(study, answer(summary))], "python experiments/report.py mixed"),
        "\n".join(text(summary)),
        in_markdown(summary),
    )
    for page in pages:
        assert "116 fit" in page and "381 fit" not in page and "no figure for quant bnb-int8" in page
    records = {row["arm"]: row for row in csv.DictReader(as_csv([summary]).splitlines())}
    basis = {arm: row["vl_basis"] for arm, row in records.items()}
    assert basis == {"measured": "measured", "fitted": "scaled", "modelled": "modelled", "halved": "scaled", "INT8": ""}
    assert (records["INT8"]["vl_ms"], records["INT8"]["k"]) == ("", "")


def test_names_are_escaped_wherever_they_go(tmp_path: Path) -> None:
    spec = {**SHIP, "episodes": 2, "about": HOSTILE, "arms": {HOSTILE: {"mode": "sync"}, "b": {"mode": "async"}}}
    summary = read_study(write_sweep(tmp_path, "hostile", spec)).summary
    assert "<script>" not in markdown([(summary, answer(summary))])
    (row,) = [line for line in latex([summary]).splitlines() if "alert" in line and line.endswith("\\\\")]
    assert r"$<$script$>$" in row and r"50 \% \_of\_ | it" in row and row.count(" & ") == len(heads(summary)) - 1
    assert HOSTILE in {row["arm"] for row in csv.DictReader(as_csv([summary]).splitlines())}
