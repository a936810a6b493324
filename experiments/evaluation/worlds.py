"""The worlds that episodes take place in: one of our pick tasks, or an environment of others."""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vlatency.experiments.evaluation.setting import Setting
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, HEIGHT, WIDTH
from vlatency.sim.plant import Plant

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from vlatency.envs.pick import PickEnv
    from vlatency.envs.script import Script

SWAP_STREAM = 2
"""The object that is named instead of the target is drawn apart from the scene."""


class World(Plant, Protocol):
    """A plant that can begin a scene and knows how it ended."""

    @property
    def success(self) -> bool:
        """Whether the task was done."""

    @property
    def success_ns(self) -> int | None:
        """When [ns]."""

    @property
    def trajectory_hash(self) -> str:
        """Equal for equal trajectories."""


def idle_worlds(setting: Setting) -> list[Any]:
    """The idle worlds of this process that the setting can use: opening one costs seconds, a reset does not."""
    guest = setting.guest
    where = (guest.env_config, guest.env_sha256, guest.size) if guest else ()
    optimization = setting.optimization
    return _idle_worlds(setting.task, optimization.cameras, setting.timing.control_hz, setting.speed, *where)


@lru_cache(maxsize=1)
def _idle_worlds(*configuration: object) -> list[Any]:
    """The worlds of one configuration; those of another one are forgotten."""
    return []


def opened_worlds(setting: Setting) -> list[Any]:
    """The idle worlds, of which there is at least one now. UsageError for what the user can mend."""
    worlds = idle_worlds(setting)
    if not worlds:
        worlds.append(open_world(setting))
    return worlds


def open_world(setting: Setting) -> Any:
    """A new world. UsageError for what the user can mend."""
    from vlatency.sim import gl

    guest = setting.guest
    with suppress(*[UsageError] * bool(guest and not guest.cameras)):  # what draws nothing needs no GL
        gl.configure()  # before MuJoCo is imported
    if guest and setting.in_foreign_env:
        from vlatency.envs.suites import open_world as open_suite

        return open_suite(setting.task, Path(guest.env_config) if guest.env_config else None, guest.size)
    from vlatency.envs.pick import PickEnv

    return PickEnv(setting.task, setting.optimization.cameras, setting.timing.control_hz, speed=setting.speed)


def lay_out(setting: Setting, seed: int, world: Any) -> None:
    """Begin the scene of a seed, as `reset` does, but without an observation, which would be drawn."""
    if is_pick(world):
        from gymnasium.utils.seeding import np_random

        world.begin(np_random(seed)[0], {})
    else:
        world.reset(seed=seed)
    if setting.swap_instruction:
        world.lay_out(world.script, swapped_target(world.script, seed))


def filmed_cameras(setting: Setting, world: Any) -> tuple[str, ...]:
    """Through which a film is taken: those that the policy reads, and the first two. UsageError if there are none."""
    if not setting.in_foreign_env:
        return CAMERA_ORDER
    from vlatency.experiments.recording.film import MOST_CAMERAS

    cameras = tuple(dict.fromkeys((*setting.cameras, *world.cameras[:2])))[:MOST_CAMERAS]
    if not cameras:
        raise UsageError(f"{setting.task} has no cameras to film through; add --videos 0, or cameras to its mapping")
    return cameras


def camera_px(setting: Setting) -> tuple[int, int]:
    """Width and height of an image [px]."""
    return setting.guest.size if setting.guest and setting.in_foreign_env else (WIDTH, HEIGHT)


def swapped_target(script: "Script", seed: int) -> int:
    """Number of another object of the same scene to be named instead of the target, drawn by `seed`.

    Where the instruction is to switch it is not the object that the switch names, or nothing would switch.
    """
    from vlatency.envs.events import Switch

    taken = {0, script.event.to} if isinstance(script.event, Switch) else {0}
    others = [number for number in range(len(script.things)) if number not in taken]
    return others[int(np.random.default_rng((seed, SWAP_STREAM)).integers(len(others)))]


def is_pick(world: Any) -> "TypeIs[PickEnv]":
    """Whether it is one of our pick tasks."""
    from vlatency.envs.pick import PickEnv

    return isinstance(world, PickEnv)
