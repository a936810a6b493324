"""What is measured is what was asked for, is possible, and comes back as a profile."""

import importlib.metadata
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import ProfileLatency
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.cost.profile import load_profile
from vlatency.agent.realtime.cost.roofline import Work
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.experiments.shared.files import ROOT
from vlatency.experiments.timing import encode_stages, profile_file
from vlatency.experiments.timing.encode_stages import Measurement, check_tokens, request_of, seen
from vlatency.experiments.timing.ladder import Row, ladder, name_of, single
from vlatency.experiments.timing.stopwatch import Stopwatch, quantiles
from vlatency.experiments.timing.transformers_path import measure_transformers_path, transformers_model
from vlatency.experiments.timing.workbench import Conditions, Workbench, measure
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

CPU = torch.device("cpu")
WATCH = Stopwatch(CPU, reps=3)
SQUARE = Optimization(CAMERA_ORDER[:2], 112, 112)


@pytest.fixture(scope="module")
def model() -> VLA:
    torch.manual_seed(0)
    return VLA.random("tiny").eval()


@pytest.mark.parametrize(("encoding", "rows"), [("joint", 1), ("batched", 2), ("separate", 2)])
def test_tokens_and_sequences_are_read_off_the_model(model: VLA, encoding: Any, rows: int) -> None:
    policy = VLAPolicy(model, replace(SQUARE, encoding=encoding))
    tokens, lengths = seen(policy, request_of(CAMERA_ORDER[:2]))
    assert tokens == 2 * 16
    assert len(lengths) == rows
    assert sum(lengths) > tokens


def test_a_measurement_knows_what_it_computed(model: VLA) -> None:
    measured, policy = encode_stages.measure(model, "tiny", "qwen", SQUARE, WATCH)
    assert (measured.visual_tokens, len(measured.sequences), len(measured.samples_ms)) == (32, 2, 3)
    assert set(measured.stages) == {"prepare views", "forward", "vision tower", "language model", "readout"}
    assert measured.feature_error is None
    whole, parts = encode_stages.head_stages(policy, WATCH)
    assert len(whole) == 3
    assert {"sensor encoder", "pool mean", "pool max", "pool attention"} < set(parts)


def test_an_exact_rearrangement_has_no_feature_error(model: VLA) -> None:
    measured, _ = encode_stages.measure(model, "tiny", "qwen", replace(SQUARE, encoding="separate"), WATCH)
    assert measured.feature_error is not None
    assert measured.feature_error < 1e-5


@pytest.mark.parametrize(
    ("tokens", "lengths", "encoding", "complaint"),
    [
        (0, (30,), "joint", "the model got 0 visual tokens, but 3 views of 64 are 192: not timed"),
        (64, (77,) * 3, "batched", "the model got 64 visual tokens, but 3 views of 64 are 192: not timed"),
        (192, (230,), "batched", "encoding batched of 3 views of 64 tokens is 3 sequences that hold them"),
        (192, (30,), "joint", "encoding joint of 3 views of 64 tokens is 1 sequences that hold them"),
    ],
)
def test_images_that_do_not_reach_the_model_are_not_timed(
    tokens: int, lengths: tuple[int, ...], encoding: str, complaint: str
) -> None:
    with pytest.raises(UsageError) as error:
        check_tokens(tokens, lengths, 3, 64, encoding)
    assert str(error.value).startswith(complaint)


def measured_in(ms: float, tflop: float) -> Measurement:
    return Measurement((ms,) * 3, {}, 1495, (1529,), Work(1e12 * tflop, 1e9, 1e9), None)


def test_a_figure_above_the_peak_is_refused_and_one_below_is_not() -> None:
    """16.7 TFLOP in 54 ms would be 309 TFLOP/s: beyond an RTX 4090, but not beyond an H100."""
    row = Row("five views", Optimization(CAMERA_ORDER, 640, 360, "joint"), "qwen2.5-vl-3b")
    assert profile_file.point_of(row, measured_in(54, 16.7), peak=989.4).tflop == 16.7
    with pytest.raises(
        UsageError, match=r"^five views took 54 ms for 16.7 TFLOP, 309.3 TFLOP/s, above the device's peak"
    ):
        profile_file.point_of(row, measured_in(54, 16.7), peak=165.2)
    int8 = replace(row, optimization=replace(row.optimization, quant="int8-dynamic"))
    assert profile_file.point_of(int8, measured_in(54, 16.7), peak=165.2).quant == "int8-dynamic"


def test_transformers_own_path_shares_the_weights_and_agrees(model: VLA) -> None:
    theirs = transformers_model(model, "sdpa")
    ours = model.encoder.backbone.language_model.embed_tokens.weight
    assert theirs.model.language_model.embed_tokens.weight.data_ptr() == ours.data_ptr()
    assert not any(tensor.is_meta for tensor in (*theirs.parameters(), *theirs.buffers()))
    for encoding in ("joint", "separate"):
        measured = measure_transformers_path(model, "tiny", replace(SQUARE, encoding=encoding), WATCH)
        assert measured.visual_tokens == 32
        assert set(measured.stages) == {"prepare views", "forward", "forward without logits"}


def test_a_ladder_has_every_configuration_once_and_the_note_first() -> None:
    rows = ladder("qwen2.5-vl-3b")
    names = [row.name for row in rows]
    assert (
        len(set(names))
        == len(names)
        == len({(r.optimization, r.model, r.vision_encoder, r.transformers_path) for r in rows})
    )
    assert all(
        name.startswith(f"{kind} 5 x 640x360, transformers' path")
        for kind, name in zip(("joint", "separate"), names[:2], strict=True)
    )
    wanted = {
        *("joint 5 x 640x360", "batched 5 x 640x360", "separate 5 x 640x360", "streams 5 x 640x360"),
        *("batched 3 x 640x360", "batched 1 x 640x360", "batched 5 x 480x270", "batched 3 x 224x224"),
        *(f"batched 5 x 640x360, {name}" for name in ("eager", "varlen", "flash_attention_2", "bnb-int8", "bnb-nf4")),
        *(f"batched 5 x 640x360, {name}" for name in ("fp8", "int8-dynamic", "cuda-graph", "prefix", "qwen2-vl-2b")),
        *(f"batched 5 x 640x360, {name}" for name in ("clip-b16", "clip-b32", "mobilenetv3-small", "efficientnet-b0")),
    }
    assert wanted <= set(names)
    assert all(name_of(row, "qwen2.5-vl-3b") == row.name for row in rows)


def test_constants_fit_the_points_they_come_from() -> None:
    row = Row("plain", SQUARE, "tiny")
    points = []
    for views in (1, 2, 3, 5):
        asked = Optimization(CAMERA_ORDER[:views], 640, 360)
        work = encode_stages.encode_work(views, (640, 360), "batched", encode_stages.find_architecture("tiny"))
        took = Measurement((4 + work.flop / 0.05e12 * 1e3,) * 3, {}, 299 * views, (310,), work, None)
        points.append(profile_file.point_of(replace(row, optimization=asked), took, peak=1.0))
    overhead_ms, realised = profile_file.fitted(points, "tiny", 1.0)
    assert (overhead_ms, realised) == pytest.approx((4, 0.05), rel=1e-3)


@pytest.mark.slow
def test_a_model_is_timed_without_a_simulator() -> None:
    """A machine that only measures has no MuJoCo."""
    absent = ("mujoco", "gymnasium", "mink", "imageio", "jinja2", "statsmodels", "ray")
    code = f"import sys; sys.modules |= dict.fromkeys({absent}); import vlatency.experiments.timing.workbench"
    assert subprocess.run([sys.executable, "-c", code], timeout=250).returncode == 0


def test_the_wheels_for_a_machine_without_network_are_all_named() -> None:
    """All that tyro and pydantic need, but for what comes with torch and rich."""
    lines = (ROOT / "docs" / "measuring.md").read_text().splitlines()
    (download,) = [line for line in lines if line.strip().startswith("pip download ")]
    named = set(download.split())
    assert {"tyro", "pydantic"} < named
    needed = {need for name in named & {"tyro", "pydantic"} for need in all_needed(name)}
    assert needed - named <= {"rich", "markdown-it-py", "mdurl", "pygments", "typing-extensions"}


def all_needed(name: str) -> set[str]:
    """A package and, without extras, what it needs here."""
    found = {name}
    for text in importlib.metadata.requires(name) or ():
        need = Requirement(text)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            found |= all_needed(canonicalize_name(need.name))
    return found


def test_quantiles_are_those_of_numpy() -> None:
    samples = tuple(np.random.default_rng(0).random(30))
    assert quantiles(samples) == pytest.approx(tuple(np.percentile(samples, (50, 95, 99))))


def test_a_measured_profile_is_taken_as_a_latency(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    measure(Conditions("tiny", device="cpu", reps=3), [single(SQUARE, "tiny")], path)
    profile = load_profile(path)
    (point,) = profile.encode
    latency = parse_latency(str(path), SQUARE)
    assert isinstance(latency, ProfileLatency)
    assert latency.origin == "measured"
    assert latency.encode == point.distribution
    assert latency.head_ms > 0
    assert latency.contention >= 1
    data = json.loads(path.read_text())
    assert data["encode"][0]["visual_tokens"] == 32
    assert data["versions"]["torch"]
    assert data["date"]
    assert data["command"]
    assert data["device"]


def test_what_cannot_run_here_is_listed_with_what_it_needs() -> None:
    bench = Workbench(Conditions("tiny", ladder=True, device="cpu", reps=3))
    plain = Row("plain", SQUARE, "tiny")
    graph = replace(plain, name="graph", optimization=replace(SQUARE, compile="cuda-graph"))
    points, missing, head = bench.measure([plain, graph])
    assert [point.row for point in points] == ["plain"]
    assert head.contention >= 1
    assert missing == {"graph": missing["graph"]}
    assert "CUDA" in missing["graph"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--model", "gpt"), "error: unknown model 'gpt'; models are tiny"),
        (("--vision-encoder", "resnet"), "error: unknown vision encoder 'resnet'"),
        (("--res", "0"), "error: "),
        (("--quant", "int3"), "error: invalid choice 'int3' for argument"),
        (("--reps", "0"), "error: reps must be at least 1, not 0"),
        (("--device", "tpu"), "error: invalid choice 'tpu' for argument"),
        (("--transformers-path", "--encoding", "batched"), "error: --transformers-path"),
    ],
)
def test_wrong_input_is_one_line(options: tuple[str, ...], complaint: str) -> None:
    command = [sys.executable, "experiments/measure.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(complaint)
    assert done.stderr.count("\n") == 1
