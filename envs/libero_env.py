"""LIBERO's tasks as Gymnasium environments. Nobody has run this with its own assets: tests use a stand-in for it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from vlatency.sim.errors import UsageError

SETTLING_STEPS = 10
"""Steps without motion after a reset, until the objects rest, as in LIBERO's own evaluation."""


class LiberoEnv(gymnasium.Env[dict[str, Any], NDArray[np.float64]]):
    """One task of a LIBERO suite. A seed chooses one of the initial states that LIBERO ships for the task.

    Args:
        suite: such as libero_10.
        number: of the task in it.
        noop: the action of the settling steps.
        options: further keyword arguments of LIBERO's environment, such as camera_heights.
    """

    def __init__(self, suite: str, number: int, noop: tuple[float, ...], options: dict[str, Any]) -> None:
        from libero.libero import benchmark
        from libero.libero.envs import OffScreenRenderEnv

        tasks = benchmark.get_benchmark_dict()[suite]()
        if not 0 <= number < tasks.n_tasks:
            raise UsageError(f"{suite} has tasks 0 to {tasks.n_tasks - 1}, not {number}")
        self.task_description: str = tasks.get_task(number).language
        self.control_freq = 20
        self.inner: Any = OffScreenRenderEnv(
            bddl_file_name=tasks.get_task_bddl_file_path(number), control_freq=self.control_freq, **options
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(noop),), np.float64)
        self.observation_space = gymnasium.spaces.Dict()
        self._states, self._noop = tasks.get_task_init_states(number), list(noop)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start from initial state number `seed`, counted round."""
        super().reset(seed=seed)
        self.inner.seed(seed)
        self.inner.reset()
        observation = self.inner.set_init_state(self._states[(seed or 0) % len(self._states)])
        for _ in range(SETTLING_STEPS):
            observation = self.inner.step(self._noop)[0]
        return dict(observation), {"is_success": False}

    def step(self, action: NDArray[np.float64]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One control step."""
        observation, reward, _, info = self.inner.step(action)
        return dict(observation), float(reward), False, False, {**info, "is_success": bool(self.inner.check_success())}

    def close(self) -> None:
        """Free the simulation."""
        self.inner.close()
