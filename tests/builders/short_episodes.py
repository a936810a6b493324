"""Episodes of 0.8 s in the real world, with a policy that follows a fixed rule."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.latency import FixedLatency, LatencyModel
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.envs.pick import PickEnv
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.setting import Setting

SETTING = Setting(
    task="static",
    optimization=Optimization(cameras=("top",)),
    timing=Timing(actions=SETPOINTS, mode="async", latency=FixedLatency(130.0, 11.0)),
    seed=10_000,
    policy_sha256="",
)


class Rule:
    """A policy whose every command depends on the images and the time."""

    def __init__(self) -> None:
        self.seen: list[Encode] = []

    def encode(self, requests: Sequence[Encode]) -> list[float]:
        self.seen += requests
        return [float(request.images["top"].mean()) for request in requests]

    def act(self, requests: Sequence[Act]) -> list[np.ndarray]:
        points = []
        for request in requests:
            assert isinstance(request.features, float)
            side = 0.2 * np.sin(request.features + request.readings.t_ns * 1e-9)
            points.append(np.tile([0.5, side, 0.25, 0.0, 0.0], (8, 1)))
        return points


def open_world(setting: Setting = SETTING) -> PickEnv:
    """A world in which an episode is over after 0.8 s."""
    env = PickEnv(cameras=("top",))
    env.task = replace(env.task, time_limit_s=0.8)
    return env


def job(mode: Mode = "async", latency: LatencyModel | None = None, **change: Any) -> Job:
    """An episode; `change` goes to the setting."""
    timing = replace(SETTING.timing, mode=mode, latency=latency or SETTING.timing.latency)
    return Job(replace(SETTING, timing=timing, **change), policy="", seed=10_003)
