"""Laws of readout, pooling and action head."""

from dataclasses import replace

import pytest
import torch

from vlatency.agent.optimization import Pool
from vlatency.agent.vla.model.config import SENSES, PolicyConfig, Sense
from vlatency.agent.vla.model.encoder import Readout, cell_centres
from vlatency.agent.vla.model.heads import ActionHead, Past, SensorBatch, ViewBatch
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import set_points

POOLS = ("mean", "max", "attention")


def views(number: int, count: int = 2) -> ViewBatch:
    generator = torch.Generator().manual_seed(number)
    features = torch.randn(count, number, 132, generator=generator)
    hand = torch.tensor([0.5, 0.0, 0.2, 0.1, 0.0]).expand(count, number, -1)
    return ViewBatch(features, torch.arange(number), hand, torch.zeros(count, number))


def sensors(count: int = 2) -> SensorBatch:
    pose = torch.tensor([[0.5, 0.1, 0.2, 0.3]]).expand(count, -1)
    zero = torch.zeros(count)
    return SensorBatch(pose, zero, zero, torch.zeros(count, 6), torch.zeros(count, 6), torch.zeros(count, 50, 6))


def test_readout_points_at_the_hot_cell() -> None:
    readout = Readout(8)
    torch.nn.init.zeros_(readout.cell.weight)
    torch.nn.init.zeros_(readout.cell.bias)
    readout.cell.weight.data[0, 0] = 100.0
    grid = (3, 5)
    for cell, (right, down) in enumerate(cell_centres(grid).tolist()):
        hidden = torch.zeros(1, 1, 15, 8)
        hidden[0, 0, cell, 0] = 1.0
        u, v = readout(hidden, grid).features[0, 0, 8:10].tolist()
        assert u == pytest.approx(2 * right / 5 - 1, abs=1e-5)
        assert v == pytest.approx(2 * down / 3 - 1, abs=1e-5)


@pytest.mark.parametrize("pool", POOLS)
@torch.inference_mode()
def test_the_order_of_views_does_not_matter(model: VLA, pool: Pool) -> None:
    batch = views(3)
    order = torch.tensor([2, 0, 1])
    shuffled = replace(batch, features=batch.features[:, order], view_ids=batch.view_ids[order])
    torch.testing.assert_close(model.head.pool(shuffled, pool), model.head.pool(batch, pool))


@pytest.mark.parametrize("pool", POOLS)
@torch.inference_mode()
def test_a_single_view_is_pooled_alike(model: VLA, pool: Pool) -> None:
    torch.testing.assert_close(model.head.pool(views(1), pool), model.head.pool(views(1), "mean"))


@torch.inference_mode()
def test_an_untrained_head_stays_near_the_end_effector_and_the_workspace(model: VLA) -> None:
    for age in (0.0, 1.4):
        out = model.head(views(3), sensors(), torch.full((2,), age), "attention")
        assert out.chunk_xyz.shape == (2, 8, 3)
        assert out.chunk_xyz.abs().max() < 0.1
        assert (out.target - torch.tensor([0.5, 0.0, 0.1])).abs().max() < 0.2
        chunk = set_points(out, sensors().ee_pose)
        assert chunk.shape == (2, 8, 5)
        assert set(chunk[..., 4].unique().tolist()) <= {0.0, 1.0}
        torch.testing.assert_close(chunk[..., 3], torch.full((2, 8), 0.3), rtol=0, atol=0.3)


@torch.inference_mode()
def test_the_head_sees_age_sensors_and_views(model: VLA) -> None:
    def steps(batch: ViewBatch | None = None, sensed: SensorBatch | None = None, age: float = 0.0) -> torch.Tensor:
        return model.head(batch or views(3), sensed or sensors(), torch.full((2,), age), "attention").chunk_xyz

    base = steps()
    pushed = SensorBatch(**{**vars(sensors()), "wrench": torch.full((2, 50, 6), 5.0)})
    for other in (steps(age=1.0), steps(sensed=pushed), steps(batch=views(4))):
        assert not torch.equal(base, other)


@torch.inference_mode()
def test_a_past_without_a_gap_is_no_past(model: VLA) -> None:
    alone = model.head(views(3), sensors(), torch.zeros(2), "attention")
    past = Past(views(3), torch.zeros(2))
    assert torch.equal(model.head(views(3), sensors(), torch.zeros(2), "attention", past).chunk_xyz, alone.chunk_xyz)


@torch.inference_mode()
def test_an_object_seen_twice_at_one_place_does_not_move(model: VLA) -> None:
    """The same look half a second and a second ago says the same: there is no motion to scale with the gap."""

    def steps(gap_s: float) -> torch.Tensor:
        past = Past(views(3), torch.full((2,), gap_s))
        return model.head(views(3), sensors(), torch.full((2,), 0.5), "attention", past).chunk_xyz

    assert torch.equal(steps(0.5), steps(1.0))


@torch.inference_mode()
def test_the_head_sees_where_the_object_was(model: VLA) -> None:
    other = replace(views(3), features=views(3).features + 1)
    past = [Past(look, torch.full((2,), 0.6)) for look in (views(3), other)]
    a, b = (model.head(views(3), sensors(), torch.zeros(2), "attention", one).chunk_xyz for one in past)
    assert not torch.equal(a, b)


@pytest.mark.parametrize("sense", SENSES)
def test_a_head_without_a_sense_does_not_depend_on_it(sense: Sense) -> None:
    torch.manual_seed(0)
    head = ActionHead(PolicyConfig(without=(sense,)), 132).eval()
    whole = ActionHead(PolicyConfig(), 132).eval()
    whole.load_state_dict(head.state_dict())

    def changed(head: ActionHead) -> bool:
        now, loud, age, past = views(3), sensors(), torch.zeros(2), None
        if sense == "wrench":
            loud = replace(loud, wrench=loud.wrench + 5)
        if sense == "age":
            age = age + 1
        if sense == "motion":
            past = Past(replace(now, features=-now.features), torch.full((2,), 0.6))
        with torch.inference_mode():
            plain = head(now, sensors(), torch.zeros(2), "attention")
            other = head(now, loud, age, "attention", past)
        return not torch.equal(plain.chunk_xyz, other.chunk_xyz)

    assert changed(whole)
    assert not changed(head)
