"""Laws of readout, pooling and action head."""

import pytest
import torch

from agent.config import Pool
from agent.vla.encoder import Readout, cell_centres
from agent.vla.heads import SensorBatch, ViewBatch
from agent.vla.policy import VLA, set_points

POOLS = ("mean", "max", "attention")


def views(number: int, count: int = 2) -> ViewBatch:
    generator = torch.Generator().manual_seed(number)
    features = torch.randn(count, number, 131, generator=generator)
    return ViewBatch(features, torch.arange(number), torch.tensor([[0.5, 0.0, 0.2, 0.1, 0.0]]).expand(count, -1))


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
        assert u == pytest.approx(2 * right / 5 - 1, abs=1e-5) and v == pytest.approx(2 * down / 3 - 1, abs=1e-5)


@pytest.mark.parametrize("pool", POOLS)
@torch.inference_mode()
def test_the_order_of_views_does_not_matter(model: VLA, pool: Pool) -> None:
    batch = views(3)
    order = torch.tensor([2, 0, 1])
    shuffled = ViewBatch(batch.features[:, order], batch.view_ids[order], batch.ee_at_capture)
    torch.testing.assert_close(model.head.pool(shuffled, pool), model.head.pool(batch, pool))


@pytest.mark.parametrize("pool", POOLS)
@torch.inference_mode()
def test_an_absent_view_is_as_if_it_were_not_given(model: VLA, pool: Pool) -> None:
    batch = views(5)
    masked = ViewBatch(
        batch.features, batch.view_ids, batch.ee_at_capture, torch.tensor([[True, False, True, False, False]] * 2)
    )
    kept = torch.tensor([0, 2])
    subset = ViewBatch(batch.features[:, kept], kept, batch.ee_at_capture)
    torch.testing.assert_close(model.head.pool(masked, pool), model.head.pool(subset, pool))


@pytest.mark.parametrize("pool", POOLS)
@torch.inference_mode()
def test_a_single_view_is_pooled_alike(model: VLA, pool: Pool) -> None:
    torch.testing.assert_close(model.head.pool(views(1), pool), model.head.pool(views(1), "mean"))


@torch.inference_mode()
def test_an_untrained_head_stays_near_the_hand_and_the_workspace(model: VLA) -> None:
    for age in (0.0, 1.4):
        out = model.head(views(3), sensors(), torch.full((2,), age), "attention")
        assert out.chunk_xyz.shape == (2, 8, 3) and out.chunk_xyz.abs().max() < 0.1
        assert (out.target - torch.tensor([0.5, 0.0, 0.1])).abs().max() < 0.2
        chunk = set_points(out, sensors().ee_pose)
        assert chunk.shape == (2, 8, 5) and set(chunk[..., 4].unique().tolist()) <= {0.0, 1.0}
        torch.testing.assert_close(chunk[..., 3], torch.full((2, 8), 0.3), rtol=0, atol=0.3)


@torch.inference_mode()
def test_the_head_sees_age_sensors_and_views(model: VLA) -> None:
    def steps(batch: ViewBatch | None = None, sensed: SensorBatch | None = None, age: float = 0.0) -> torch.Tensor:
        return model.head(batch or views(3), sensed or sensors(), torch.full((2,), age), "attention").chunk_xyz

    base = steps()
    pushed = SensorBatch(**{**vars(sensors()), "wrench": torch.full((2, 50, 6), 5.0)})
    for other in (steps(age=1.0), steps(sensed=pushed), steps(batch=views(4))):
        assert not torch.equal(base, other)
