"""Laws of every task, and what sets each apart."""

from collections.abc import Callable, Iterator

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from vlatency.envs.events import PUSH_NS, Push, Switch
from vlatency.envs.expert import expert, scene_of
from vlatency.envs.pick import PickEnv
from vlatency.envs.script import PUSH_M, draw_script
from vlatency.envs.tasks import TASKS
from vlatency.sim.clock import CHUNK_STEP_NS, NS_PER_S, PHYSICS_STEP_NS
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

STATIC_10000 = [("cube", "blue"), ("cube", "red"), ("cube", "green")]
STATIC_10000_POSE = (0.4561395513614015, -0.14524078578833835, -1.2325748497937712, 1.0757077627705018)
"""What the first version drew: other tasks must not disturb it, policies are compared on these scenes."""
Open = Callable[[str], PickEnv]


@pytest.fixture(scope="module")
def open_env() -> Iterator[Open]:
    envs: dict[str, PickEnv] = {}

    def find(task: str) -> PickEnv:
        if task not in envs:
            envs[task] = PickEnv(task, cameras=("top",))
        return envs[task]

    yield find
    for env in envs.values():
        env.close()


@pytest.fixture(params=TASKS)
def env(request: pytest.FixtureRequest, open_env: Open) -> PickEnv:
    return open_env(request.param)


def begin(env: PickEnv, seed: int) -> PickEnv:
    env.begin(np.random.default_rng(seed), {})
    return env


def follow_expert(env: PickEnv, ticks: int) -> None:
    for _ in range(ticks):
        env.command(expert(scene_of(env))[0])
        env.advance_to(env.now_ns + CHUNK_STEP_NS)


def until_event(env: PickEnv) -> None:
    while env.event_ns is None and not env.done:
        follow_expert(env, 1)


# On every task.


@pytest.mark.gl
def test_check_env_is_silent(env: PickEnv, surprises: Callable[[], list[str]]) -> None:
    check_env(env, skip_render_check=True)
    assert surprises() == []


def test_equal_seeds_have_equal_trajectories_whatever_went_before(env: PickEnv) -> None:
    futures = []
    for before in (1, 2):
        follow_expert(begin(env, before), 3)
        follow_expert(begin(env, 5), 12)
        futures.append((env.trajectory_hash, env.instruction, env.event_ns, env.success_ns))
    assert futures[0] == futures[1]


@pytest.mark.slow
def test_a_state_restored_in_another_world_has_the_same_future_bit_for_bit(env: PickEnv, open_env: Open) -> None:
    begin(env, 8)
    follow_expert(env, 1)
    if env.script.event:
        until_event(env)
    # In the middle of a push, and between two ticks.
    env.advance_to(env.now_ns + 7 * PHYSICS_STEP_NS)
    state, script = env.get_state(), env.script
    follow_expert(env, 24)
    future = (env.trajectory_hash, env.instruction, env.event_ns, env.success_ns)
    other = begin(open_env("static" if env.task.name != "static" else "clutter"), 99)
    name = other.task.name
    other.set_state(state)
    assert (other.script, other.task) == (script, env.task)
    follow_expert(other, 24)
    assert (other.trajectory_hash, other.instruction, other.event_ns, other.success_ns) == future
    other.begin(np.random.default_rng(0), {"task": name})
    assert other.arm.world.arena == TASKS[name].arena


def test_no_episode_begins_with_success(env: PickEnv) -> None:
    begin(env, 4)
    assert not env.success
    assert not env.subgoals()["is_lifted"]
    assert env.event_ns is None


@pytest.mark.slow
def test_the_expert_picks_four_of_four(env: PickEnv) -> None:
    for seed in range(4):
        begin(env, 200 + seed)
        follow_expert(env, 36)
        assert env.success, (env.task.name, seed)


def test_the_script_does_not_depend_on_the_gripper(env: PickEnv) -> None:
    """All that is random is drawn at reset. A gripper that stays away changes nothing of it."""
    begin(env, 6)
    script = env.script
    env.command([0.35, 0.0, 0.45, 0.0, 0.0])
    env.advance_to(NS_PER_S)
    assert env.script == script == draw_script(env.task, np.random.default_rng(6))
    assert env.event_ns is None


# One by one.


def test_static_draws_what_it_always_drew() -> None:
    things = draw_script(TASKS["static"], np.random.default_rng(10_000)).things
    assert [(thing.shape, thing.colour) for thing in things] == STATIC_10000
    assert (things[0].x, things[0].y, things[0].yaw, things[0].scale) == pytest.approx(STATIC_10000_POSE, abs=1e-12)


@pytest.mark.parametrize("task", ["shape", "clutter"])
def test_only_the_shape_tells_the_target_from_two_others_of_its_colour(task: str) -> None:
    for seed in range(50):
        things = draw_script(TASKS[task], np.random.default_rng(seed)).things
        kinds = [(thing.colour, thing.shape) for thing in things]
        assert len(set(kinds)) == len(kinds)
        assert sum(thing.colour == things[0].colour for thing in things[1:]) >= 2
        assert TASKS[task].objects[0] <= len(things) <= TASKS[task].objects[1]


def test_small_cubes_are_20_to_24_mm_wide(open_env: Open) -> None:
    env = open_env("small")
    for seed in range(20):
        begin(env, seed)
        world = env.arm.world
        for slot, thing in enumerate(env.things):
            if thing.shape == "cube":
                assert 0.020 <= 2 * world.model.geom_size[world.geoms[slot], 0] <= 0.024


def sees(env: PickEnv, camera: str) -> bool:
    """Whether a line from the camera to the target's centre, or to a point near it, meets the target first."""
    model, data, world = env.arm.world.model, env.arm.world.data, env.arm.world
    eye = data.cam_xpos[model.camera(camera).id]
    offsets = 0.015 * np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
    hit = np.zeros(1, np.int32)
    for point in world.positions()[0] + offsets:
        mujoco.mj_ray(model, data, eye, point - eye, None, 1, -1, hit)
        if hit[0] == world.geoms[0]:
            return True
    return False


def test_boards_hide_the_target_from_two_or_three_cameras_and_never_from_all(open_env: Open) -> None:
    env = open_env("occluded")
    hidden_from = set()
    for seed in range(60):
        hidden = begin(env, seed).script.scenery.hidden_from
        hidden_from |= set(hidden)
        assert 2 <= len(hidden) <= 3
        assert not any(sees(env, camera) for camera in hidden), (seed, hidden)
        assert any(sees(env, camera) for camera in CAMERA_ORDER if camera not in ("wrist", *hidden)), (seed, hidden)
    assert hidden_from == {"top", "front", "left", "right"}


@pytest.mark.gl
def test_no_board_is_left_over_from_the_episode_before(open_env: Open) -> None:
    env = begin(open_env("occluded"), 0)
    images = []
    for before in (1, 2):
        begin(env, before)
        images.append(begin(env, 3).capture(("left",))["left"])
    np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize("task", ["conveyor", "turntable"])
def test_objects_move_as_fast_as_the_surface(task: str, open_env: Open) -> None:
    for seed in range(5):
        env = begin(open_env(task), seed)
        world = env.arm.world
        carried = world.surface_velocity(world.positions())[:, :3]
        start = world.positions()
        env.advance_to(NS_PER_S // 2)
        moved = np.linalg.norm(world.positions() - start, axis=1)
        np.testing.assert_allclose(moved, 0.5 * np.linalg.norm(carried, axis=1), atol=1e-3)
        assert TASKS[task].speed[0] <= abs(env.script.scenery.speed) <= TASKS[task].speed[1]


def test_a_fixed_speed_changes_nothing_else(open_env: Open) -> None:
    scripts = [draw_script(TASKS["conveyor"], np.random.default_rng(3), speed) for speed in (0.05, 0.2)]
    assert [abs(script.scenery.speed) for script in scripts] == [0.05, 0.2]
    assert scripts[0].scenery.speed * scripts[1].scenery.speed > 0
    for one, two in zip(scripts[0].things, scripts[1].things, strict=True):
        assert (one.shape, one.colour, one.x, one.yaw, one.scale) == (two.shape, two.colour, two.x, two.yaw, two.scale)


def test_a_push_moves_only_the_target_by_5_to_12_cm_while_the_gripper_approaches(open_env: Open) -> None:
    env = open_env("disturbed")
    for seed in range(6):
        begin(env, seed)
        push, start = env.script.event, env.arm.world.positions()
        assert isinstance(push, Push)
        assert PUSH_M[0] <= push.distance_m <= PUSH_M[1]
        until_event(env)
        assert env.event_ns is not None
        # The hand backs off, so that the push alone moves what moves.
        env.command([0.35, 0.0, 0.45, 0.0, 0.0])
        env.advance_to(env.event_ns + PUSH_NS + NS_PER_S // 2)
        moved = np.linalg.norm(env.arm.world.positions() - start, axis=1)
        assert moved[0] == pytest.approx(push.distance_m, abs=0.006)
        assert moved[1:].max() < 1e-3
        assert np.linalg.norm(env.arm.world.velocities()[0]) < 0.01
        assert not env.arm.world.data.xfrc_applied.any()


def test_the_instruction_changes_once_and_only_the_new_target_counts(open_env: Open) -> None:
    env = begin(open_env("switched"), 12)
    first, switch = env.instruction, env.script.event
    assert isinstance(switch, Switch)
    until_event(env)
    assert env.instruction != first
    assert env.target_index == switch.to != 0
    second = env.instruction
    while env.now_ns < 4 * NS_PER_S:
        env.command(expert(scene_of(env, 0))[0])
        env.advance_to(env.now_ns + CHUNK_STEP_NS)
    assert env.lifted(0)
    assert not env.success
    assert env.instruction == second


@pytest.mark.parametrize(
    ("task", "speed", "says"),
    [("static", 0.1, "conveyor, turntable"), ("conveyor", 0.9, "0 to 0.5 m/s"), ("conveyor", -0.1, "0 to 0.5 m/s")],
)
def test_a_speed_that_a_task_cannot_have_is_refused(task: str, speed: float, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        PickEnv(task, speed=speed)


@pytest.mark.gl
def test_reset_changes_the_task_and_with_it_the_world() -> None:
    env = gymnasium.make("vlatency.envs:vlatency/Pick-v0", cameras=("top",)).unwrapped
    assert isinstance(env, PickEnv)
    for task in ("clutter", "turntable", "static"):
        env.reset(seed=1, options={"task": task})
        assert env.task.name == task
        assert env.arm.world.arena == TASKS[task].arena
    env.close()
