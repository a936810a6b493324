"""Laws of demonstrations and of the batches drawn from them."""

from pathlib import Path

import numpy as np
import pytest

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.experiments.training.batches import MAX_AGE_TICKS, draw_batch
from vlatency.experiments.training.demonstrations import Demonstrations
from vlatency.sim.errors import UsageError

pytestmark = pytest.mark.gl


def test_later_moments_stay_in_their_episode(demonstrations: Demonstrations) -> None:
    moments = np.arange(len(demonstrations.moments.episode))
    later = demonstrations.later(moments, np.full(len(moments), 5))
    assert (demonstrations.moments.episode[later] == demonstrations.moments.episode[moments]).all()


def test_earlier_images_are_of_the_same_episode(demonstrations: Demonstrations) -> None:
    m = demonstrations.moments
    pictured = np.flatnonzero(m.image >= 0)
    before = demonstrations.earlier(pictured, np.full(len(pictured), 2))
    assert (before >= 0).any() and (before < 0).any()
    some = before >= 0
    assert (m.image[before[some]] == m.image[pictured[some]] - 2).all()
    assert (m.episode[before[some]] == m.episode[pictured[some]]).all()
    first = m.image[pictured] < 2
    assert (before[first] == -1).all()


def test_images_are_never_enlarged(demonstrations: Demonstrations) -> None:
    training = demonstrations.training
    assert (
        len(demonstrations.training_with((112, 112))) == len(demonstrations.training_with((224, 224))) == len(training)
    )
    with pytest.raises(UsageError, match="--res 640x360"):
        demonstrations.training_with((640, 360))
    assert demonstrations.pixels(training[:2], [0, 3], (112, 112)).shape == (2, 2, 112, 112, 3)


def test_another_object_is_never_the_instructed_one(demonstrations: Demonstrations) -> None:
    m = demonstrations.moments
    moments = np.arange(len(m.episode))
    for number in range(5):
        other = demonstrations.other(moments, np.random.default_rng(number))
        assert (other != m.target[moments]).all() and (other < m.count[moments]).all()


def test_an_object_is_in_the_cell_that_its_centre_falls_into(demonstrations: Demonstrations) -> None:
    m, views, (rows, columns) = demonstrations.moments, [0, 2], (4, 8)
    moments = demonstrations.training
    cells = demonstrations.cells(moments, views, (rows, columns))
    cell, offset = cells.of(np.arange(len(moments)), m.target[moments])
    place = m.place[moments][:, views][np.arange(len(moments)), :, m.target[moments]]
    inside = ((place >= 0) & (place < 1)).all(-1)
    assert inside.any()
    assert (cell.numpy()[~inside] == rows * columns).all()
    right, down = cell.numpy() % columns + 0.5 + offset.numpy()[..., 0], cell.numpy() // columns + 0.5
    np.testing.assert_allclose(right[inside] / columns, place[inside, 0], atol=1e-5)
    np.testing.assert_allclose((down + offset.numpy()[..., 1])[inside] / rows, place[inside, 1], atol=1e-5)
    empty = np.arange(cells.cell.shape[2]) >= m.count[moments][:, None]
    assert (cells.cell.numpy().transpose(0, 2, 1)[empty] == rows * columns).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_never_mixes_episodes_objects_or_time(large_folder: Path, seed: int) -> None:
    demonstrations = Demonstrations([large_folder, large_folder])
    batch = draw_batch(demonstrations, np.random.default_rng(seed), PolicyConfig(), 8)
    m, row = demonstrations.moments, np.arange(len(batch.moments))
    assert (batch.things < m.count[batch.moments]).all()
    paired = batch.before != row
    assert (m.episode[batch.moments[batch.before]] == m.episode[batch.moments]).all()
    assert (batch.things[batch.before] == batch.things).all()
    assert (batch.moments[batch.before][paired] < batch.moments[paired]).all()
    assert not batch.stale[~paired].any()
    assert (m.episode[batch.now] == m.episode[batch.moments]).all()
    assert ((batch.now >= batch.moments) & (batch.now <= batch.moments + MAX_AGE_TICKS)).all()
    half = len(row) // 2
    assert (batch.things[half // 2 : half] == m.target[batch.encoded[half // 2 :]]).all()
