"""A report holds the figures of summary.json, needs no network, and says what it cannot tell."""

import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.builders.browser import Browser
from tests.builders.studies import FAST, LATE, SHIP, SPLIT, write_films, write_sweep
from tests.experiments.reporting.test_mode_table import ROWS
from tests.experiments.reporting.test_run_summary import CONFIG
from vlatency.experiments.analysis.paired import wilson
from vlatency.experiments.evaluation.run_folder import RunFolder
from vlatency.experiments.report import Args, main
from vlatency.experiments.reporting.figures import figures, front
from vlatency.experiments.reporting.headline import CANNOT_TELL, NOT_MEASURED, answer, rate
from vlatency.experiments.reporting.html_page import html as page
from vlatency.experiments.reporting.study import Study, read_study
from vlatency.experiments.reporting.svg import Point, curve, pareto
from vlatency.experiments.reporting.tables import as_csv, heads, latex, markdown, wide
from vlatency.experiments.sweeps.plan import show
from vlatency.sim.errors import UsageError

HOSTILE = '<script>alert("x")</script> & 50 % _of_ | it'


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # these episodes may be lost
        specs = {"ship": SHIP, "late": LATE, "split": SPLIT, "fast": FAST}
        found = {name: write_sweep(root, name, spec) for name, spec in specs.items()}
    write_films(root, "ship", SHIP, 10_000)
    return found


@pytest.fixture(scope="module")
def report(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    main(Args(tuple(map(str, folders.values())), str(out)))
    return out / "report.html"


@pytest.fixture
def ship(folders: dict[str, Path]) -> Study:
    return read_study(folders["ship"])


def test_figures_of_the_page_are_those_of_summary_json(folders: dict[str, Path], report: Path) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", report.read_text()).split())
    for folder in folders.values():
        for cell in json.loads((folder / "summary.json").read_text())["cells"]:
            s = cell["success"]
            shown = f"{100 * s['estimate']:.0f} % [{100 * s['low']:.0f}, {100 * s['high']:.0f}] {cell['k']}/{cell['n']}"
            assert shown in text


def test_csv_holds_every_cell_with_its_provenance(folders: dict[str, Path], report: Path) -> None:
    rows = list(csv.DictReader((report.parent / "report.csv").open()))
    cells = [cell for path in folders.values() for cell in json.loads((path / "summary.json").read_text())["cells"]]
    assert len(rows) == len(cells)
    for row, cell in zip(rows, cells, strict=True):
        assert (int(row["k"]), int(row["n"]), float(row["success"])) == (
            cell["k"],
            cell["n"],
            cell["success"]["estimate"],
        )
        assert row["stand_in"] == "True" and row["latency"] and row["command"]
        if cell["against_reference"]:
            assert float(row["difference"]) == cell["against_reference"]["difference"]["estimate"]


def test_the_answer_comes_first_with_its_uncertainty(folders: dict[str, Path], ship: Study, report: Path) -> None:
    found = answer(ship)
    assert found.short == "Ship: + async" and "of 80 episodes on 2 tasks and keeps 10 Hz" in found.sentence
    assert re.search(r"\d+ % \[\d+, \d+\]", found.sentence) and "is better (+" in found.sentence
    text = report.read_text()
    assert text.index("<h1>Ship: + async</h1>") < text.index("<table>") < text.index('data-kind="pareto"')
    assert "Late features cost success in 1 of 2 places" == answer(read_study(folders["late"])).short


def test_break_even_names_an_arm_as_least_only_where_intervals_are_apart(folders: dict[str, Path]) -> None:
    study = read_study(folders["fast"])
    assert answer(study).short.startswith("Break-even speed is least with 400 ms, conveyor: ")
    (rest, arm, fall), (_, other, late) = study.falls
    lower = replace(fall, estimate=None, low=None, high=0.0, above=False)
    assert answer(replace(study, falls=((rest, arm, lower), (rest, other, late)))).short.startswith(
        "Break-even speed is least with 0 ms, conveyor: below 0"
    )
    assert answer(replace(study, falls=((rest, arm, fall), (rest, other, fall)))).short.startswith(CANNOT_TELL)
    never = replace(fall, estimate=None, low=0.15, high=None, above=True)
    assert answer(replace(study, falls=((rest, arm, never), (rest, other, never)))).short.startswith(CANNOT_TELL)


def test_what_few_episodes_cannot_tell_is_said(tmp_path: Path) -> None:
    arms = {"3 views": {"views": 3}, "2 views": {"views": 2}}
    folder = write_sweep(tmp_path, "few", {**SHIP, "episodes": 3, "common": {"mode": "async"}, "arms": arms})
    found = answer(read_study(folder))
    assert found.short == CANNOT_TELL and "do not tell them apart" in found.sentence


def test_a_sweep_without_episodes_says_not_measured(tmp_path: Path, folders: dict[str, Path]) -> None:
    shutil.copytree(folders["ship"], tmp_path / "sweep")
    path = tmp_path / "sweep" / "summary.json"
    content = json.loads(path.read_text())
    for cell in content["cells"]:
        cell |= {"k": 0, "n": 0, "success": None, "against_reference": None, "letters": None}
    path.write_text(json.dumps(content))
    study = read_study(path.parent)
    assert answer(study).short == NOT_MEASURED
    text = page([(study, answer(study))], "python experiments/report.py")
    assert text.count('<span class="none">not measured</span>') == 6 and 'data-kind="pareto"' not in text
    assert "not measured" in markdown([(study, answer(study))])


def test_sections_without_data_are_absent_and_named_below(ship: Study) -> None:
    kinds = {figure.kind for figure in figures(ship)}
    assert kinds == {"pareto", "age"}
    text = page([(ship, answer(ship))], "c")
    assert "<li>Late or wrong: <code>python experiments/sweep.py views-res</code></li>" in text


def test_every_kind_of_figure_is_drawn(report: Path) -> None:
    kinds = set(re.findall(r'data-kind="([\w-]+)"', report.read_text()))
    assert kinds == {"table", "pareto", "latency", "age", "split", "break-even", "films"}


def test_every_figure_has_its_command_n_provenance_and_label(report: Path) -> None:
    for figure in re.findall(r"<figure.*?</figure>", report.read_text(), re.S):
        (said,) = re.findall(r'<p class="provenance">.*?</p>', figure, re.S)
        assert "stand-in for Qwen2.5-VL-3B" in said and "<code>" in said
        if 'data-kind="films"' not in figure and 'data-kind="table"' not in figure:
            assert re.search(r"n = \d+|\d+ episodes", said) and re.search(r"insertion_vla|fixed \(chosen", said)


def test_the_page_names_no_address(report: Path) -> None:
    text = re.sub(r"data:video/mp4;base64,[\w+/=]+", "", report.read_text())
    assert not re.findall(r"https?:|//\w|@import|url\(|<link|<img|<iframe|src=", text)


def test_names_are_escaped_wherever_they_go(tmp_path: Path) -> None:
    spec = {**SHIP, "episodes": 2, "about": HOSTILE, "arms": {HOSTILE: {"mode": "sync"}, "b": {"mode": "async"}}}
    study = read_study(write_sweep(tmp_path, "hostile", spec))
    text = page([(study, answer(study))], HOSTILE)
    assert "<script>alert" not in text and html.escape(HOSTILE, quote=False).split("&quot;")[0][:20] in text
    assert "<script>" not in markdown([(study, answer(study))])
    (row,) = [line for line in latex([study]).splitlines() if "alert" in line and line.endswith("\\\\")]
    assert r"$<$script$>$" in row and r"50 \% \_of\_ | it" in row and row.count(" & ") == 6
    assert HOSTILE in {row["arm"] for row in csv.DictReader(as_csv([study]).splitlines())}


def test_the_front_holds_what_nothing_beats(ship: Study) -> None:
    cells = [ship.cell(ship.places[1], arm) for arm in ship.arms]
    known = [cell for cell in cells if cell]
    assert [known[place].arm for place in front(known)] == ["+ async"]


def test_break_even_is_a_column_of_every_table(folders: dict[str, Path], report: Path) -> None:
    study = read_study(folders["fast"])
    assert heads(study)[5] == "break-even speed" and [row[5] for row in wide(study)] == [
        fall.describe() for _, _, fall in study.falls
    ]
    for name in ("report.md", "report.tex", "report.html"):
        assert "break-even speed" in (report.parent / name).read_text()
    records = list(csv.DictReader((report.parent / "report.csv").open()))
    found = {row["arm"]: row["break_even_high"] for row in records if row["study"] == study.name}
    assert found == {arm: "" if fall.high is None else str(fall.high) for _, arm, fall in study.falls}


def test_arms_that_do_not_execute_alike_differ_in_more_than_timing(tmp_path: Path) -> None:
    late = {"common": {"views": 3, "res": 224, "mode": "async"}, "episodes": 2}
    arms: dict[str, Any] = {"0 ms": {"latency": "fixed:0,11"}, "400 ms": {"latency": "fixed:400,11"}}
    assert read_study(write_sweep(tmp_path, "late", {**late, "arms": arms})).only_timing_differs
    arms["400 ms"] = {**arms["400 ms"], "execution": "chunk:4"}
    assert not read_study(write_sweep(tmp_path, "mixed", {**late, "arms": arms})).only_timing_differs


def test_points_that_coincide_keep_their_badges_apart() -> None:
    spots = [Point(str(i), 10.0, wilson(9, 10), 10, str(i)) for i in range(4)]
    badges = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="9"', str(pareto(spots, [0], 10.0)))
    assert len({side for side, _ in badges}) == 4 and len({height for _, height in badges}) == 1
    dots = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="3.5"', str(pareto(spots, [0], 10.0)))
    assert len(set(dots)) == 1 and dots[0][1] == badges[0][1]  # each badge stands at the height of its value


def test_the_main_figure_holds_every_cell_of_the_first_study(ship: Study, report: Path) -> None:
    words = [text.strip() for text in ElementTree.parse(report.with_name("report.svg")).getroot().itertext()]
    for where in ship.places:
        assert words.count(show(where)) == 1
    for cell in ship.cells:
        assert cell.arm in words and cell.success and rate(cell.success) in words


def test_a_chart_tells_its_figures_in_words() -> None:
    text = str(curve([Point("a", 0.0, wilson(5, 10), 10), Point("b", 100.0, wilson(1, 10), 10)], "VL latency [ms]"))
    assert "a, VL latency [ms] 0: 50 % [24, 76], n = 10" in text and text.startswith("<svg") and 'role="img"' in text


def test_a_run_is_a_study_of_its_modes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    setting = CONFIG["setting"] | {"modes": ["pause", "sync", "async"]}
    run = RunFolder.create(tmp_path / "run", CONFIG | {"setting": setting})
    for row in ROWS[:50]:
        run.append(row)
    main(Args((str(run.path),)))
    printed = capsys.readouterr().out
    assert "pause  19/20" in printed and "async  " in printed and "report.html" in printed
    text = (run.path / "report" / "report.html").read_text()
    assert "19/20" in text and "world waits" in text and CONFIG["command"] in text
    assert "the tiny stand-in's; Qwen2.5-VL-3B itself was not run" in (run.path / "summary.md").read_text()
    assert json.loads((run.path / "summary.json").read_text())["cells"]
    study = read_study(run.path)
    assert study.arms == ("pause", "sync", "async") and [cell.n for cell in study.cells] == [20, 20, 10]


def test_runs_and_sweeps_share_a_page_and_other_folders_are_passed_over(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    run = RunFolder.create(tmp_path / "run", CONFIG)
    main(Args((str(folders["fast"].parent / "cells"), str(folders["fast"]), str(run.path)), str(tmp_path / "out")))
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("data-study>") == 2 and "break-even" in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "name at least one folder"),
        (["nowhere"], "no folder nowhere"),
        ([".", "nowhere"], "no folder nowhere"),
        (["."], ". holds no run and no sweep"),
    ],
)
def test_bad_input_is_one_line(args: list[str], says: str, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    line = [sys.executable, str(root / "experiments" / "report.py"), *args]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=240)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1 and says in done.stderr


def test_a_damaged_sweep_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["fast"], tmp_path / "sweep")  # without its cells
    with pytest.raises(UsageError, match="holds a sweep that cannot be used"):
        read_study(tmp_path / "sweep")


@pytest.mark.browser
def test_in_a_browser_the_page_is_quiet_and_its_filters_and_films_work(report: Path, browser: Browser) -> None:
    browser.open(report)
    assert browser.evaluate("document.querySelectorAll('svg.chart').length") >= 10
    assert browser.evaluate("[...document.querySelectorAll('svg.chart')].every(s => s.getBBox().width > 100)")

    shown = "document.querySelectorAll('#study-1 tbody tr:not([hidden])').length"
    assert browser.evaluate(shown) == 3
    browser.evaluate("document.querySelector('#study-1 [data-filter=arm][value=\"+ 224 px\"]').click()")
    assert browser.evaluate(shown) == 2
    badges = "[...document.querySelectorAll('#study-1 svg g[data-arm=\"+ 224 px\"]')]"
    assert browser.evaluate(f"{badges}.length > 0 && {badges}.every(g => getComputedStyle(g).display === 'none')")
    browser.evaluate("document.querySelector('#study-1 [data-filter=task][value=static]').click()")
    panels = "document.querySelectorAll('#study-1 .panel:not([hidden])').length"
    assert browser.evaluate(panels) == 2
    status = "document.querySelector('#study-1 output').textContent"
    assert browser.evaluate(status) == "showing 1 of 2 tasks, 2 of 3 configurations"
    browser.evaluate("document.querySelector('#study-1 [type=reset]').click()")
    assert browser.wait(f"{shown} === 3 && {panels} === 4")

    films = "[...document.querySelectorAll('#study-1 video')]"
    assert browser.wait(f"{films}.length === 2 && {films}.every(v => v.readyState >= 2)")
    durations = browser.evaluate(f"{films}.map(v => v.duration)")
    names = browser.evaluate("[...document.querySelectorAll('[data-caption]')].map(p => p.textContent)")
    assert names == ["current: success", "+ async: success"]
    browser.evaluate("document.querySelector('[data-do=seek]').value = 0.6")
    browser.evaluate("document.querySelector('[data-do=seek]').dispatchEvent(new Event('input'))")
    assert browser.wait(f"{films}.every(v => Math.abs(v.currentTime - 0.6) < 0.05)")
    right = "document.querySelector('[data-choose=right]')"
    browser.evaluate(f"{right}.value = '+ 224 px'; {right}.dispatchEvent(new Event('change'))")
    assert browser.wait(f"{films}[1].readyState >= 2 && {films}[1].duration > {durations[0]} + 0.5")
    browser.evaluate("document.querySelector('[data-do=play]').click()")
    assert browser.wait(
        f"document.querySelector('[data-do=play]').textContent === 'play' && {films}.every(v => v.ended)"
    )
    assert browser.evaluate("parseFloat(document.querySelector('[data-clock]').textContent)") > durations[0]

    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(("data:", report.as_uri()))] == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_as_wide_as_its_screen(report: Path, browser: Browser, width: int) -> None:
    browser.resize(width, 900)
    browser.open(report)
    root = "document.documentElement"
    assert browser.evaluate(f"{root}.scrollWidth <= {root}.clientWidth && {root}.clientWidth > {width - 20}")
