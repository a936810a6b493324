"""robosuite's environments as Gymnasium environments."""

from __future__ import annotations

import logging
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray


class RobosuiteEnv(gymnasium.Env[dict[str, Any], NDArray[np.float64]]):
    """One robosuite environment, on states alone: images are drawn from its model when somebody looks.

    Args:
        task: such as Lift.
        steps: time limit in steps.
        control_freq: steps a second.
        options: further keyword arguments of `robosuite.make`, such as robots.
    """

    def __init__(self, task: str, steps: int, control_freq: float, options: dict[str, Any]) -> None:
        logging.disable(logging.WARNING)  # it talks about macros and other robots
        try:
            import robosuite
        finally:
            logging.disable(logging.NOTSET)
        logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
        self.control_freq = control_freq
        self.inner: Any = robosuite.make(
            task,
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            control_freq=control_freq,
            horizon=steps,
            ignore_done=True,
            **options,
        )
        low, high = self.inner.action_spec
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float64)
        self.observation_space = gymnasium.spaces.Dict()

    @property
    def model(self) -> mujoco.MjModel:
        """The compiled model; robosuite compiles another one at each reset."""
        return self.inner.sim.model._model

    @property
    def data(self) -> mujoco.MjData:
        """The state of the simulation."""
        return self.inner.sim.data._data

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start again, with a scene drawn from the seed alone."""
        super().reset(seed=seed)
        # Samplers of places keep the generator that they were made with, so it is set back, not replaced.
        self.inner.rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        return dict(self.inner.reset()), {"is_success": False}

    def step(self, action: NDArray[np.float64]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One control step."""
        observation, reward, _, info = self.inner.step(action)
        return dict(observation), float(reward), False, False, {**info, "is_success": bool(self.inner._check_success())}

    def close(self) -> None:
        """Free the simulation."""
        self.inner.close()
