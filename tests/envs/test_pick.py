"""Laws of the pick environment."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from vlatency.envs.expert import expert, scene_of
from vlatency.envs.pick import HOLD_NS, PickEnv
from vlatency.sim.clock import CHUNK_STEP_NS, PHYSICS_STEP_NS
from vlatency.sim.errors import UsageError

pytestmark = pytest.mark.gl


@pytest.fixture(scope="module")
def env() -> Iterator[PickEnv]:
    env = PickEnv(cameras=("top",))
    yield env
    env.close()


@pytest.fixture(scope="module")
def fresh() -> PickEnv:
    """An environment without an episode."""
    return PickEnv(cameras=("top",), render_mode="rgb_array")


def run_expert(env: PickEnv, ticks: int) -> None:
    for _ in range(ticks):
        env.command(expert(scene_of(env))[0])
        env.advance_to(env.now_ns + CHUNK_STEP_NS)


def test_make_finds_the_environment_without_an_import_of_ours() -> None:
    code = (
        "import gymnasium; env = gymnasium.make('vlatency.envs:vlatency/Pick-v0', cameras=('wrist',));"
        "obs, info = env.reset(seed=1); print(obs['pixels']['wrist'].shape, env.unwrapped.task_description)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("(360, 640, 3) Pick up the ")


def test_several_in_a_vector_environment_are_what_each_is_alone() -> None:
    together: Any = gymnasium.make_vec("vlatency.envs:vlatency/Pick-v0", 2, "sync", cameras=("top",))
    alone = [PickEnv(cameras=("top",)) for _ in range(2)]
    together.reset(seed=[3, 4])
    for seed, env in zip((3, 4), alone, strict=True):
        env.reset(seed=seed)
    goal = np.array([0.5, 0.05, 0.2, 0.3, 1.0])
    for _ in range(3):
        observations = together.step(np.tile(goal, (2, 1)))[0]
        states = [env.step(goal)[0]["agent_pos"] for env in alone]
        np.testing.assert_array_equal(observations["agent_pos"], states)
    together.close()


def test_check_env_is_silent_without_a_screen_but_for_unbounded_readings(
    monkeypatch: pytest.MonkeyPatch, surprises: Callable[[], list[str]]
) -> None:
    """All render modes that are offered are tried; a window is not among them."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    env = gymnasium.make("vlatency.envs:vlatency/Pick-v0", cameras=("top",))
    check_env(env.unwrapped)
    assert surprises() == []
    assert env.metadata["render_fps"] == 10
    assert env.metadata["render_modes"] == (["rgb_array"] if sys.platform == "linux" else ["rgb_array", "human"])
    env.close()


@pytest.mark.parametrize("copied", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
def test_a_copy_in_the_middle_of_an_episode_has_the_same_future(
    env: PickEnv, copied: Callable[[PickEnv], PickEnv]
) -> None:
    env.reset(seed=3)
    run_expert(env, 9)
    other = copied(env)
    for each in (env, other):
        run_expert(each, 6)
    assert other.trajectory_hash == env.trajectory_hash
    np.testing.assert_array_equal(other.capture(("top",))["top"], env.capture(("top",))["top"])
    for each in (env, other):
        each.reset()
    assert other.script == env.script
    other.close()


def test_a_new_environment_can_be_pickled() -> None:
    first = PickEnv("static", cameras=("top",))
    second = pickle.loads(pickle.dumps(first))
    assert second.reset(seed=5)[0]["pixels"]["top"].mean() == first.reset(seed=5)[0]["pixels"]["top"].mean()
    first.close()
    second.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda env: env.step([0.5, 0, 0.2, 0, 0]),
        lambda env: env.command([0.5, 0, 0.2, 0, 0]),
        lambda env: env.advance_to(PHYSICS_STEP_NS),
        lambda env: env.capture(("top",)),
        lambda env: env.sensors(),
        lambda env: env.get_state(),
        lambda env: env.instruction,
        lambda env: env.subgoals(),
        lambda env: env.render(),
    ],
)
def test_what_needs_an_episode_says_so_before_the_first_one(use: Callable[[PickEnv], object], fresh: PickEnv) -> None:
    with pytest.raises(ResetNeeded, match="reset"):
        use(fresh)


def test_another_thread_is_told_in_one_line_and_costs_the_first_one_nothing() -> None:
    env = PickEnv(cameras=("top",))
    env.reset(seed=1)
    with ThreadPoolExecutor(1) as pool:
        for use in (lambda: env.step([0.5, 0, 0.2, 0, 0]), env.close):
            with pytest.raises(UsageError, match="another thread") as error:
                pool.submit(use).result()
            assert "\n" not in str(error.value)
        own = pool.submit(PickEnv, "static", ("top",)).result()
        assert pool.submit(own.reset, seed=1).result()[0]["pixels"]["top"].shape == (360, 640, 3)
        pool.submit(own.close).result()
    env.step([0.5, 0, 0.2, 0, 0])
    env.close()


def test_a_process_whose_environment_belongs_to_a_thread_ends_silently() -> None:
    code = (
        "import threading; from vlatency.envs.pick import PickEnv; env = PickEnv(cameras=('top',));"
        "thread = threading.Thread(target=env.reset); thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_task_in_the_options_holds_for_that_episode_only() -> None:
    env = PickEnv("static", cameras=("top",))
    for option, task in (("conveyor", "conveyor"), (None, "static"), ("shape", "shape"), (None, "static")):
        env.reset(seed=1, options={"task": option} if option else None)
        assert env.task.name == task
    env.reset(seed=1, options={"task": "conveyor"})
    state = env.get_state()
    env.reset(seed=1)
    env.reset(options={"state": state})
    assert env.task.name == "conveyor"
    with pytest.raises(UsageError, match="not both"):
        env.reset(options={"state": state, "task": "static"})
    env.reset()
    assert env.task.name == "static"
    env.close()


def test_two_environments_with_one_seed_agree_for_fifty_steps() -> None:
    first, second = (PickEnv(cameras=("wrist",)) for _ in range(2))
    rng = np.random.default_rng(0)
    assert isinstance(first.action_space, spaces.Box)
    low, high = first.action_space.low, first.action_space.high
    a, b = first.reset(seed=7)[0], second.reset(seed=7)[0]
    for _ in range(50):
        for key in ("agent_pos",):
            np.testing.assert_array_equal(a[key], b[key])
        np.testing.assert_array_equal(a["pixels"]["wrist"], b["pixels"]["wrist"])
        for key in a["sensors"]:
            np.testing.assert_array_equal(a["sensors"][key], b["sensors"][key])
        action = low + rng.random(5) * (high - low)
        a, b = first.step(action)[0], second.step(action)[0]
    assert first.trajectory_hash == second.trajectory_hash
    first.close()
    second.close()


def test_a_restored_state_has_the_same_future_bit_for_bit(env: PickEnv) -> None:
    env.reset(seed=3)
    run_expert(env, 9)
    env.advance_to(env.now_ns + 7 * PHYSICS_STEP_NS)
    state = env.get_state()
    image, readings = env.capture(("wrist",))["wrist"], env.sensors()
    run_expert(env, 12)
    future = (env.trajectory_hash, env.success_ns, env.now_ns)
    env.reset(seed=99)
    env.reset(options={"state": state})
    np.testing.assert_array_equal(env.capture(("wrist",))["wrist"], image)
    np.testing.assert_array_equal(env.sensors().wrench, readings.wrench)
    run_expert(env, 12)
    assert (env.trajectory_hash, env.success_ns, env.now_ns) == future


def test_success_needs_half_a_second_of_holding_still_in_the_air(env: PickEnv) -> None:
    env.reset(seed=10_000)
    assert not env.success
    assert not any([env.subgoals()["is_grasped"], env.subgoals()["is_lifted"]])
    since = None
    while not env.success and env.now_ns < 5e9:
        env.command(expert(scene_of(env))[0])
        env.advance_to(env.now_ns + PHYSICS_STEP_NS)
        since = (since or env.now_ns) if all(env.subgoals().values()) else None
    assert env.success_ns is not None
    assert since is not None
    assert env.success_ns - since + PHYSICS_STEP_NS == HOLD_NS


def test_an_object_in_the_air_that_is_not_held_is_no_success(env: PickEnv) -> None:
    env.reset(seed=5)
    world = env.arm.world
    joint = world.model.joint("slot0").qposadr[0]
    world.data.qpos[joint + 2] = 0.3
    env.advance_to(PHYSICS_STEP_NS)
    assert env.subgoals()["is_lifted"]
    assert not env.subgoals()["is_grasped"]
    env.advance_to(1_000_000_000)
    assert not env.success


def test_the_expert_picks_ten_of_ten(env: PickEnv) -> None:
    picked = 0
    for seed in range(10_000, 10_010):
        env.reset(seed=seed)
        run_expert(env, 30)
        picked += env.success
    assert picked == 10


@pytest.mark.parametrize("action", [[0.5, 0, 0.2, 0], [np.nan, 0, 0.2, 0, 0], [np.inf, 0, 0.2, 0, 0], "up"])
def test_an_action_that_is_not_five_finite_numbers_is_refused(env: PickEnv, action: Any) -> None:
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"five|5 finite|could not convert"):
        env.step(action)


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        ({"task": "fold"}, "static"),
        ({"cameras": ("elbow",)}, "front"),
        ({"cameras": ()}, "front"),
        ({"control_hz": 0}, "10"),
        ({"control_hz": 33}, "25"),
        ({"render_mode": "ascii"}, "rgb_array"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_valid_ones(arguments: dict[str, Any], valid: str) -> None:
    with pytest.raises(UsageError, match=valid):
        PickEnv(**arguments)


def test_time_does_not_run_backwards(env: PickEnv) -> None:
    env.reset(seed=1)
    env.advance_to(10 * PHYSICS_STEP_NS)
    with pytest.raises(ValueError, match="already"):
        env.advance_to(PHYSICS_STEP_NS)


def test_stepping_in_small_parts_changes_nothing(env: PickEnv) -> None:
    hashes = []
    for parts in (1, 7):
        env.reset(seed=11)
        for _ in range(5):
            env.command([0.5, 0.1, 0.2, 0.3, 0])
            start = env.now_ns
            for part in range(1, parts + 1):
                env.advance_to(start + CHUNK_STEP_NS * part // parts)
        hashes.append(env.trajectory_hash)
    assert hashes[0] == hashes[1]
