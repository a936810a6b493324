"""The page holds the figures of summary.json, needs no network, and works in a browser."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.browser import Browser
from tests.builders.studies import SHIP, write_sweep
from vlatency.experiments.reporting.headline import answer
from vlatency.experiments.reporting.html_page import html as page
from vlatency.experiments.reporting.study import Study, read_study

HOSTILE = '<script>alert("x")</script> & 50 % _of_ | it'


def page_of(study: Study) -> str:
    return page([(study, answer(study.summary))], "python experiments/report.py")


def test_figures_of_the_page_are_those_of_summary_json(folders: dict[str, Path], report: Path) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", report.read_text()).split())
    for folder in folders.values():
        for result in json.loads((folder / "summary.json").read_text())["results"]:
            s, count = result["success"], f"{result['k']}/{result['n']}"
            assert f"{100 * s['estimate']:.0f} % [{100 * s['low']:.0f}, {100 * s['high']:.0f}] {count}" in text


def test_the_answer_comes_first(report: Path) -> None:
    text = report.read_text()
    assert text.index("<h1>Ship: + async</h1>") < text.index("<table>") < text.index('data-kind="pareto"')


def test_what_has_no_episodes_is_called_not_measured(folders: dict[str, Path]) -> None:
    study = read_study(folders["ship"])
    none = [replace(result, k=0, n=0, success=None, against=None, rows=()) for result in study.summary.results]
    text = page_of(replace(study, summary=replace(study.summary, results=tuple(none))))
    assert text.count('<span class="none">not measured</span>') == 6 and 'data-kind="pareto"' not in text


def test_sections_without_data_are_absent_and_named_below(folders: dict[str, Path]) -> None:
    text = page_of(read_study(folders["ship"]))
    assert 'data-kind="split"' not in text and "<code>python experiments/sweep.py views-res</code>" in text


def test_every_kind_of_figure_is_drawn(report: Path) -> None:
    kinds = set(re.findall(r'data-kind="([\w-]+)"', report.read_text()))
    assert kinds == {"table", "pareto", "latency", "age", "split", "break-even", "films"}


def test_every_figure_has_its_command_n_provenance_and_label(report: Path) -> None:
    for figure in re.findall(r"<figure.*?</figure>", report.read_text(), re.S):
        (said,) = re.findall(r'<p class="provenance">.*?</p>', figure, re.S)
        assert "stand-in for Qwen2.5-VL-3B" in said and "<code>" in said
        if 'data-kind="films"' not in figure:
            assert re.search(r"insertion_vla \(|fixed \(chosen", said) and "each on its own GPU" in said
            assert 'data-kind="table"' in figure or re.search(r"n = \d+|\d+ episodes", said)


def test_the_page_names_no_address(report: Path) -> None:
    text = re.sub(r"data:video/mp4;base64,[\w+/=]+", "", report.read_text())
    assert not re.findall(r"https?:|//\w|@import|url\(|<link|<img|<iframe|src=", text)


def test_names_are_escaped(tmp_path: Path) -> None:
    spec = {**SHIP, "episodes": 2, "about": HOSTILE, "arms": {HOSTILE: {"mode": "sync"}, "b": {"mode": "async"}}}
    text = page_of(read_study(write_sweep(tmp_path, "hostile", spec)))
    assert "<script>alert" not in text and html.escape(HOSTILE, quote=False).split("&quot;")[0][:20] in text


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
