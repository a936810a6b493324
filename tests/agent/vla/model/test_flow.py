"""Laws of the flow head and of the guidance that makes a chunk continue the last one."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders.world import FakePlant, FakePolicy, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.execution import DelayAware, RealTimeChunking
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Every
from vlatency.agent.vla.model.flow import Guide, absolute, guide_of, noise_of, relative, sample, soft_mask
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.sim.clock import CHUNK_STEP_NS
from vlatency.sim.errors import UsageError
from vlatency.sim.readings import Readings

ROWS = 8
MEAN = torch.linspace(-1, 1, 48).view(1, ROWS, 6)


@pytest.fixture(scope="module")
def policy() -> VLAPolicy:
    """A policy with an untrained flow head."""
    torch.manual_seed(0)
    model = VLA.tiny()
    model.add_flow()
    return VLAPolicy(model, head="flow")


@pytest.fixture
def act(policy: VLAPolicy, request_of: Callable[..., Encode], readings: Readings) -> Act:
    (features,) = policy.encode([request_of(0)])
    return Act(features, readings, CHUNK_STEP_NS)


def normal(spread: float) -> Callable[[torch.Tensor, float], torch.Tensor]:
    """The exact velocity to independent normal set-points around MEAN."""

    def velocity(noisy: torch.Tensor, time: float) -> torch.Tensor:
        variance = (spread * time) ** 2 + (1 - time) ** 2
        expected = MEAN + spread**2 * time / variance * (noisy - time * MEAN)
        return (expected - noisy) / (1 - time)

    return velocity


def two_modes(noisy: torch.Tensor, time: float) -> torch.Tensor:
    """The exact velocity to chunks that are all about +1 or all about -1."""
    spread = 0.1
    variance = (spread * time) ** 2 + (1 - time) ** 2
    upper = torch.sigmoid((2 * time / variance * noisy).sum((1, 2), keepdim=True))
    gain = spread**2 * time / variance
    expected = gain * noisy + (1 - gain * time) * (2 * upper - 1)
    return (expected - noisy) / (1 - time)


# Sampling.


def test_a_certain_model_is_sampled_exactly_whatever_the_noise() -> None:
    for seed in range(3):
        torch.testing.assert_close(sample(normal(0.0), noise_of(seed, ROWS)), MEAN, atol=1e-5, rtol=0)


def test_a_flow_head_learns_two_modes_and_samples_both() -> None:
    from vlatency.agent.vla.model.config import PolicyConfig
    from vlatency.agent.vla.model.flow import FlowHead

    torch.manual_seed(0)
    head = FlowHead(PolicyConfig(flow_width=64), 3)
    optimizer = torch.optim.AdamW(head.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(250):
        sign = 2.0 * torch.randint(0, 2, (64,), generator=generator) - 1
        loss = head.loss(torch.zeros(64, 3), sign[:, None, None].expand(-1, ROWS, 6), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noise = torch.randn(64, ROWS, 6, generator=generator)
    with torch.no_grad():
        chunks = sample(lambda noisy, time: head(torch.zeros(64, 3), noisy, torch.full((64,), time)), noise)
    upper = (chunks > 0).flatten(1).float().mean(1)
    assert ((upper < 0.02) | (upper > 0.98)).float().mean() > 0.9
    assert 0.25 < upper.mean() < 0.75
    assert (chunks.abs() - 1).abs().median() < 0.15


def test_the_soft_mask_is_one_where_frozen_decays_over_the_overlap_and_ends_with_it() -> None:
    weights = soft_mask(2, 6, ROWS)
    assert weights[:2].tolist() == [1, 1]
    assert weights[6:].tolist() == [0, 0]
    left = np.array([4, 3, 2, 1]) / 5
    np.testing.assert_allclose(weights[2:6], left * np.expm1(left) / (math.e - 1), rtol=1e-6)
    assert soft_mask(0, 0, ROWS).tolist() == [0] * ROWS
    assert soft_mask(3, 3, ROWS).tolist() == [1] * 3 + [0] * 5
    assert soft_mask(8, 8, ROWS).tolist() == [1] * ROWS


@pytest.mark.parametrize(("spread", "steps", "beta", "tolerance"), [(1.0, 5, 5.0, 1e-4), (0.5, 100, 100.0, 1e-3)])
def test_where_guidance_is_strong_the_frozen_set_points_are_the_old_ones_and_the_free_ones_are_free(
    spread: float, steps: int, beta: float, tolerance: float
) -> None:
    old = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(7))
    guide = Guide(old, soft_mask(3, 6, ROWS)[:, None])
    noise = noise_of(5, ROWS)
    (plain,) = sample(normal(spread), noise, None, steps)
    (chunk,) = sample(normal(spread), noise, guide, steps, beta)
    off, plain_off = (chunk - old).abs().amax(1), (plain - old).abs().amax(1)
    assert off[:3].max() < tolerance
    assert plain_off[:3].min() > 0.5
    assert (off[3:6] < plain_off[3:6]).all()
    assert off[3] < off[5]
    torch.testing.assert_close(chunk[6:], plain[6:])


def test_no_weight_is_no_guidance() -> None:
    noise = noise_of(1, ROWS)
    guide = Guide(torch.ones(ROWS, 6), torch.zeros(ROWS, 1))
    torch.testing.assert_close(sample(two_modes, noise, guide), sample(two_modes, noise))


# Frames.


def test_set_points_survive_the_way_into_a_chunk_and_back() -> None:
    rng = np.random.default_rng(0)
    points = torch.from_numpy(np.column_stack([rng.normal(size=(ROWS, 4)), np.arange(ROWS) % 2]))
    hand = torch.from_numpy(rng.normal(size=4))
    torch.testing.assert_close(absolute(relative(points, hand), hand), points)


def test_a_plan_is_the_same_wherever_the_end_effector_is() -> None:
    points = torch.tensor([[0.5, 0.1, 0.2, 0.3, 1.0], [0.6, 0.1, 0.2, 0.4, 0.0]])
    for hand in (torch.tensor([0.5, 0.0, 0.2, 0.0]), torch.tensor([0.4, 0.1, 0.3, -0.5])):
        guide = guide_of(points, 1, hand, ROWS)
        torch.testing.assert_close(absolute(guide.chunk[:2], hand), points)
        assert guide.weight[:, 0].tolist()[0] == 1
        assert guide.weight[2:].count_nonzero() == 0


# The policy.


def test_the_answer_is_a_pure_function_of_the_request(policy: VLAPolicy, act: Act) -> None:
    later = replace(act, readings=replace(act.readings, t_ns=CHUNK_STEP_NS))
    one, other = policy.act([act, later])
    assert one.shape == (ROWS, 5)
    assert np.isfinite(one).all()
    assert set(one[:, 4]) <= {0.0, 1.0}
    torch.manual_seed(123)
    assert np.array_equal(policy.act([act])[0], one)
    assert np.array_equal(policy.act([later])[0], other)
    assert not np.array_equal(one, other)


def test_without_a_plan_real_time_chunking_is_plain_sampling_bit_for_bit(policy: VLAPolicy, act: Act) -> None:
    asked = RealTimeChunking().ask(act, [], act.readings.t_ns, 0, np.zeros(5))
    assert np.array_equal(policy.act([asked])[0], policy.act([act])[0])


def test_a_plan_draws_the_chunk_towards_it(policy: VLAPolicy, act: Act) -> None:
    (plain,) = policy.act([act])
    plan = plain + np.array([0.1, 0.1, 0.1, 0.0, 0.0])
    (guided,) = policy.act([replace(act, plan=plan, frozen=4)])
    assert not np.array_equal(guided, plain)
    assert np.isfinite(guided).all()


def test_a_regression_head_refuses_a_plan(policy: VLAPolicy, act: Act) -> None:
    regression = VLAPolicy(policy.model)
    assert not np.array_equal(regression.act([act])[0], policy.act([act])[0])
    with pytest.raises(ValueError, match="flow head"):
        regression.act([replace(act, plan=np.zeros((3, 5)))])


def test_a_flow_head_leaves_the_regression_head_as_it_is(model: VLA, act: Act) -> None:
    torch.manual_seed(0)
    with_flow = VLA.tiny()
    with_flow.add_flow()
    assert np.array_equal(VLAPolicy(with_flow).act([act])[0], VLAPolicy(model).act([act])[0])


def test_both_heads_are_saved_and_a_missing_one_is_one_line(
    policy: VLAPolicy, act: Act, saved: Path, tmp_path: Path
) -> None:
    policy.save_pretrained(tmp_path / "both")
    heads: Any = ("flow", "regression")
    first = {head: VLAPolicy.from_pretrained(tmp_path / "both", head=head).act([act])[0] for head in heads}
    np.testing.assert_allclose(first["flow"], policy.act([act])[0], atol=0.02)
    assert not np.array_equal(first["flow"], first["regression"])
    assert policy.model.flow is not None
    assert sum(2 * tensor.numel() for tensor in policy.model.flow.parameters()) < 1e6  # bytes of float16
    with pytest.raises(UsageError, match=r"^the policy has no flow head; [^\n]+$"):
        VLAPolicy.from_pretrained(saved, head="flow")


# An episode.


class Undecided(FakePolicy):
    """Samples chunks that go one way or the other, as chance has it."""

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        chunks = []
        for request in requests:
            hand = torch.zeros(4)
            guide = None
            if request.plan is not None:
                guide = guide_of(torch.from_numpy(request.plan).float(), request.frozen, hand, ROWS)
                guide = replace(guide, chunk=request_axis(guide.chunk))
            readings: Any = request.readings
            chunk = sample(two_modes, noise_of(readings.t_ns, ROWS), guide, steps=20, beta=20.0)[0]
            chunks.append(absolute(request_axis(chunk), hand).double().numpy())
        return chunks


def request_axis(chunk: torch.Tensor) -> torch.Tensor:
    """All six channels say what the first one does: the fake model has but one decision to make."""
    return chunk[:, :1].expand(-1, 6).contiguous()


@pytest.mark.parametrize("head_ms", [0.0, 100.0, 250.0])
def test_real_time_chunking_stays_in_the_old_mode_where_a_plain_switch_jumps(head_ms: float) -> None:
    def turns(execution: DelayAware) -> int:
        plant, _ = play(
            "async", Constant(0, head_ms), Every(1), policy=Undecided(), execution=execution, plant=FakePlant(seconds=4)
        )
        sides = [np.sign(point[0]) for _, point in plant.commanded]
        return sum(a != b for a, b in itertools.pairwise(sides))

    assert turns(DelayAware(3)) >= 3
    assert turns(RealTimeChunking(3)) == 0
