"""The page of claims is written from profiles, and says what is not measured."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlatency.experiments.timing.claims import PAGE, SECTIONS, Claim, page, verdict
from vlatency.experiments.timing.profile_facts import Finding, Key, ProfileFacts


def test_the_page_is_what_the_profiles_say() -> None:
    """Renew it with `python experiments/claims.py`."""
    assert PAGE.read_text() == page(ProfileFacts())


def test_every_claim_has_a_figure_or_is_not_measured() -> None:
    facts = ProfileFacts()
    for claim in (claim for claims in SECTIONS.values() for claim in claims):
        findings = claim.find(facts)
        assert findings
        for finding in findings:
            assert finding.how == "not measured" or any(map(str.isdigit, finding.text)), claim.says
            assert finding.command


def test_facts_that_arithmetic_decides_are_calculated() -> None:
    text = page(ProfileFacts({}))
    assert "1529 tokens, from 5980 vision patches | calculated | smaller" in text
    assert "4.59x fewer pixels; 299 against 64 visual tokens" in text
    assert "0.98x the arithmetic" in text


def test_without_a_profile_no_latency_is_measured() -> None:
    text = page(ProfileFacts({}))
    assert "| measured |" not in text
    assert "insertion_vla:" not in text
    assert text.count("| not measured | not measured |") >= 15


def profile(folder: Path) -> Path:
    def point(ms: float, **others: Any) -> dict[str, Any]:
        return {"views": 5, "width": 640, "height": 360, "encoding": "batched", "samples_ms": [ms]} | others

    data = {
        "model": "qwen2.5-vl-3b",
        "weights": "random",
        "device": "a device",
        "command": "python experiments/measure.py --ladder",
        "overhead_ms": 1,
        "realised_tflops": 300,
        "head": {"samples_ms": [2.0]},
        "contention": 1.5,
        "encode": [
            point(40.0),
            point(100.0, encoding="joint"),
            point(90.0, quant="bnb-int8", feature_error=0.01),
            point(400.0, encoding="joint", transformers_path=True),
            point(30.0, model="qwen2-vl-2b"),
        ],
    }
    path = folder / "box.json"
    path.write_text(json.dumps(data))
    return path


def test_a_measured_ratio_is_that_of_two_points_of_one_profile(tmp_path: Path) -> None:
    facts = ProfileFacts({"box": profile(tmp_path)})
    batched = facts.ratio(Key(encoding="joint"), Key())
    assert batched.values == (2.5,)
    assert batched.text == "box: 2.50x (100 against 40 ms)"
    assert facts.ratio(Key(encoding="joint", transformers_path=True), Key()).values == (10.0,)
    assert facts.ratio(Key(), Key(quant="bnb-int8")).values == pytest.approx((40 / 90,))
    assert facts.ratio(Key(), Key(model="qwen2-vl-2b")).values == pytest.approx((4 / 3,))
    assert facts.took(Key(quant="fp8")).how == "not measured"
    text = page(facts)
    assert (
        "| batched views are 2-3x faster | against one sequence: box: 2.50x (100 against 40 ms) | measured | holds |"
        in text
    )
    assert (
        "bnb-int8: box: 0.44x (40 against 90 ms) | measured | smaller | `python experiments/measure.py --ladder` |"
        in text
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [((2.5,), "holds"), ((1.0,), "smaller"), ((9.0, 8.0), "larger"), ((1.0, 2.5), "depends on the device")],
)
def test_a_verdict_is_the_place_of_our_figures_in_the_claimed_range(values: tuple[float, ...], expected: str) -> None:
    claim = Claim("", 2.0, 3.0, lambda facts: [])
    assert verdict(claim, Finding("", "measured", values)) == expected
    assert verdict(claim, Finding("", "not measured")) == "not measured"
