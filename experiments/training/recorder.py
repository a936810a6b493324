"""Recording demonstrations: who acts, how an episode starts, and what is noted at each control tick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla.model.views import resample
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.envs.expert import expert, riding_velocity, scene_of
from vlatency.envs.pick import HOME_POSE, PickEnv
from vlatency.envs.script import Script, draw_script
from vlatency.experiments.training.shards import MOST_OBJECTS, Moments, write_shard
from vlatency.sim import gl
from vlatency.sim.cameras import project
from vlatency.sim.clock import CHUNK_STEP_NS
from vlatency.sim.names import CAMERA_ORDER, COLOUR_NAMES, SHAPE_NAMES

READINGS = ("joint_pos", "joint_vel", "gripper_pos", "gripper_vel", "ee_pose", "wrench")


@dataclass(frozen=True)
class ShardJob:
    """One shard to record.

    Attributes:
        path: file of the shard.
        task: name of the pick task.
        episodes: their number.
        seed: the user's seed, and the number of the shard.
        size: width and height at which images are stored and shown to the policy [px].
        every: images are stored at every n-th control tick.
        speed: of the belt or of the turntable's rim [m/s]; None draws one for each episode.
        policy: folder of the policy that acts; None lets the expert act.
    """

    path: Path
    task: str
    episodes: int
    seed: tuple[int, int]
    size: tuple[int, int]
    every: int
    speed: float | None = None
    policy: Path | None = None


def record_shard(job: ShardJob) -> None:
    """Record the episodes of one shard and write it."""
    gl.configure()
    rng = np.random.default_rng(job.seed)
    env = PickEnv(task=job.task, speed=job.speed)
    actor = ExpertActor() if job.policy is None else PolicyActor(job.policy, job.size)
    recorder = Recorder(env, job.size)
    for episode in range(job.episodes):
        _begin(env, rng)
        actor.begin(rng)
        phase = int(rng.integers(job.every))
        for tick in range(int(rng.integers(8, actor.longest))):
            recorder.record(episode, with_images=tick % job.every == phase)
            env.command(actor.act(env))
            env.advance_to(env.now_ns + CHUNK_STEP_NS)
    env.close()
    write_shard(job.path, *recorder.finish())


def _begin(env: PickEnv, rng: np.random.Generator) -> None:
    """Lay out a new scene and put the hand where a policy may find itself: at home, anywhere, or above an object."""
    script = draw_script(env.task, rng, env.speed)
    target = int(rng.integers(len(script.things)))
    if script.event or script.scenery.hidden_from:
        target = 0  # the event, and the board that hides an object, were drawn for this one
    start = rng.random()
    pose = _start_pose(script, target, start, rng)
    closed = start < 0.65 and rng.random() < 0.15 and rng.random() < 0.7
    env.lay_out(script, target, pose)
    if closed:
        env.command(np.append(pose, 1.0))
        env.advance_to(2 * CHUNK_STEP_NS)


def _start_pose(script: Script, target: int, start: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(4,) pose of the hand: anywhere (35 %), above an object (30 %), or at home."""
    if start < 0.35:
        return np.append(rng.uniform([0.33, -0.27, 0.06], [0.72, 0.27, 0.36]), rng.uniform(-0.6, 0.6))
    if start < 0.65:
        things = script.things
        above = things[target if rng.random() < 0.7 else int(rng.integers(len(things)))]
        spread = rng.normal(0, 0.03, 2)
        height = 0.075 + 2 * float(np.linalg.norm(spread)) + rng.uniform(0, 0.1)
        return np.array([above.x + spread[0], above.y + spread[1], height, rng.uniform(-0.6, 0.6)])
    return HOME_POSE


class ExpertActor:
    """The expert, disturbed now and then so that the demonstrations show how to recover."""

    longest = 34
    """The expert needs about 22 ticks when nothing disturbs it."""

    def begin(self, rng: np.random.Generator) -> None:
        """Start a new episode."""
        self._rng, self._push, self._ticks_left = rng, np.zeros(5), 0

    def act(self, env: PickEnv) -> NDArray[np.float64]:
        """The expert's set-point (5,), plus noise and at times a push of one to three ticks."""
        action = expert(scene_of(env))[0]
        action[:3] += self._rng.normal(0, 0.004, 3)
        if self._ticks_left == 0 and self._rng.random() < 0.06:
            flip = 1.0 if self._rng.random() < 0.25 else 0.0
            self._push = np.array([*self._rng.normal(0, 0.03, 3), self._rng.normal(0, 0.2), flip])
            self._ticks_left = int(self._rng.integers(1, 4))
        if self._ticks_left > 0:
            self._ticks_left -= 1
            action[:4] += self._push[:4]
            action[4] = abs(action[4] - self._push[4])
        return action


class PolicyActor:
    """A policy in a world that waits for it. The expert sometimes acts first, so that all phases of a pick occur.

    Args:
        folder: of the policy.
        size: width and height of the views it gets [px].
    """

    longest = 60
    """Time enough to fail and to try again."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        self._policy = VLAPolicy.from_pretrained(folder, Optimization(width=size[0], height=size[1]))
        self._expert = ExpertActor()

    def begin(self, rng: np.random.Generator) -> None:
        """Start a new episode."""
        self._expert.begin(rng)
        self._features: object | None = None
        self._expert_ticks = int(rng.integers(0, 12)) if rng.random() < 0.3 else 0

    def act(self, env: PickEnv) -> NDArray[np.float64]:
        """The first set-point (5,) of the policy's answer to what it sees now."""
        if self._expert_ticks > 0:
            self._expert_ticks -= 1
            return self._expert.act(env)
        readings = env.sensors()
        views = env.capture(self._policy.optimization.cameras)
        request = Encode(views, env.instruction, readings, env.now_ns, self._features)
        self._features = self._policy.encode([request])[0]
        return self._policy.act([Act(self._features, readings, 0)])[0][0]


class Recorder:
    """Collects the moments of one environment.

    Args:
        env: the environment.
        size: width and height at which images are kept [px].
    """

    def __init__(self, env: PickEnv, size: tuple[int, int]) -> None:
        self._env, self._size = env, size
        self._rows: list[dict[str, Any]] = []
        self._images: list[NDArray[np.uint8]] = []

    def record(self, episode: int, with_images: bool) -> None:
        """Note the present moment of episode number `episode`."""
        env, world = self._env, self._env.arm.world
        readings, positions = env.sensors(), world.positions()
        half_height = np.array([thing.half_height for thing in env.things])
        objects: dict[str, NDArray[Any]] = {
            "position": positions,
            "yaw": world.yaws(),
            "shape": np.array([SHAPE_NAMES.index(thing.shape) for thing in env.things]),
            "colour": np.array([COLOUR_NAMES.index(thing.colour) for thing in env.things]),
            "half_height": half_height,
            "velocity": riding_velocity(world, positions, half_height),
        }
        pixels = [_padded(project(world.model, world.data, camera, positions)) for camera in CAMERA_ORDER]
        self._rows.append(
            {name: getattr(readings, name) for name in READINGS}
            | {name: _padded(values) for name, values in objects.items()}
            | {
                "episode": episode,
                "image": len(self._images) if with_images else -1,
                "count": len(env.things),
                "target": env.target_index,
                "place": np.stack(pixels),
            }
        )
        if with_images:
            images = env.capture(CAMERA_ORDER)
            self._images.append(np.stack([resample(images[camera], self._size) for camera in CAMERA_ORDER]))

    def finish(self) -> tuple[Moments, NDArray[np.uint8]]:
        """The moments and their images (n, V, height, width, 3)."""

        def column(name: str) -> NDArray[Any]:
            values = np.stack([np.asarray(row[name]) for row in self._rows])
            return values.astype(np.float32) if values.dtype == np.float64 else values

        return Moments(**{name: column(name) for name in self._rows[0]}), np.stack(self._images)


def _padded(values: NDArray[Any]) -> NDArray[Any]:
    """Values (k, ...) of the objects as (MOST_OBJECTS, ...), the rest zero."""
    padded = np.zeros((MOST_OBJECTS, *values.shape[1:]), values.dtype)
    padded[: len(values)] = values
    return padded
