"""Laws of demonstrations, lessons and checkpoints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vlatency.agent.vla.model.mobilenets import MobileNet
from vlatency.agent.vla.model.towers import LightTower, published_name
from vlatency.agent.vla.model.vla import VLA
from vlatency.envs.expert import Scene, chunk, expert
from vlatency.experiments.collect import Config, Job, write
from vlatency.experiments.train import early_layers, with_vision_encoder
from vlatency.experiments.training import checkpoint
from vlatency.experiments.training.losses import Demonstrations
from vlatency.experiments.training.shards import read_shards, shard_path
from vlatency.sim.errors import UsageError


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demos")
    write(Job(Config(out=folder, per_shard=2, every=4, seed=5), 0))
    return folder


def scene(**changes: Any) -> Scene:
    base = Scene(
        ee=np.array([[0.4, 0.0, 0.3, 0.0]]),
        gripper=np.zeros(1),
        gripper_rate=np.zeros(1),
        target=np.array([[0.5, 0.1, 0.02]]),
        target_yaw=np.zeros(1),
        yaw_period=np.zeros(1),
    )
    return replace(base, **changes)


def test_a_shard_written_twice_is_the_same(demos: Path, tmp_path: Path) -> None:
    write(Job(Config(out=tmp_path, per_shard=2, every=4, seed=5), 0))
    assert (
        shard_path(tmp_path, 0).with_suffix(".npy").read_bytes()
        == shard_path(demos, 0).with_suffix(".npy").read_bytes()
    )


def test_shards_are_read_as_one(demos: Path) -> None:
    one, images = read_shards([demos])
    two, more = read_shards([demos, demos])
    assert len(two.episode) == 2 * len(one.episode) and len(more) == 2 * len(images)
    assert two.episode.max() == 2 * one.episode.max() + 1
    assert set(two.image[two.image >= 0]) == set(range(2 * len(images[0])))


def test_a_folder_without_demonstrations_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="collect.py"):
        read_shards([tmp_path])


def test_later_moments_stay_in_their_episode(demos: Path) -> None:
    lessons = Demonstrations([demos])
    moments = np.arange(len(lessons.moments.episode))
    later = lessons.later(moments, np.full(len(moments), 5))
    assert (lessons.moments.episode[later] == lessons.moments.episode[moments]).all()


def test_earlier_pictures_are_of_the_same_episode(demos: Path) -> None:
    lessons = Demonstrations([demos])
    m = lessons.moments
    pictured = np.flatnonzero(m.image >= 0)
    before = lessons.earlier(pictured, np.full(len(pictured), 2))
    assert (before >= 0).any() and (before < 0).any()
    some = before >= 0
    assert (m.image[before[some]] == m.image[pictured[some]] - 2).all()
    assert (m.episode[before[some]] == m.episode[pictured[some]]).all()
    first = m.image[pictured] < 2
    assert (before[first] == -1).all()


def test_images_are_never_enlarged(demos: Path) -> None:
    lessons = Demonstrations([demos])
    assert len(lessons.drawn((112, 112))) == len(lessons.drawn((224, 224))) == len(lessons.training)
    with pytest.raises(UsageError, match="--res 640x360"):
        lessons.drawn((640, 360))
    assert lessons.pixels(lessons.training[:2], [0, 3], (112, 112)).shape == (2, 2, 112, 112, 3)


def test_another_object_is_never_the_instructed_one(demos: Path) -> None:
    lessons = Demonstrations([demos])
    moments = np.arange(len(lessons.moments.episode))
    for number in range(5):
        other = lessons.other(moments, np.random.default_rng(number))
        assert (other != lessons.moments.target[moments]).all() and (other < lessons.moments.count[moments]).all()


def test_demonstrations_tell_how_fast_the_belt_carries_and_which_object_was_named(tmp_path: Path) -> None:
    config = Config(out=tmp_path, tasks=("conveyor", "switched"), per_shard=3, every=9, seed=5)
    for number in range(2):
        write(Job(config, number))
    moments, _ = read_shards([tmp_path])
    belt = np.abs(moments.velocity[moments.episode < 3, :, 1])
    assert belt.max() > 0.015 and (moments.velocity[moments.episode >= 3] == 0).all()
    assert (moments.target < moments.count).all()
    told = [set(moments.target[moments.episode == episode]) for episode in range(3, 6)]
    assert max(len(targets) for targets in told) == 2  # the instruction changed on the way


def test_the_expert_says_the_same_one_by_one_as_in_a_batch() -> None:
    batch = scene(
        ee=np.array([[0.4, 0.0, 0.3, 0.0], [0.5, 0.1, 0.025, 0.1]]),
        gripper=np.array([0.0, 0.5]),
        gripper_rate=np.zeros(2),
        target=np.array([[0.5, 0.1, 0.02]] * 2),
        target_yaw=np.zeros(2),
        yaw_period=np.zeros(2),
    )
    single = expert(scene())
    np.testing.assert_array_equal(expert(batch)[:1], single)


def test_the_expert_closes_on_the_object_and_lifts_what_it_holds() -> None:
    at = np.array([[0.5, 0.1, 0.022, 0.0]])
    assert expert(scene(ee=at))[0, 4] == 1
    held = expert(scene(ee=at, gripper=np.array([0.5])))[0]
    assert held[4] == 1 and held[2] > at[0, 2] + 0.02
    far = expert(scene(gripper=np.array([0.9])))[0]
    assert far[4] == 0


def test_the_first_set_point_of_a_chunk_is_the_expert_s() -> None:
    np.testing.assert_array_equal(chunk(scene(), 8)[:, 0], expert(scene()))


def test_an_interrupted_training_continues_bit_for_bit(tmp_path: Path) -> None:
    def steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            torch.manual_seed(number)
            optimizer.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()

    def fresh() -> tuple[torch.nn.Linear, torch.optim.AdamW]:
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 3)
        return model, torch.optim.AdamW(model.parameters(), lr=0.01)

    whole, optimizer = fresh()
    steps(whole, optimizer, range(6))
    part, optimizer = fresh()
    steps(part, optimizer, range(3))
    checkpoint.save(tmp_path / "c.safetensors", part, optimizer, 3)
    again, optimizer = fresh()
    assert checkpoint.load(tmp_path / "c.safetensors", again, optimizer) == 3
    steps(again, optimizer, range(3, 6))
    assert torch.equal(whole.weight, again.weight) and torch.equal(whole.bias, again.bias)


def test_a_damaged_checkpoint_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"not safetensors")
    model = torch.nn.Linear(2, 2)
    with pytest.raises(UsageError, match="delete it") as error:
        checkpoint.load(path, model, torch.optim.AdamW(model.parameters()))
    assert "\n" not in str(error.value)


def test_a_new_vision_encoder_leaves_what_is_behind_it_as_it_was() -> None:
    model = VLA.tiny()
    other = with_vision_encoder(model, "mobilenetv3-small", "")
    assert other.config.vision_encoder == "mobilenetv3-small"
    mine, theirs = model.state_dict(), other.state_dict()
    behind = [name for name in theirs if not name.startswith("encoder.backbone.visual.")]
    assert any(name.startswith("head.") for name in behind)
    assert all(torch.equal(mine[name], theirs[name]) for name in behind)
    with pytest.raises(UsageError, match="unknown vision encoder 'resnet'"):
        with_vision_encoder(model, "resnet", "")
    with pytest.raises(UsageError, match="does not lead back to qwen"):
        with_vision_encoder(other, "qwen", "")


def test_early_layers_stay_as_published_where_weights_were_published(tmp_path: Path) -> None:
    model = VLA.tiny()
    untaught = with_vision_encoder(model, "mobilenetv3-small", "")
    assert early_layers(model) == early_layers(untaught) == []
    tower = untaught.encoder.backbone.visual
    assert isinstance(tower, LightTower) and isinstance(tower.network, MobileNet)
    network = tower.network
    published = {published_name(name, network.published_names): value for name, value in network.state_dict().items()}
    save_file(published, tmp_path / "model.safetensors")
    taught = with_vision_encoder(model, "mobilenetv3-small", str(tmp_path))
    kept = {id(parameter) for parameter in early_layers(taught)}
    names = {name for name, parameter in taught.encoder.backbone.visual.named_parameters() if id(parameter) in kept}
    assert {name.split(".")[1] for name in names} == {"conv_stem", "bn1", "blocks"}
    assert {name.split(".")[2] for name in names if ".blocks." in name} == {"0", "1", "2"}
