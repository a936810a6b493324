"""Write demonstrations: the expert at work, disturbed on purpose, or a policy for the expert to correct (DAgger).

python experiments/collect.py --out runs/demos
python experiments/collect.py --out runs/dagger --policy assets/policies/tiny
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlatency.experiments.shared.command import run
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vlatency.envs.pick import PickEnv
    from vlatency.sim.readings import Readings

TICK_NS = 100_000_000


@dataclass(frozen=True)
class Config:
    """Demonstrations to disk. A run that was stopped goes on where it stopped."""

    out: Path = Path("runs/demos")
    """Folder for the shards."""
    episodes: int = 3200
    """Episodes in all."""
    per_shard: int = 20
    """Episodes in one shard."""
    tasks: tuple[str, ...] = ("static",)
    """Tasks whose scenes are drawn: a shard of each in turn. Name one twice for twice as many."""
    res: str = "224"
    """Size at which images are stored, and seen by the policy: a side, or WIDTHxHEIGHT."""
    speed: float | None = None
    """Of the belt, or of the turntable's rim [m/s]; default draws one for each episode."""
    every: int = 3
    """Images are taken at every n-th moment (10 Hz); sensors at each."""
    policy: Path | None = None
    """Let this policy act instead of the expert: its own mistakes are what it must learn to mend."""
    seed: int = 1_000_000
    """First seed; evaluation seeds lie below."""
    workers: int = os.cpu_count() or 1
    """Processes."""


@dataclass(frozen=True)
class Job:
    """One shard to write."""

    config: Config
    number: int


def main(config: Config) -> None:
    """Write the shards that are missing."""
    from vlatency.agent.optimization import parse_res
    from vlatency.envs.tasks import check_speed, find_task
    from vlatency.experiments.parallel.processes import Workers
    from vlatency.experiments.shared.progress import bars
    from vlatency.experiments.training.shards import shard_path
    from vlatency.sim import gl

    for task in config.tasks:
        check_speed(find_task(task), config.speed)
    parse_res(config.res)
    gl.configure()
    if not config.tasks or config.episodes < 1 or config.per_shard < 1 or config.every < 1:
        raise UsageError("give at least one task; episodes, per-shard and every are whole numbers from 1")
    if config.policy is not None and not (config.policy / "config.json").is_file():
        raise UsageError(f"no policy folder {config.policy}: give one that holds config.json and model.safetensors")
    shards = -(-config.episodes // config.per_shard)
    jobs = [Job(config, number) for number in range(shards) if not shard_path(config.out, number).exists()]
    tasks = ", ".join(dict.fromkeys(config.tasks))
    print(f"demonstrations of {tasks}: {shards - len(jobs)} of {shards} shards are in {config.out}")
    with Workers(config.workers) as workers, bars() as progress:
        progress.add("shards", shards, shards - len(jobs))
        for _ in workers.map(write, jobs):
            progress.advance("shards")
    print(f"{config.out}/  {shards} shards    next: python experiments/train.py --data {config.out}")


def write(job: Job) -> None:
    """Record the episodes of one shard."""
    import numpy as np

    from vlatency.agent.optimization import parse_res
    from vlatency.envs.pick import PickEnv
    from vlatency.experiments.training.shards import shard_path, write_shard
    from vlatency.sim import gl

    gl.configure()
    rng = np.random.default_rng([job.config.seed, job.number])
    size = parse_res(job.config.res)
    env = PickEnv(task=job.config.tasks[job.number % len(job.config.tasks)], speed=job.config.speed)
    actor = ExpertActor() if job.config.policy is None else _PolicyActor(job.config.policy, size)
    recorder = Recorder(env, size, job.config.every)
    for episode in range(job.config.per_shard):
        _episode(env, actor, recorder, rng, episode)
    env.close()
    write_shard(shard_path(job.config.out, job.number), *recorder.finish())


def _episode(env: "PickEnv", actor: Any, recorder: "Recorder", rng: "np.random.Generator", episode: int) -> None:
    """One short episode from a start drawn to cover what a policy may run into."""
    import numpy as np

    from vlatency.envs.pick import HOME_POSE
    from vlatency.envs.script import draw_script

    script = draw_script(env.task, rng, env.speed)
    things = script.things
    target = int(rng.integers(len(things)))
    if script.event or script.scenery.hidden_from:
        target = 0  # what happens, and what is hidden, was drawn for this one
    pose, gripper = HOME_POSE, 0.0
    start = rng.random()
    if start < 0.35:
        pose = np.append(rng.uniform([0.33, -0.27, 0.06], [0.72, 0.27, 0.36]), rng.uniform(-0.6, 0.6))
    elif start < 0.65:
        above = things[target if rng.random() < 0.7 else int(rng.integers(len(things)))]
        spread = rng.normal(0, 0.03, 2)
        height = 0.075 + 2 * float(np.linalg.norm(spread)) + rng.uniform(0, 0.1)
        pose = np.array([above.x + spread[0], above.y + spread[1], height, rng.uniform(-0.6, 0.6)])
    if start < 0.65 and rng.random() < 0.15:
        gripper = float(rng.random() < 0.7)
    env.lay_out(script, target, pose)
    if gripper:
        env.command(np.append(pose, gripper))
        env.advance_to(2 * TICK_NS)
    actor.begin(env, rng)
    phase = int(rng.integers(recorder.every))
    for tick in range(int(rng.integers(8, actor.longest))):
        recorder.record(episode, with_images=tick % recorder.every == phase)
        env.command(actor(env))
        env.advance_to(env.now_ns + TICK_NS)


class ExpertActor:
    """The expert, now and then disturbed, so that the demonstrations show how to recover."""

    longest = 34
    """Control ticks; it needs about 22 where nothing happens."""

    def begin(self, env: "PickEnv", rng: "np.random.Generator") -> None:
        """A new episode."""
        import numpy as np

        self._rng, self._kick, self._kicked = rng, np.zeros(5), 0

    def __call__(self, env: "PickEnv") -> "NDArray[np.float64]":
        import numpy as np

        from vlatency.envs.expert import expert, look

        action = expert(look(env))[0]
        action[:3] += self._rng.normal(0, 0.004, 3)
        if self._kicked == 0 and self._rng.random() < 0.06:
            flip = 1.0 if self._rng.random() < 0.25 else 0.0
            self._kick = np.array([*self._rng.normal(0, 0.03, 3), self._rng.normal(0, 0.2), flip])
            self._kicked = int(self._rng.integers(1, 4))
        if self._kicked > 0:
            self._kicked -= 1
            action[:4] += self._kick[:4]
            action[4] = abs(action[4] - self._kick[4])
        return action


class _PolicyActor:
    """A policy in a paused world, helped by the expert for part of each episode, so that it meets all its stages."""

    longest = 60
    """Control ticks: time enough to fail and to try again."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        from vlatency.agent.optimization import Optimization
        from vlatency.agent.vla.policy import VLAPolicy

        self._policy = VLAPolicy.from_pretrained(folder, Optimization(width=size[0], height=size[1]))
        self._expert = ExpertActor()

    def begin(self, env: "PickEnv", rng: "np.random.Generator") -> None:
        """A new episode: sometimes the expert acts first."""
        self._expert.begin(env, rng)
        self._features: object | None = None
        self._helped = int(rng.integers(0, 12)) if rng.random() < 0.3 else 0

    def __call__(self, env: "PickEnv") -> "NDArray[np.float64]":
        from vlatency.agent.realtime.requests import Act, Encode

        if self._helped > 0:
            self._helped -= 1
            return self._expert(env)
        readings = env.sensors()
        views = env.capture(self._policy.optimization.cameras)
        request = Encode(views, env.instruction, readings, env.now_ns, self._features)
        self._features = self._policy.encode([request])[0]
        return self._policy.act([Act(self._features, readings, 0)])[0][0]


class Recorder:
    """Gathers moments of one environment."""

    def __init__(self, env: "PickEnv", size: tuple[int, int], every: int) -> None:
        from vlatency.sim.names import CAMERA_ORDER

        self.every = every
        self._env, self._cameras, self._size = env, CAMERA_ORDER, size
        self._rows: list[dict[str, Any]] = []
        self._images: list[NDArray[np.uint8]] = []

    def record(self, episode: int, with_images: bool) -> None:
        """Note the present moment."""
        import numpy as np

        from vlatency.agent.vla.model.views import resample
        from vlatency.envs.expert import riding_velocity
        from vlatency.experiments.training.shards import MOST_OBJECTS
        from vlatency.sim.cameras import project
        from vlatency.sim.world import COLOURS, SHAPES

        env, world = self._env, self._env.arm.world
        readings: Readings = env.sensors()
        row: dict[str, Any] = {
            name: getattr(readings, name)
            for name in ("joint_pos", "joint_vel", "gripper_pos", "gripper_vel", "ee_pose", "wrench")
        }
        count = len(env.things)

        def padded(values: "NDArray[Any]") -> "NDArray[Any]":
            out = np.zeros((MOST_OBJECTS, *values.shape[1:]), values.dtype)
            out[:count] = values
            return out

        positions = world.positions()
        half_height = np.array([thing.half_height for thing in env.things])
        row |= {
            "episode": episode,
            "image": len(self._images) if with_images else -1,
            "position": padded(positions),
            "yaw": padded(world.yaws()),
            "shape": padded(np.array([list(SHAPES).index(thing.shape) for thing in env.things])),
            "colour": padded(np.array([list(COLOURS).index(thing.colour) for thing in env.things])),
            "half_height": padded(half_height),
            "velocity": padded(riding_velocity(world, positions, half_height)),
            "count": count,
            "target": env.target_index,
            "place": np.stack([padded(project(world.model, world.data, name, positions)) for name in self._cameras]),
        }
        self._rows.append(row)
        if with_images:
            images = env.capture(self._cameras)
            self._images.append(np.stack([resample(images[name], self._size) for name in self._cameras]))

    def finish(self) -> "tuple[Any, NDArray[np.uint8]]":
        """The moments and their images (n, V, height, width, 3)."""
        import numpy as np

        from vlatency.experiments.training.shards import Moments

        def column(name: str) -> "NDArray[Any]":
            values = np.stack([np.asarray(row[name]) for row in self._rows])
            return values.astype(np.float32) if values.dtype == np.float64 else values

        return Moments(**{name: column(name) for name in self._rows[0]}), np.stack(self._images)


if __name__ == "__main__":
    run(main, Config)
