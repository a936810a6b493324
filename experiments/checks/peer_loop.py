"""The loop that peers run, as the opponent in `bench`: plain Gymnasium, one episode at a time in one process.

Every control step renders all five cameras, encodes and acts while the world waits: `pause` without lazy eyes. World,
policy, its views and its resolution are ours, and the process may use every core.
"""

import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mujoco

from vlatency.agent.realtime.driver import Policy
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.experiments.evaluation.episodes import Job, stage
from vlatency.sim.cameras import Eyes
from vlatency.sim.names import CAMERA_ORDER

if TYPE_CHECKING:
    from vlatency.envs.pick import PickEnv

STEPS = 8
"""How many control steps are timed under MuJoCo's own drawing, which is slow without a GPU."""


@dataclass(frozen=True)
class Pace:
    """What the loop costs.

    Attributes:
        steps: control steps of an episode, mean.
        step_s: host time of one with our drawing [s].
        default_step_s: and with MuJoCo's own [s].
    """

    steps: float
    step_s: float
    default_step_s: float


def measure(jobs: list[Job]) -> Pace:
    """Run the jobs' episodes to their end with our drawing, and the first steps of one with MuJoCo's own."""
    setting, cores = jobs[0].setting, os.cpu_count() or 1
    # A worker has one thread, because others work beside it; a peer is alone.
    os.environ["LP_NUM_THREADS"] = str(cores)
    _, policy = stage(setting, jobs[0].policy)
    import torch

    from vlatency.envs.pick import PickEnv

    torch.set_num_threads(cores)

    env = PickEnv(setting.task, CAMERA_ORDER, setting.control_hz, speed=setting.speed)
    play(env, policy, jobs[0].seed, STEPS)  # what is loaded and compiled once is not timed
    started = time.perf_counter()
    steps = sum(play(env, policy, job.seed) for job in jobs)
    step_s = (time.perf_counter() - started) / steps
    env.close()

    env = PickEnv(setting.task, CAMERA_ORDER, setting.control_hz, speed=setting.speed)
    env.arm.eyes = DefaultEyes(env.arm.world.model)
    env.reset(seed=jobs[0].seed)
    started = time.perf_counter()
    # The reset draws too; over a whole episode that is nothing, over a few steps it counts as one of them.
    default_steps = play(env, policy, jobs[0].seed, STEPS) + 1
    default_step_s = (time.perf_counter() - started) / default_steps
    env.close()
    return Pace(steps / len(jobs), step_s, default_step_s)


def play(env: "PickEnv", policy: Policy, seed: int, most: int | None = None) -> int:
    """One episode, or its first `most` steps; how many steps it took."""
    observation, info = env.reset(seed=seed)
    features: object | None = None
    for step in itertools.count(1):
        readings = env.sensors()
        (features,) = policy.encode(
            [Encode(observation["pixels"], info["instruction"], readings, env.now_ns, features)]
        )
        (chunk,) = policy.act([Act(features, readings, 0)])
        observation, _, success, timeout, info = env.step(chunk[0])
        if success or timeout or step == most:
            return step
    raise AssertionError("not reached")


class DefaultEyes(Eyes):
    """MuJoCo's drawing as it comes: 4-fold multisampling, shadow maps of 4096 x 4096, reflections."""

    def __init__(self, model: mujoco.MjModel) -> None:
        plain = mujoco.MjModel.from_xml_string("<mujoco/>").vis.quality
        model.vis.quality.offsamples, model.vis.quality.shadowsize = plain.offsamples, plain.shadowsize
        model.light_castshadow[:] = True
        super().__init__(model)

    def _open(self) -> mujoco.Renderer:
        renderer = super()._open()
        for flag in (mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_SHADOW):
            renderer.scene.flags[flag] = 1
        return renderer
