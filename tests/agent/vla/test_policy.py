"""Laws of the policy: requests, files, training."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlatency.agent.optimization import Encoding, Optimization, parse_res
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.features import Features
from vlatency.agent.vla.model.heads import Past, ViewBatch
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy, sensor_batch
from vlatency.sim.clock import CHUNK_STEP_NS
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.readings import Readings

Requests = Callable[..., Encode]


def act_of(features: Features, readings: Readings, age_ns: int = 0) -> Act:
    return Act(features=features, readings=readings, age_ns=age_ns)


@pytest.mark.parametrize("encoding", ["batched", "joint"])
@pytest.mark.parametrize(("views", "size"), [(1, (224, 224)), (3, (112, 112)), (5, (640, 360))])
def test_every_configuration_acts(
    model: VLA, request_of: Requests, readings: Readings, encoding: Encoding, views: int, size: tuple[int, int]
) -> None:
    policy = VLAPolicy(model, Optimization(CAMERA_ORDER[:views], *size, encoding))
    (features,) = policy.encode([request_of(0)])
    assert features.newest.views.shape == (views, 132)
    assert features.newest.views.dtype == np.float32
    (chunk,) = policy.act([act_of(features, readings, CHUNK_STEP_NS)])
    assert chunk.shape == (8, 5)
    assert chunk.dtype == np.float64
    assert np.isfinite(chunk).all()


def test_an_answer_does_not_depend_on_other_requests(model: VLA, request_of: Requests, readings: Readings) -> None:
    policy = VLAPolicy(model)
    requests = [request_of(0), request_of(1, "Lift it"), request_of(2)]
    together = policy.encode(requests)
    for request, features in zip(requests, together, strict=True):
        (alone,) = policy.encode([request])
        assert np.array_equal(alone.newest.views, features.newest.views)
    chunks = policy.act([act_of(features, readings) for features in together])
    for features, chunk in zip(together, chunks, strict=True):
        assert np.array_equal(policy.act([act_of(features, readings)])[0], chunk)


@pytest.mark.parametrize("encoding", ["batched", "joint"])
def test_a_shared_forward_pass_answers_as_one_by_one_up_to_rounding(
    model: VLA,
    request_of: Requests,
    readings: Readings,
    encoding: Encoding,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a GPU does, on the CPU: features within 1e-5 of values near 1, set-points within a micrometre."""
    policy = VLAPolicy(model, Optimization(CAMERA_ORDER[:3], encoding=encoding))
    texts = ("Pick up the red cube", "Lift it", "Pick up the blue ball from the moving conveyor belt")
    requests = [request_of(seed, text) for seed, text in enumerate(texts)]
    (before,) = policy.encode(requests[:1])
    requests[0] = replace(request_of(3, texts[0]), t_ns=10**9, before=before)  # one of them knows motion
    alone = policy.encode(requests)
    acts = [
        act_of(features, replace(readings, gripper_pos=0.1 * n), n * CHUNK_STEP_NS) for n, features in enumerate(alone)
    ]
    chunks = policy.act(acts)
    monkeypatch.setattr(policy, "_shared", lambda requests: [requests])
    together = policy.encode(requests)
    for one, shared in zip(alone, together, strict=True):
        np.testing.assert_allclose(shared.newest.views, one.newest.views, rtol=0, atol=1e-5)
        assert np.array_equal(shared.newest.ee_at_capture, one.newest.ee_at_capture)
    assert np.abs(alone[0].newest.views - alone[1].newest.views).max() > 0.1  # a mix-up would show
    for chunk, shared_chunk in zip(chunks, policy.act(acts), strict=True):
        np.testing.assert_allclose(shared_chunk, chunk, rtol=0, atol=1e-6)


def test_image_and_instruction_both_reach_the_features(model: VLA, request_of: Requests) -> None:
    policy = VLAPolicy(model)
    base, image, text = policy.encode([request_of(0), request_of(1), request_of(0, "Pick up the blue ball")])
    assert not np.allclose(base.newest.views, image.newest.views)
    assert not np.allclose(base.newest.views, text.newest.views)


def test_a_missing_or_malformed_image_is_refused(model: VLA, request_of: Requests) -> None:
    request = request_of(0)
    images = dict(request.images)
    images["wrist"] = images["wrist"].astype(np.float32)
    with pytest.raises(ValueError, match="uint8"):
        VLAPolicy(model).encode([replace(request, images=images)])
    del images["wrist"]
    with pytest.raises(ValueError, match="no image of camera 'wrist'"):
        VLAPolicy(model).encode([replace(request, images=images)])


def test_a_saved_policy_acts_the_same(saved: Path, model: VLA, request_of: Requests, readings: Readings) -> None:
    first = VLAPolicy.from_pretrained(saved)
    first.save_pretrained(saved)
    second = VLAPolicy.from_pretrained(saved)
    a, b = first.encode([request_of(0)])[0], second.encode([request_of(0)])[0]
    assert np.array_equal(a.newest.views, b.newest.views)
    assert np.array_equal(first.act([act_of(a, readings)])[0], second.act([act_of(b, readings)])[0])
    fresh = VLAPolicy(model).encode([request_of(0)])[0]
    np.testing.assert_allclose(a.newest.views, fresh.newest.views, atol=0.02)


def test_a_save_that_fails_leaves_the_policy_that_was_there(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def full(_: object) -> str:
        raise OSError(28, "No space left on device")

    policy = VLAPolicy.from_pretrained(saved)
    with torch.no_grad():
        next(policy.model.parameters()).add_(1)
    monkeypatch.setattr(PolicyConfig, "to_json", full)  # the weights are written, and the disk is full
    with pytest.raises(OSError, match="No space"):
        policy.save_pretrained(saved)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_configuration_round_trips() -> None:
    config = PolicyConfig(trunk_width=99, prompt="x")
    assert PolicyConfig.from_json(config.to_json()) == config


def spoil_missing_folder(folder: Path) -> Path:
    return folder / "nowhere"


def spoil_truncated(folder: Path) -> Path:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


def spoil_pickle(folder: Path) -> Path:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def spoil_disguised_pickle(folder: Path) -> Path:
    torch.save({"a": torch.zeros(2)}, folder / "model.safetensors")
    return folder


def spoil_other_shape(folder: Path) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "trunk_width": 64}))
    return folder


def spoil_other_keys(folder: Path) -> Path:
    config = json.loads((folder / "config.json").read_text())
    config["text"]["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def spoil_config(folder: Path) -> Path:
    (folder / "config.json").write_text("{")
    return folder


def spoil_foreign_config(folder: Path) -> Path:
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    return folder


def spoil_tokenizer(folder: Path) -> Path:
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_missing_folder, "no policy folder"),
        (spoil_truncated, "not a readable safetensors"),
        (spoil_pickle, "never loaded .*pytorch_model.bin"),
        (spoil_disguised_pickle, "not a readable safetensors"),
        (spoil_other_shape, "does not fit"),
        (spoil_other_keys, "does not fit"),
        (spoil_config, "not a policy configuration"),
        (spoil_foreign_config, "not a policy of this project"),
        (spoil_tokenizer, "is not a tokenizer"),
    ],
)
def test_a_broken_folder_is_reported_in_one_line(saved: Path, spoil: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        VLAPolicy.from_pretrained(spoil(saved))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("autocast", [False, True])
def test_gradients_reach_every_part_and_a_few_steps_help(readings: Readings, autocast: bool) -> None:
    """Two instructions share the vision features of each scene, as in training."""
    torch.manual_seed(0)
    model = VLA.tiny().train()
    scenes, instructions, cameras = 2, 2, CAMERA_ORDER[:3]
    pixels = torch.randint(0, 256, (scenes, 3, 224, 224, 3), dtype=torch.uint8)
    texts = ["Pick up the red cube", "Pick up the blue ball"] * scenes
    sensors = sensor_batch([readings] * scenes * instructions)
    capture = torch.cat([sensors.ee_pose, sensors.gripper_pos[:, None]], dim=-1)
    goal = 0.5 + 0.1 * torch.randn(scenes * instructions, 3)
    cells = torch.arange(scenes * instructions * 3).view(-1, 3)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(6):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            assert model.encoder.stem is not None
            assert model.encoder.dense_stem is not None
            maps = model.encoder.stem(pixels.flatten(0, 1))
            fine = model.encoder.dense_stem(maps.permute(0, 2, 3, 1).flatten(1, 2))
            tokens, grid = model.encoder.vision_of(maps)
            dense = model.encoder.dense(tokens)
            shared = tokens.unflatten(0, (scenes, 3)).repeat_interleave(instructions, dim=0)
            readout = model.encoder.readout(model.encoder.language(shared, texts, cameras, "batched", grid), grid)
            hands = capture.unsqueeze(1).expand(-1, 3, -1)
            batch = ViewBatch(readout.features, torch.arange(3), hands, torch.zeros(len(texts), 3))
            past = Past(replace(batch, features=readout.features.flip(0)), torch.ones(len(texts)))
            out = model.head(batch, sensors, torch.zeros(len(texts)), "attention", past)
        loss = (out.target - goal).abs().mean() * 10 + out.target_in_hand.abs().mean() + out.chunk_xyz.abs().mean()
        loss = loss + (out.chunk_yaw**2).mean() + torch.nn.functional.softplus(out.gripper).mean()
        loss = loss + torch.nn.functional.cross_entropy(readout.heat.flatten(0, 1), cells.flatten())
        loss = loss + sum(value.float().square().mean() for value in (*dense.values(), *fine.values()))
        loss = loss + readout.offset.square().mean() + out.seen.abs().mean() + out.turned.abs().mean()
        optimiser.zero_grad()
        loss.backward()
        untouched = [
            name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
        ]
        # A constant added to a layer's keys, or to every view's score, cancels in the softmax.
        assert [n for n in untouched if not n.endswith(("k_proj.bias", "score.bias"))] == []
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0], losses


def test_training_goes_on_after_an_evaluation(request_of: Requests) -> None:
    model = VLA.tiny()
    policy = VLAPolicy(model)
    policy.encode([request_of(0)])
    pixels = torch.zeros(1, 3, 224, 224, 3, dtype=torch.uint8)
    readout = model.train().encoder(pixels, ["Pick up the red cube"], policy.optimization.cameras, "batched")
    readout.features.sum().backward()
    averaged = copy.deepcopy(model)
    assert averaged.encoder(pixels, ["Lift it"], policy.optimization.cameras, "joint").heat.shape == (1, 3, 65)


def test_resolutions_parse() -> None:
    assert parse_res("224") == (224, 224)
    assert parse_res("640x360") == (640, 360)


@pytest.mark.parametrize(
    "text", ["", "0", "-224", "abc", "4097", "640x0", "640x", "x360", "640x360x3", "22.4", "9" * 40]
)
def test_bad_resolutions_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="640x360"):
        parse_res(text)


@pytest.mark.parametrize(
    "values",
    [
        {"cameras": ()},
        {"cameras": ("top", "top")},
        {"cameras": ("top", "rear")},
        {"width": 0},
        {"height": 5000},
        {"encoding": "serial"},
        {"pool": "median"},
    ],
)
def test_bad_optimizations_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Optimization(**values)


def test_motion_is_read_from_the_newest_look_that_is_old_enough(model: VLA, request_of: Requests) -> None:
    policy, features = VLAPolicy(model), None
    for tick in range(12):
        request = replace(request_of(tick), t_ns=tick * CHUNK_STEP_NS, before=features)
        (features,) = policy.encode([request])
        past = features.past
        assert (past is None) == (tick < 3)
        if past is not None:
            assert past.t_ns == max(0, tick - 6) * CHUNK_STEP_NS
        assert len(features.earlier) == min(tick, 6)


def test_what_was_seen_under_another_instruction_shows_no_motion(model: VLA, request_of: Requests) -> None:
    policy = VLAPolicy(model)
    (first,) = policy.encode([request_of(0)])
    (second,) = policy.encode([replace(request_of(1, "Pick up the blue ball"), t_ns=10**9, before=first)])
    assert second.earlier == ()
    assert second.past is None


def test_features_that_are_no_answer_of_the_policy_are_refused(model: VLA, request_of: Requests) -> None:
    with pytest.raises(TypeError, match="before are a str"):
        VLAPolicy(model).encode([replace(request_of(0), before="something")])
