"""A profile is checked before it is used: whatever is wrong with it is one line that names the place."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from vlatency import assets
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.cost.profile import load_profile
from vlatency.agent.realtime.cost.schema import read_profile
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

POINT: dict[str, Any] = {
    "views": 3,
    "width": 224,
    "height": 224,
    "encoding": "batched",
    "attention": "sdpa",
    "visual_tokens": 192,
    "sequences": [77, 77, 77],
    "tflop": 2.3,
    "gigabytes": 8.0,
    "samples_ms": [11.0, 12.0, 13.0],
    "stages": {"vision": {"samples_ms": [4.0, 5.0, 6.0]}},
}
GOOD: dict[str, Any] = {
    "model": "qwen2.5-vl-3b",
    "weights": "random",
    "dtype": "bfloat16",
    "device": "NVIDIA H100 80GB HBM3",
    "driver": "570.1",
    "versions": {"torch": "2.13.0"},
    "clocks_mhz": {"sm": 1980},
    "date": "2026-11-20",
    "command": "python experiments/measure.py --ladder",
    "source": "measured here",
    "peak_tflops": 989.4,
    "ceiling_tflops": 700,
    "overhead_ms": 3.0,
    "realised_tflops": 400.0,
    "contention": 1.5,
    "head": {"samples_ms": [1.0, 1.1, 1.2]},
    "encode": [POINT],
    "not_measured": {"flash": "needs flash-attn"},
}


def point(**changes: Any) -> dict[str, Any]:
    return GOOD | {"encode": [POINT | changes]}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


MALFORMED: dict[str, tuple[Any, str, str]] = {
    "a list": ([GOOD], "a profile should be an object", "[{"),
    "no device": (without("device"), "a profile has no device", ""),
    "no points": (without("encode"), "a profile has no encode", ""),
    "no head": (without("head"), "a profile needs head_ms or head", ""),
    "two heads": (GOOD | {"head_ms": 1}, "a profile needs head_ms or head", ""),
    "a misspelt field": (
        without("realised_tflops") | {"realized_tflops": 4},
        "realized_tflops is not known here; model,",
        "realised_tflops,",
    ),
    "a misspelt precision": (point(quantization="fp8"), "encode[0].quantization is not known here", "quant,"),
    "a misspelt quantile": (GOOD | {"head": {"p05_ms": 3}}, "head.p05_ms is not known here; samples_ms,", "p95_ms,"),
    "an empty device": (GOOD | {"device": " "}, "device must not be blank", ""),
    "no speed": (GOOD | {"realised_tflops": 0}, "realised_tflops should be greater than 0, not 0", ""),
    "not a number": (GOOD | {"overhead_ms": float("nan")}, "overhead_ms should be a finite number, not nan", ""),
    "true for a number": (GOOD | {"overhead_ms": True}, "overhead_ms should be a valid number, not True", ""),
    "a number in quotes": (GOOD | {"overhead_ms": "3"}, "overhead_ms should be a valid number, not '3'", ""),
    "null": (GOOD | {"note": None}, "note must not be null", ""),
    "contention that helps": (GOOD | {"contention": 0.5}, "contention should be greater than or equal to 1", "0.5"),
    "a point that is none": (GOOD | {"encode": [7]}, "encode[0] should be an object, not 7", ""),
    "points by name": (GOOD | {"encode": {"a": 1}}, "encode should be a valid array", ""),
    "half a point": (GOOD | {"encode": [POINT, {"views": 1}]}, "encode[1] has no width", ""),
    "half a view": (point(views=2.5), "encode[0].views should be a valid integer", "not 2.5"),
    "no view": (point(views=0), "encode[0].views should be greater than or equal to 1, not 0", ""),
    "nine views": (point(views=9), "encode[0].views should be less than or equal to 5, not 9", ""),
    "no such encoding": (point(encoding="both"), "encode[0].encoding should be 'joint', 'batched',", "not 'both'"),
    "no such precision": (point(quant="int3"), "encode[0].quant should be 'none', 'bnb-int8',", "not 'int3'"),
    "no such kernel": (point(attention="fast"), "encode[0].attention should be 'eager', 'sdpa',", "not 'fast'"),
    "no such shortcut": (point(shortcuts=["jump"]), "encode[0].shortcuts[0] should be 'prefix',", "not 'jump'"),
    "no such encoder": (point(vision_encoder="resnet"), "encode[0].vision_encoder must be one of qwen,", "clip-b16"),
    "no duration": (
        GOOD | {"encode": [{key: POINT[key] for key in ("views", "width", "height", "encoding")}]},
        "encode[0] needs samples_ms, or p50_ms, p95_ms and p99_ms, or mean_ms",
        "",
    ),
    "no samples": (point(samples_ms=[]), "encode[0].samples_ms is empty", ""),
    "a negative sample": (
        point(samples_ms=[3, -1]),
        "encode[0].samples_ms[1] should be greater than or equal to 0, not -1",
        "",
    ),
    "falling quantiles": ({**GOOD, "head": {"p50_ms": 3, "p95_ms": 2, "p99_ms": 4}}, "head needs p50_ms,", "3, 2, 4"),
    "half the quantiles": ({**GOOD, "head": {"p50_ms": 3, "mean_ms": 2}}, "head needs samples_ms, or p50_ms,", ""),
    "a stage without time": (point(stages={"vision": {}}), "encode[0].stages.vision needs samples_ms", ""),
    "images that did not arrive": (
        point(visual_tokens=64),
        "encode[0].visual_tokens is 64, but qwen2.5-vl-3b makes 192 of these views",
        "",
    ),
    "faster than the device": (
        point(samples_ms=[2.0, 2.1, 2.2]),
        "encode[0] took 2.1 ms for 2.3 TFLOP, 1095 TFLOP/s, above the device's peak of 989.4",
        "",
    ),
    "the same point twice": (GOOD | {"encode": [POINT, POINT]}, "encode[1] is the same configuration as encode[0]", ""),
    "versions in a row": (GOOD | {"versions": ["torch 2.13"]}, "versions should be", ""),
}


def written(folder: Path, content: Any) -> Path:
    path = folder / "profile.json"
    path.write_text(json.dumps(content))
    return path


def test_a_whole_profile_is_used_as_it_is(tmp_path: Path) -> None:
    profile = load_profile(written(tmp_path, GOOD))
    assert (profile.device, profile.contention, profile.head_distribution.p50_ms) == ("NVIDIA H100 80GB HBM3", 1.5, 1.1)
    assert [each.distribution.p50_ms for each in profile.encode] == [12.0]


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_profile_is_one_line_that_names_the_place(tmp_path: Path, kind: str) -> None:
    content, complaint, allowed = MALFORMED[kind]
    path = written(tmp_path, content)
    with pytest.raises(UsageError) as error:
        load_profile(path)
    assert str(error.value).startswith(f"latency profile {path} cannot be used: {complaint}")
    assert allowed in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_the_author_s_54_ms_are_refused_by_any_gpu_s_peak(tmp_path: Path) -> None:
    """Five views at 1280x720 in 54 ms: the images had not reached the model."""
    five = {"views": 5, "width": 1280, "height": 720, "encoding": "joint", "mean_ms": 54, "tflop": 72.0}
    with pytest.raises(UsageError, match=r"1333 TFLOP/s, above the device's peak of 989.4: not all of the work was"):
        load_profile(written(tmp_path, GOOD | {"encode": [five]}))


@pytest.mark.parametrize(
    "other",
    [
        *({"quant": "bnb-int8"}, {"quant": "fp8"}, {"compile": "cuda-graph"}, {"attention": "eager"}),
        *({"encoding": "joint"}, {"encoding": "separate"}, {"cameras": CAMERA_ORDER[:2]}, {"width": 252}),
    ],
    ids=str,
)
def test_a_point_answers_for_its_own_configuration_only(tmp_path: Path, other: dict[str, Any]) -> None:
    profile = load_profile(written(tmp_path, GOOD))
    own = Optimization()
    assert profile.measured(own) is not None
    assert profile.measured(Optimization(**{**vars(own), **other})) is None


@pytest.mark.parametrize(
    "other",
    [
        {"quant": "bnb-int8"},
        {"compile": "compile"},
        {"model": "tiny"},
        {"vision_encoder": "clip-b16"},
        {"transformers_path": True},
    ],
)
def test_a_point_of_another_configuration_does_not_answer_for_the_plain_one(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    changed = {key: value for key, value in POINT.items() if key != "visual_tokens"} | other
    profile = load_profile(written(tmp_path, GOOD | {"encode": [changed]}))
    assert profile.measured(Optimization()) is None
    assert "scaled by TFLOP" in parse_latency(str(tmp_path / "profile.json"), Optimization()).describe()


def test_what_a_profile_cannot_scale_is_said(tmp_path: Path) -> None:
    path = str(written(tmp_path, GOOD))
    said = parse_latency(path, Optimization(compile="compile", shortcuts=("fused",))).describe()
    assert "(NVIDIA H100 80GB HBM3, scaled by TFLOP, as if without compile and fused)" in said


def test_a_profile_that_is_silent_on_kernels_answers_for_every_kernel() -> None:
    profile = load_profile(assets.FOLDER / "latency" / "insertion_vla.json")
    for attention in ("eager", "sdpa", "flash_attention_2"):
        asked = Optimization(CAMERA_ORDER, 640, 360, "joint", attention=attention)
        took = profile.measured(asked)
        assert took is not None
        assert took.distribution.p50_ms == 381.303


def shaped(took: str, more: str = "") -> bytes:
    point = f'{{"views": 3, "width": 224, "height": 224, "encoding": "batched", {took}}}'
    start = '{"model": "qwen2.5-vl-3b", "device": "d", "head_ms": 11.0, "overhead_ms": 5.0, "realised_tflops": 20.0'
    return f'{start}{more}, "encode": [{point}]}}'.encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (shaped(f'"mean_ms": {"1" * 401}'), "encode[0].mean_ms"),
        (shaped(f'"mean_ms": {"1" * 5000}'), "out of range"),
        (shaped('"mean_ms": 1e300'), "3600000"),
        (shaped('"samples_ms": [100, 3600001]'), "encode[0].samples_ms[1]"),
        (shaped('"mean_ms": 100.0, "mean_ms": 400.0'), "mean_ms is there twice"),
        (shaped('"mean_ms": 100.0', ', "device": "e"'), "device is there twice"),
        (shaped('"mean_ms": 0.1'), "are these seconds?"),
        (shaped('"mean_ms": 0.381'), "are these seconds?"),
        (shaped('"samples_ms": [0.08, 0.1, 0.11]'), "are these seconds?"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper"),
        (b"\xff\xfe{}", "not UTF-8"),
    ],
)
def test_numbers_that_cannot_be_are_one_line(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        read_profile(content)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_a_byte_order_mark_is_no_part_of_a_profile() -> None:
    assert read_profile(b"\xef\xbb\xbf" + shaped('"mean_ms": 100.0')) == read_profile(shaped('"mean_ms": 100.0'))


def test_a_spread_that_is_not_used_is_said(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(shaped('"mean_ms": 100, "std_ms": 60'))
    assert "std_ms is not used" in parse_latency(str(path), Optimization()).describe()
    path.write_bytes(shaped('"p50_ms": 100, "p95_ms": 110, "p99_ms": 120, "std_ms": 60'))
    assert "std_ms" not in parse_latency(str(path), Optimization()).describe()


@pytest.mark.parametrize(("mean_ms", "doubted"), [(381, False), (12_000, False), (381_000, True)])
def test_an_encode_that_outlasts_every_episode_is_doubted(tmp_path: Path, mean_ms: float, doubted: bool) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(shaped(f'"mean_ms": {mean_ms}'))
    assert ("microseconds" in parse_latency(str(path), Optimization()).describe()) is doubted
