"""The table a person reads, letter by letter."""

from typing import Any

from vlatency.experiments.reporting.mode_table import compare, markdown_table, summarize, swap_line, text_table, verdict


def row(mode: str, seed: int, success: bool, age: float | None, missed: int) -> dict[str, Any]:
    return {
        "mode": mode,
        "seed": seed,
        "success": success,
        "feature_age_ms_p50": age,
        "feature_age_ms_p95": None if age is None else 2 * age,
        "time_to_success_s": 3.0 + seed / 10 if success else None,
        "ticks": 40,
        "missed": missed,
        "overruns": 0,
        "encodes": 7,
    }


ROWS = (
    [row("pause", seed, seed != 3, 0.0, 0) for seed in range(20)]
    + [row("sync", seed, False, 1502.8, 39) for seed in range(20)]
    + [row("async", seed, seed not in (3, 4, 5), 96.34, 1) for seed in range(20)]
)

TABLE = """\
                    success          VL     feature age     ticks    time to
mode    k/n      rate  95 % CI       ms     p50    p95      missed   success
pause  19/20       95%  [76, 99]        0       0      0          0      4.0 s
sync    0/20        0%  [0, 16]      49.5    1503   3006      97.5%          -
async  17/20       85%  [64, 95]     49.5    96.3    193       2.5%      4.1 s"""


def test_the_table_looks_like_this() -> None:
    assert "\n".join(text_table(summarize(ROWS, 49.5))) == TABLE


def test_markdown_has_the_same_figures() -> None:
    lines = markdown_table(summarize(ROWS, 49.5))
    assert lines[-1] == "| async | 17/20 | 85 % | [64, 95] | 49.5 | 96.3 | 193 | 2.5% | 4.1 s |"


def test_only_modes_that_ran_have_a_cell() -> None:
    cells = summarize(ROWS[20:], 49.5)
    assert [cell["mode"] for cell in cells] == ["sync", "async"]
    assert compare(ROWS[20:]) == {}


def test_ages_may_be_missing() -> None:
    cells = summarize([row("async", 1, False, None, 40)], 9000.0)
    assert cells[0]["feature_age_ms_p50"] is None
    assert text_table(cells)[-1].split()[-4:] == ["-", "-", "100.0%", "-"]


def test_only_shared_seeds_are_compared() -> None:
    assert compare(ROWS[:20] + ROWS[45:])["async"].n == 15


def test_verdicts() -> None:
    against = compare(ROWS)
    assert verdict("async", against["async"]) == (
        "async against pause, same seeds: -10 points [-31, +9], McNemar p = 0.50: "
        "cannot tell at n = 20 (needs about 93)"
    )
    assert verdict("sync", against["sync"]).endswith("McNemar p < 0.001: worse")


def test_equal_arms_ask_for_seeds_all_the_same() -> None:
    equal = compare([row("pause", 1, True, 0.0, 0), row("async", 1, True, 0.0, 0)])["async"]
    assert "0 points" in verdict("async", equal)
    assert verdict("async", equal).endswith("cannot tell at n = 1 (a difference of 10 points would need about 77)")


def test_swapped_instructions_are_counted() -> None:
    rows = [{"instructed_lifted": True, "former_target_lifted": False}] * 3
    assert swap_line(rows).endswith("lifted the instructed one 3/3, the former target 0/3")
