"""The loop that other testbeds run, as the opponent in bench.py: plain Gymnasium, one episode at a time in one process.

At every control step it renders all five cameras, encodes and acts while the world waits. World, policy, views and
resolution are ours, and the process may use every core.
"""

import itertools
import os
import time
from collections.abc import Sequence

import mujoco
import torch

from vlatency.agent.realtime.driver import Policy
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.envs.pick import PickEnv
from vlatency.experiments.checks.target import Target
from vlatency.experiments.evaluation.episodes import Job, worlds_and_policy
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.shared.provenance import cores
from vlatency.sim.cameras import CameraRenderer
from vlatency.sim.names import CAMERA_ORDER

STEPS = 8
"""Control steps that are timed with MuJoCo's own drawing, which is slow without a GPU."""


def against_peers(measured: tuple[float, Sequence[Job]]) -> list[Target]:
    """Compare our episodes per hour with the peers' loop, with MuJoCo's drawing and with ours.

    Args:
        measured: our episodes per hour, and the jobs whose episodes the peers' loop runs.
    """
    ours_h, jobs = measured
    setting = jobs[0].setting
    # A worker has one thread because others run beside it, but a peer runs alone.
    os.environ["LP_NUM_THREADS"] = str(cores())
    _, policy = worlds_and_policy(setting, jobs[0].policy)
    torch.set_num_threads(cores())

    env = _open(setting)
    play(env, policy, jobs[0].seed, STEPS)  # loads and compiles what is needed once
    started = time.perf_counter()
    steps = sum(play(env, policy, job.seed) for job in jobs)
    step_s = (time.perf_counter() - started) / steps
    env.close()

    env = _open(setting)
    env.arm.renderer = DefaultRenderer(env.arm.world.model)
    env.reset(seed=jobs[0].seed)
    started = time.perf_counter()
    # The reset draws too, which is nothing in a whole episode but counts as a step among a few.
    default_steps = play(env, policy, jobs[0].seed, STEPS) + 1
    default_step_s = (time.perf_counter() - started) / default_steps
    env.close()

    mean_steps = steps / len(jobs)
    targets = []
    for drawing, seconds, least in (("MuJoCo's", default_step_s, 5.0), ("our", step_s, None)):
        theirs_h = 3600 / (mean_steps * seconds)
        detail = f"{theirs_h:.0f} episodes per hour, {1e3 * seconds:.0f} ms per step, {mean_steps:.0f} steps"
        what = f"two workers against the peers' loop with {drawing} drawing"
        targets.append(Target(what, ours_h / theirs_h, least, detail=detail))
    return targets


def _open(setting: Setting) -> PickEnv:
    return PickEnv(setting.task, CAMERA_ORDER, setting.timing.control_hz, speed=setting.speed)


def play(env: PickEnv, policy: Policy, seed: int, most: int | None = None) -> int:
    """Run one episode, or its first `most` steps.

    Returns:
        The number of steps.
    """
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


class DefaultRenderer(CameraRenderer):
    """MuJoCo's default drawing: 4-fold multisampling, shadow maps of 4096x4096, reflections."""

    def __init__(self, model: mujoco.MjModel) -> None:
        default = mujoco.MjModel.from_xml_string("<mujoco/>").vis.quality
        model.vis.quality.offsamples, model.vis.quality.shadowsize = default.offsamples, default.shadowsize
        model.light_castshadow[:] = True
        super().__init__(model)

    def _open(self) -> mujoco.Renderer:
        renderer = super()._open()
        for flag in (mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_SHADOW):
            renderer.scene.flags[flag] = 1
        return renderer
