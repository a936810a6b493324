"""Other people's environments by name: `metaworld:push-v3`, `robotics:FetchReach-v4`, `gym:ID`, `MODULE:CALLABLE`.

Their packages are in no default installation; `make suites` makes a virtual environment with all of them.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from vlatency.assets import FOLDER
from vlatency.envs.mapping import Mapping, parse_mapping, read_table
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    from vlatency.envs.adapter import GymPlant

Table: TypeAlias = dict[str, Any]
SUITES = ("metaworld", "robotics", "pusht", "aloha", "robosuite", "libero")
SPELLINGS = "metaworld:NAME, robotics:NAME, pusht, aloha:NAME, robosuite:NAME, libero:NAME, gym:ID, MODULE:CALLABLE"
_OLD_MUJOCO = ("metaworld", "robotics", "robosuite")
"""They do not run on MuJoCo 3.9 or later."""
_MAKE = "'make suites' makes .venv-suites with it, then use .venv-suites/bin/python instead of python"


def open_mapping(name: str, config: Path | None = None) -> Mapping:
    """What the clock has to know of an environment, without opening it.

    Args:
        name: as the command line spells it; `SPELLINGS` lists the forms.
        config: a YAML file of one's own, which for the suites need only have what differs.

    Raises:
        UsageError: there is no such environment, or the file does not describe one.
    """
    return _describe(name, config)[0]


def open_world(name: str, config: Path | None = None, size: tuple[int, int] | None = None) -> GymPlant:
    """Open an environment as a plant in simulated time; `reset(seed)` starts an episode.

    Args:
        name: as in `open_mapping`.
        config: as in `open_mapping`.
        size: width and height of the views [px]; None: as the mapping says.

    Raises:
        UsageError: as in `open_mapping`, a package is missing, or environment and mapping do not go together.

    Example:
        >>> world = open_world("metaworld:drawer-open-v3")
        >>> world.reset(seed=1)
        >>> world.instruction, world.step_ns
        ('Open the drawer', 12500000)
    """
    mapping, env = _describe(name, config)
    if size is not None:
        mapping = mapping.model_copy(update={"size": size})
    family, _, task = name.partition(":")
    if family in _OLD_MUJOCO:
        _check_mujoco(family)
    if env is None:
        env = _open(_OPENERS.get(family, _foreign), name, task, mapping)
    from vlatency.envs.adapter import GymPlant

    reset = load(mapping.reset, "reset") if mapping.reset else _RESETS.get(family)
    return GymPlant(env, mapping, reset)


def _open(opener: Callable[[str, Mapping], Any], name: str, task: str, mapping: Mapping) -> Any:
    try:
        return opener(name if opener is _foreign else task, mapping)
    except UsageError:
        raise
    except ImportError as error:
        remedy = f"nobody has run it here: {mapping.not_run_here}" if mapping.not_run_here else _MAKE
        raise UsageError(f"{name} needs the package {error.name or error}, which is not installed; {remedy}") from error
    except Exception as error:  # an environment may raise anything
        raise UsageError(
            f"{name} does not open: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error


def _describe(name: str, config: Path | None) -> tuple[Mapping, Any]:
    """The mapping, and the environment if it had to be made for that."""
    family, _, task = name.partition(":")
    own = read_table(config) if config else {}
    where = str(config) if config else name
    if family in SUITES:
        table = read_table(FOLDER / "suites" / f"{family}.yaml")
        table |= _find_task(family, task, table.pop("tasks", None))
        return parse_mapping(table | {"name": name} | own, where), None
    if family == "gym" and task:
        if not config:
            raise UsageError(f"{name} needs --env-config FILE.yaml; docs/your-environment.md has an example")
        return parse_mapping({"name": name} | own, where), None
    if not task or ":" in task:
        close = difflib.get_close_matches(family, SUITES, 1)
        raise UsageError(
            f"unknown environment '{name}'" + (f"; did you mean {close[0]}?" if close else ";") + f" Write {SPELLINGS}"
        )
    if config:
        return parse_mapping({"name": name} | own, where), None
    made = load(name, "environment")()
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], dict)):
        raise UsageError(f"{name} must return (environment, mapping as a dict), or give --env-config FILE.yaml")
    return parse_mapping({"name": name} | made[1], name), made[0]


def _find_task(family: str, task: str, tasks: Table | None) -> Table:
    """What sets a task apart from others of its suite."""
    if tasks is None:
        if task:
            raise UsageError(f"{family} has one task only: write {family}, not {family}:{task}")
        return {}
    task, _, _number = task.partition("/")  # libero:SUITE/N
    if task not in tasks:
        close = difflib.get_close_matches(task, tasks, 5, 0.4) or list(tasks)
        some = ", ".join(f"{family}:{each}" for each in close[:5])
        raise UsageError(f"unknown environment '{family}:{task}'; there are {len(tasks)}, such as {some}")
    found: Table = tasks[task] or {}
    return found


def _check_mujoco(family: str) -> None:
    import mujoco

    if tuple(int(part) for part in mujoco.__version__.split(".")[:2]) >= (3, 9):
        raise UsageError(f"{family} does not run on MuJoCo {mujoco.__version__}, only up to 3.8; {_MAKE}")


def load(text: str, what: str) -> Any:
    """What `MODULE:CALLABLE` names; modules are also looked for in the current folder.

    Raises:
        UsageError: there is no such module, or nothing of that name in it that can be called.
    """
    module_name, _, attribute = text.partition(":")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        close = difflib.get_close_matches(module_name, SUITES, 1) if what == "environment" else []
        hint = f"; did you mean {close[0]}:{attribute}?" if close else "; write MODULE:CALLABLE, found from here"
        raise UsageError(f"{what} '{text}': {error}{hint}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        raise UsageError(f"{what} '{text}': {module_name} has no {attribute or 'name after the colon'} to call")
    return found


# How to make each family.


def _foreign(name: str, mapping: Mapping) -> Any:
    made = load(name, "environment")(**mapping.make)
    return made[0] if isinstance(made, tuple) else made


def _gym(task: str, mapping: Mapping) -> Any:
    import gymnasium

    own: Table = {"max_episode_steps": _steps(mapping), "disable_env_checker": True}
    if any(camera.render for camera in mapping.cameras.values()):
        own["render_mode"] = "rgb_array"
    return gymnasium.make(task, **own | mapping.make)


def _steps(mapping: Mapping) -> int:
    return round(mapping.time_limit_s / mapping.step_s)


def _robotics(task: str, mapping: Mapping) -> Any:
    import gymnasium

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # it talks about versions of Adroit's rewards
        import gymnasium_robotics

    gymnasium.register_envs(gymnasium_robotics)
    return _gym(task, mapping)


def _pusht(task: str, mapping: Mapping) -> Any:
    import gym_pusht  # noqa: F401  # registers itself

    return _gym("gym_pusht/PushT-v0", mapping)


def _aloha(task: str, mapping: Mapping) -> Any:
    import gym_aloha  # noqa: F401  # registers itself

    env = _gym(f"gym_aloha/{task}", mapping)
    # It draws three images of 640x480 a step, which takes a quarter of a second. Ours are drawn when somebody looks.
    env.unwrapped._env.task.get_observation = _aloha_numbers(env.unwrapped._env.task)
    env.unwrapped._format_raw_obs = lambda raw: {"agent_pos": raw["qpos"], "environment_state": raw["env_state"]}
    return env


def _aloha_numbers(task: Any) -> Callable[[Any], Table]:
    return lambda physics: {"qpos": task.get_qpos(physics), "env_state": task.get_env_state(physics)}


def _metaworld(task: str, mapping: Mapping) -> Any:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    env = ALL_V3_ENVIRONMENTS[task](**mapping.make)
    env.max_path_length = _steps(mapping)
    return env


def reset_metaworld(env: Any, seed: int) -> tuple[Any, Table]:
    """Start from the goal and the places of the objects that `seed` alone draws.

    MetaWorld's own `reset` ignores its seed, and its lists of tasks depend on how many were drawn before. The draw is
    repeated by the environment itself where it must be (a goal too close to the object), and then frozen, as its
    benchmarks freeze theirs.
    """
    env._set_task_called = True
    if env._partially_observable:  # without the goal, which scripts and policies on states need
        env._partially_observable = False
        del env.sawyer_observation_space
    env.seeded_rand_vec, env._freeze_rand_vec = True, False
    env.seed(seed)
    env.reset()
    env._freeze_rand_vec = True
    observation, info = env.reset()
    return observation, info


def _robosuite(task: str, mapping: Mapping) -> Any:
    from vlatency.envs.robosuite_env import RobosuiteEnv

    return RobosuiteEnv(task, _steps(mapping), round(1 / mapping.step_s), mapping.make)


def _libero(task: str, mapping: Mapping) -> Any:
    from vlatency.envs.libero_env import LiberoEnv

    suite, _, number = task.partition("/")
    if not number.isdecimal():
        raise UsageError(f"libero:{task} names no task; write libero:SUITE/NUMBER, such as libero:{suite}/0")
    return LiberoEnv(suite, int(number), mapping.noop, mapping.make)


_OPENERS: dict[str, Callable[[str, Mapping], Any]] = {
    "metaworld": _metaworld,
    "robotics": _robotics,
    "pusht": _pusht,
    "aloha": _aloha,
    "robosuite": _robosuite,
    "libero": _libero,
    "gym": _gym,
}
_RESETS: dict[str, Callable[[Any, int], tuple[Any, Table]]] = {"metaworld": reset_metaworld}
