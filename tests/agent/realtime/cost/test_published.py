"""Published latencies are those of the file, replayed as they were measured, for no other configuration."""

import itertools
import random
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost import published
from vlatency.agent.realtime.cost.distribution import Lognormal, Samples
from vlatency.agent.realtime.cost.latency import LatencyModel, ProfileLatency
from vlatency.agent.realtime.cost.named import NoFigure, parse_latency
from vlatency.agent.realtime.cost.published import APART, Record, zoo
from vlatency.experiments.evaluation.options import ClockOptions
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

FILE: list[dict[str, Any]] = yaml.load(
    published.FILE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
)
DRAWN = random.Random(22).sample(range(len(FILE)), 30)
RECORDS = zoo().records


def asked(views: int = 1, **changes: Any) -> Optimization:
    return Optimization(CAMERA_ORDER[:views], **changes)


def latency(text: str, stages: Literal[1, 2] = 1, optimization: Optimization | None = None) -> LatencyModel:
    return parse_latency(text, optimization or asked(), 1.0, stages)


def suited(record: Record) -> Optimization:
    """A configuration that the record answers."""
    width, _, height = (record.resolution or "").partition("x")
    res = (int(width), int(height)) if width.isdigit() and height.isdigit() else (224, 224)
    return asked(record.views or 1, width=res[0], height=res[1])


def charged_ms(model: LatencyModel, count: int = 400) -> list[float]:
    stream = model.stream(np.random.default_rng(0))
    return [(stream.encode_ns(1, 1) + stream.head_ns()) / 1e6 for _ in range(count)]


@pytest.mark.parametrize("number", DRAWN)
def test_thirty_drawn_records_have_every_field_of_the_file(number: int) -> None:
    written = FILE[number]
    read = RECORDS[number].model_dump(mode="json")
    assert {name: read[name] for name in written} == written
    assert all(not value for name, value in read.items() if name not in written)


@pytest.mark.parametrize("number", DRAWN)
def test_thirty_drawn_records_are_charged_as_they_were_measured_or_not_at_all(number: int) -> None:
    written, record = FILE[number], RECORDS[number]
    name = f"{written['name']}/{written['id']}"
    if record.role == "part":
        with pytest.raises(UsageError, match=written["covers"].split(" (")[0]):
            latency(name)
        return
    if record.role == "call":
        model = latency(name)
        drawn = charged_ms(model)
        if "samples_ms" in written:
            assert set(drawn) == set(written["samples_ms"])
        else:
            assert model.charged.vl_p50_ms == written["total_ms"]
        assert np.median(drawn) == pytest.approx(written["total_ms"], rel=0.01)
        assert (model.basis, model.charged.head_ms) == ("measured", 0)
    if record.role == "encode":
        with pytest.raises(UsageError):
            latency(name)


def test_every_record_has_its_source_and_an_id_of_its_own() -> None:
    assert len(RECORDS) == 305
    assert all(record.source and record.path and record.commit and record.read in "CI" for record in RECORDS)
    assert len({record.id for record in RECORDS}) == len(RECORDS)


def test_a_name_is_of_one_model_on_one_device_with_one_software() -> None:
    for records in zoo().profiles.values():
        assert len({(record.model, record.device, record.software) for record in records}) == 1


def test_no_two_records_of_a_name_are_of_the_same_configuration() -> None:
    for records in zoo().profiles.values():
        said = [(record.configuration, record.covers) for record in records]
        assert len(set(said)) == len(said)


@pytest.mark.parametrize("record", [each for each in RECORDS if each.charged(2)], ids=lambda each: each.id)
def test_encoder_and_head_that_were_timed_apart_are_charged_apart(record: Record) -> None:
    if (record.views or 1) > len(CAMERA_ORDER):
        return
    model = latency(f"{record.name}/{record.id}", 2, suited(record))
    assert isinstance(model, ProfileLatency)
    if record.role == "call":
        before, encode, head = (record.stages_ms[name] for name in APART)
        assert (model.vl_ms, model.head_ms) == (before + encode, head)
    else:
        assert model.vl_ms == record.total_ms
        assert "head as in the note" in model.describe()


def test_jitter_that_was_published_is_charged() -> None:
    draft, beside = latency("pi0/l40s/flash-draft"), latency("pi0.5/a100-40gb/lerobot-beside-libero")
    assert isinstance(draft, ProfileLatency)
    assert isinstance(beside, ProfileLatency)
    assert isinstance(draft.encode, Samples)
    assert max(draft.encode.ms) == 622.44
    assert beside.encode == Lognormal(497.2, 524.7, 559.4)
    assert RECORDS[[record.id for record in RECORDS].index("rpf-104")].first_call_ms == 16654.7


def test_samples_stay_in_the_order_of_the_source() -> None:
    draft = next(record for record in FILE if record["id"] == "rpf-105")["samples_ms"]
    drawn = charged_ms(latency("pi0/l40s/flash-draft"), len(draft))
    start = next(place for place in range(len(draft)) if draft[place:] + draft[:place] == drawn)
    assert 0 <= start < len(draft)


def test_a_configuration_that_was_not_measured_is_refused_with_those_that_were() -> None:
    for wanted in (asked(3), asked(1, quant="fp8"), asked(1, compile="compile"), asked(1, shortcuts=("fused",))):
        with pytest.raises(NoFigure, match="1 view, bf16, 4 denoising steps"):
            latency("gr00t-n1.7/h100/tensorrt", 2, wanted)
    with pytest.raises(NoFigure, match="1280x720"):
        latency("qwen2.5-vl-3b/ryzen-ai-npu/fastflowlm", 2)
    assert latency("qwen2.5-vl-3b/ryzen-ai-npu/fastflowlm", 2, asked(width=1280, height=720)).vl_ms == 4300


def test_no_figure_is_charged_for_another_number_of_views() -> None:
    for record, views in itertools.product([each for each in RECORDS if each.charged(2)], range(1, 6)):
        if record.views not in (None, views):
            with pytest.raises(NoFigure):
                latency(f"{record.name}/{record.id}", 2, asked(views))


def test_a_name_that_stands_for_several_figures_lists_them() -> None:
    with pytest.raises(UsageError, match="frt-090") as error:
        latency("pi0.5/thor/flashrt")
    assert str(error.value).count("frt-") == 6
    assert latency("pi0.5/thor/flashrt/frt-090").vl_ms == 27.17


def test_a_whole_call_is_not_charged_to_an_encoder() -> None:
    with pytest.raises(UsageError, match="one policy call"):
        latency("pi0.5/thor/flashrt/frt-090", 2)


def test_a_factor_makes_a_measured_figure_a_scaled_one() -> None:
    model = parse_latency("pi0/l40s/flash-full", asked(), 0.5, 1)
    assert (model.basis, model.vl_ms) == ("scaled", latency("pi0/l40s/flash-full").vl_ms / 2)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("pi0/thor/none", "pi0/thor/flashrt"),
        ("pi0/none/none", "pi0/rtx3090/vla.cpp"),
        ("pi0/thor/flashrt/frt-090", "pi0/thor/flashrt"),
        ("pi0/", "pi0/l40s/flash-full"),
        ("none/thor/none", "latencies.py"),
        ("/", "latencies.py"),
    ],
)
def test_an_unknown_name_is_one_line_that_says_which_there_are(wrong: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as error:
        latency(wrong)
    assert "\n" not in str(error.value)


def test_a_file_of_that_path_is_read_before_a_published_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pi0" / "l40s").mkdir(parents=True)
    (tmp_path / "pi0" / "l40s" / "flash-full").write_text("{}")
    with pytest.raises(UsageError, match="cannot be used"):
        latency("pi0/l40s/flash-full")


@pytest.mark.parametrize(
    "damage", ["- 3\n", "- {id: x}\n", "a: [\n", "3\n", "- {id: x, nme: y}\n", "\x00"], ids=range(6)
)
def test_a_damaged_file_is_one_line(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "published.yaml"
    path.write_text(damage)
    monkeypatch.setattr(published, "FILE", path)
    zoo.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"published\.yaml") as error:
            zoo()
        assert "\n" not in str(error.value)
    finally:
        zoo.cache_clear()


def test_the_clock_options_of_a_policy_of_one_stage_take_a_whole_call() -> None:
    clock = ClockOptions(("async",), "pi0.5/thor/flashrt/frt-090")
    (timing,) = clock.timings(asked(), stages=1)
    assert (timing.stages, timing.latency.vl_ms, timing.latency.head_ms) == (1, 27.17, 0)
    with pytest.raises(UsageError):
        clock.timings(asked(), stages=2)
