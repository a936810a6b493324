"""Figures are drawn from results, and say in words what they draw."""

import re
from pathlib import Path
from xml.etree import ElementTree

from vlatency.experiments.analysis.paired import wilson
from vlatency.experiments.reporting.figures import figures, front
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.svg import Point, curve, pareto
from vlatency.experiments.reporting.wording import rate, rate_fitted
from vlatency.experiments.sweeps.plan import show


def test_a_study_has_the_figures_that_its_results_permit(summaries: dict[str, Summary]) -> None:
    found = {name: {figure.kind for figure in figures(summary)} for name, summary in summaries.items()}
    assert found["ship"] == {"pareto", "age"} and "latency" in found["late"]
    assert "split" in found["split"] and "break-even" in found["fast"] and "latency" not in found["fast"]


def test_the_front_holds_what_nothing_beats(summaries: dict[str, Summary]) -> None:
    results = summaries["ship"].at(summaries["ship"].plan.places[1])
    assert [results[place].arm for place in front(results)] == ["+ async"]


def test_what_rests_on_a_fitted_latency_is_drawn_apart_and_says_so(summaries: dict[str, Summary]) -> None:
    pareto_figure = next(figure for figure in figures(summaries["ship"]) if figure.kind == "pareto")
    drawn = str(pareto_figure.panels[0].svg)
    fitted = {result.arm for result in summaries["ship"].results if rate_fitted(result)}
    marked = {arm for arm, words in re.findall(r"<title>(.*?), [\d.]+ Hz( fit)?: ", drawn) if words}
    assert marked == fitted == {"+ 224 px"}
    assert drawn.count(' fit"') == 1 and "Dashed" in pareto_figure.note
    known = next(figure for figure in figures(summaries["late"]) if figure.kind == "latency")
    assert " fit" not in str(known.panels[0].svg) and "Dashed" not in known.note
    assert 'class="dot fit"' in str(curve([Point("a", 1.0, wilson(5, 10), 10, fit=True)], "VL latency [ms]"))


def test_points_that_coincide_keep_their_badges_apart() -> None:
    spots = [Point(str(i), 10.0, wilson(9, 10), 10, str(i)) for i in range(4)]
    badges = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="9"', str(pareto(spots, [0], 10.0)))
    assert len({side for side, _ in badges}) == 4 and len({height for _, height in badges}) == 1
    dots = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="3.5"', str(pareto(spots, [0], 10.0)))
    assert len(set(dots)) == 1 and dots[0][1] == badges[0][1]  # each badge stands at the height of its value


def test_the_main_figure_holds_every_result_of_the_first_study(summaries: dict[str, Summary], report: Path) -> None:
    words = [text.strip() for text in ElementTree.parse(report.with_name("report.svg")).getroot().itertext()]
    for place in summaries["ship"].plan.places:
        assert words.count(show(place)) == 1
    for result in summaries["ship"].results:
        assert result.arm in words and result.success and rate(result.success) in words


def test_a_chart_gives_its_figures_in_words() -> None:
    text = str(curve([Point("a", 0.0, wilson(5, 10), 10), Point("b", 100.0, wilson(1, 10), 10)], "VL latency [ms]"))
    assert "a, VL latency [ms] 0: 50 % [24, 76], n = 10" in text and text.startswith("<svg") and 'role="img"' in text
