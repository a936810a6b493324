"""Laws of the age histogram and of success against age."""

from typing import Any

from vlatency.experiments.evaluation.feature_ages import (
    BINS,
    EDGES_MS,
    HISTOGRAM,
    USED_HISTOGRAM,
    histogram,
    markdown,
    success_against_age,
    total,
)


def row(mode: str, ages_ms: list[float], p50: float | None, success: bool) -> dict[str, Any]:
    ages = {HISTOGRAM: histogram(ages_ms), USED_HISTOGRAM: histogram([] if p50 is None else [p50])}
    return {"mode": mode, "used_feature_age_ms_p50": p50, "success": success, **ages}


def test_every_age_is_in_exactly_one_bin_and_an_edge_in_the_bin_it_begins() -> None:
    assert sum(histogram([0, 0.1, 49.9, 1e9, 123])) == 5
    for place, edge in enumerate(EDGES_MS):
        assert histogram([edge])[place] == 1


def test_the_histogram_of_a_run_is_the_sum_of_its_episodes_and_old_rows_are_empty() -> None:
    rows = [row("async", [10, 120], 65, True), row("async", [120], 120, False), {"mode": "async"}]
    assert total(rows) == histogram([10, 120, 120])
    assert total(rows, USED_HISTOGRAM) == histogram([65, 120])


def test_success_against_age_counts_every_episode_with_features_once() -> None:
    rows = [row("pause", [0], 0, True), row("async", [110], 110, True), row("sync", [130], 130, False)]
    cells = success_against_age([*rows, row("sync", [], None, False)])
    assert [(cell["age_ms"], cell["k"], cell["n"]) for cell in cells] == [("0-50", 1, 1), ("100-150", 1, 2)]
    assert cells[1]["ci_low"] < 0.5 < cells[1]["ci_high"]


def test_every_bin_has_a_name() -> None:
    assert len(BINS) == len(EDGES_MS)
    assert (BINS[0], BINS[-1]) == ("0-50", "3200 and more")


def test_the_tables_leave_out_empty_bins() -> None:
    lines = markdown(
        {"pause": [row("pause", [0, 10], 0, True)], "sync": [], "async": [row("async", [110, 20], 65, False)]}
    )
    arms = ("pause: at ticks", "async: at ticks", "pause: when used", "async: when used")
    assert lines[0] == f"| feature age ms | {' | '.join(arms)} |"
    bins = ["| 0-50 | 100 % | 50 % | 100 % | 0 % |", "| 50-100 | 0 % | 0 % | 0 % | 100 % |"]
    assert lines[2:5] == [*bins, "| 100-150 | 0 % | 50 % | 0 % | 0 % |"]
    assert "| 0-50 | 1/1 | 100 % | [21, 100] |" in lines


def test_rows_without_ages_give_no_table() -> None:
    assert markdown({"async": [row("async", [], None, False)]}) == []
