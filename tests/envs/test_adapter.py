"""Any Gymnasium environment runs in simulated time."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Every
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.envs.adapter import GymPlant, declared_step_s
from vlatency.envs.mapping import Mapping, parse_mapping
from vlatency.sim import gl
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError

Rule = Callable[[np.ndarray], np.ndarray]


def steer(observation: np.ndarray) -> np.ndarray:
    """A rule for Reacher-v5: turn towards where the target is."""
    return 0.3 * np.tanh(observation[4:6] * 20 - observation[6:8] * 0.1)


def balance(observation: np.ndarray) -> np.ndarray:
    """A rule that keeps InvertedPendulum-v5 upright, if it is asked in time."""
    x, angle, x_rate, angle_rate = observation
    return np.array([0.05 * x + 3.0 * angle + 0.1 * x_rate + 0.4 * angle_rate])


class Ruled:
    """A fake policy: the observation at the exposure is its features."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def encode(self, requests: list[Encode]) -> list[object]:
        observed: list[Any] = [request.readings for request in requests]
        return [each.observation for each in observed]

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        return [np.tile(self.rule(np.asarray(request.features)), (8, 1)) for request in requests]


def single(numbers: Any) -> np.ndarray:
    return np.asarray(numbers, np.float32)


TABLE: dict[str, Any] = {"step_s": 0.05, "time_limit_s": 5.0, "kinds": ["absolute x2"], "success": ["reward >= 2"]}


def mapping(**changes: Any) -> Mapping:
    return parse_mapping({**TABLE, **changes}, "test")


REACHER = mapping(step_s=0.02, time_limit_s=1.0, success=["reward > 0"])
PENDULUM = mapping(step_s=0.04, time_limit_s=40.0, kinds=["absolute"], success=["reward > 1"])


def play(name: str, rule: Rule, mode: Mode, vl_ms: float = 0.0) -> GymPlant:
    means = REACHER if name == "Reacher-v5" else PENDULUM
    plant: Any = GymPlant(gymnasium.make(name), means)
    plant.reset(5)
    timing = Timing(mode, 1e9 / plant.step_ns, FixedLatency(vl_ms, 0), Every(1), actions=means.actions)
    run_episodes([episode(plant, (), timing, np.random.default_rng(0))], Ruled(rule))
    plant.close()
    return plant


@pytest.mark.parametrize(("name", "rule"), [("Reacher-v5", steer), ("InvertedPendulum-v5", balance)])
def test_the_paused_world_is_the_ordinary_loop_bit_for_bit_and_so_is_zero_latency(name: str, rule: Rule) -> None:
    env = gymnasium.make(name)
    observation, _ = env.reset(seed=5)
    total, done, steps = 0.0, False, 0
    while not done:
        action = rule(observation).astype(env.action_space.dtype)
        assert env.action_space.contains(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done, steps = total + float(reward), terminated or truncated, steps + 1
    paused = play(name, rule, "pause")
    assert (paused.total_reward, paused.steps) == (total, steps)
    np.testing.assert_array_equal(paused.sensors().observation, observation)
    for mode in ("sync", "async"):
        assert play(name, rule, mode).trajectory_hash == paused.trajectory_hash


def test_latency_tips_a_pendulum_over_that_stands_without() -> None:
    assert play("InvertedPendulum-v5", balance, "async").steps == 1000
    late = play("InvertedPendulum-v5", balance, "async", vl_ms=300)
    assert late.steps < 100
    assert late.trajectory_hash == play("InvertedPendulum-v5", balance, "async", vl_ms=300).trajectory_hash


def test_time_goes_in_steps_of_the_environment() -> None:
    plant = GymPlant(gymnasium.make("Reacher-v5"), REACHER)
    plant.reset(1)
    assert plant.step_ns == ms_to_ns(20)
    plant.advance_to(1)
    assert plant.now_ns == ms_to_ns(20)
    with pytest.raises(ValueError, match="already"):
        plant.advance_to(0)


@pytest.mark.parametrize("action", [[0.0], [0.0, float("nan")], [[0.0, 0.0]]])
def test_a_bad_action_is_refused(action: list[Any]) -> None:
    with pytest.raises(ValueError, match="an action of this environment is"):
        GymPlant(gymnasium.make("Reacher-v5"), REACHER).command(action)


class Made(gymnasium.Env[Any, Any]):
    """An environment as others make them. It is done at the third step, and its scene depends on `draws`."""

    def __init__(
        self, mode: str | None = None, low: float = -1.0, dt: Any = None, fps: Any = None, draws: str = "seed"
    ) -> None:
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": fps}
        self.render_mode, self.dt, self.draws = mode, dt, draws
        self.action_space = gymnasium.spaces.Box(low, 1.0, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-9, 9, (2,))
        self.taken: list[np.ndarray] = []
        self.resets = self.renders = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.taken = []
        self.resets += 1
        assert seed is not None
        return single({"seed": [seed, 0.5], "nothing": [0, 0], "history": [self.resets, 0]}[self.draws]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken.append(action)
        count = len(self.taken)
        return single([count, 0.5]), 1.0, count >= 50, False, {"distance": 3.0 - count, "won": count == 3}

    def render(self) -> Any:
        self.renders += 1
        return np.zeros((8, 9, 3), np.uint8) if self.render_mode else None


class Skip(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Four steps of the environment a step."""

    def step(self, action: Any) -> Any:
        return [self.env.step(action) for _ in range(4)][-1]


def started(env: gymnasium.Env[Any, Any], **changes: Any) -> GymPlant:
    plant = GymPlant(env, mapping(**changes))
    plant.reset(0)
    return plant


# How long a step takes.


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (Made(fps=80), "render_fps 80 is the rate of a film"),
        (Made(), "give step_s"),
        (Made(fps=0), "give step_s"),
        (Made(dt=0.0), "give step_s"),
        (Made(dt=0.05, fps=80), "0.05 s by dt and 0.0125 s by render_fps 80"),
        (Skip(Made(dt=0.05)), "Skip may make several steps"),
    ],
)
def test_how_long_a_step_takes_is_asked_and_never_guessed(env: Any, says: str) -> None:
    with pytest.raises(UsageError, match="give step_s") as error:
        declared_step_s(env)
    assert says in str(error.value)


def test_a_step_is_what_the_environment_says_through_wrappers_that_keep_it() -> None:
    from gymnasium.wrappers import ClipAction, RecordEpisodeStatistics, RescaleAction, TimeLimit

    env: Any = RecordEpisodeStatistics(
        TimeLimit(ClipAction(RescaleAction(Made(dt=0.05, fps=20), np.float32(-1.0), np.float32(1.0))), 7)
    )
    assert declared_step_s(env) == 0.05


def test_what_the_mapping_says_must_be_what_the_environment_says() -> None:
    for name, value in (("control_hz", 10), ("control_freq", 10.0)):
        env = Made(dt=0.01, fps=10)  # as in PushT, where dt is the physics' own step
        setattr(env, name, value)
        with pytest.raises(UsageError, match=r"0.05 s by the mapping's step_s and 0.1 s by the environment's"):
            GymPlant(env, mapping())
        assert GymPlant(env, mapping(step_s=0.1)).step_ns == ms_to_ns(100)


def test_mujocos_own_clock_finds_a_wrong_step() -> None:
    env = gymnasium.make("Reacher-v5")
    with pytest.raises(UsageError, match=r"0.05 s by the mapping's step_s and 0.02 s by MuJoCo's clock"):
        started(env).advance_to(1)
    with pytest.raises(UsageError, match=r"0.02 s by the mapping's step_s and 0.08 s by MuJoCo's clock"):
        started(Skip(env), step_s=0.02).advance_to(1)
    started(Skip(env), step_s=0.08).advance_to(1)


# Actions.


def test_the_first_action_lies_inside_the_box_and_moves_nothing_as_far_as_is_known() -> None:
    env = Made(low=0.2)
    started(env).advance_to(1)
    np.testing.assert_array_equal(env.taken[0], single([0.2, 0.2]))
    started(env, noop=[0.7, 0.8]).advance_to(1)
    np.testing.assert_array_equal(env.taken[0], single([0.7, 0.8]))
    started(env, start="[:]", kinds=["absolute x2"]).advance_to(1)
    np.testing.assert_array_equal(env.taken[0], single([0.2, 0.5]))
    started(env, start="[1:]", kinds=["delta", "absolute"], hold="zero").advance_to(1)
    np.testing.assert_array_equal(env.taken[0], single([0.2, 0.5]))
    with pytest.raises(UsageError, match="start"):
        started(env, start="[1:]")


def test_a_command_is_the_action_of_every_step_until_the_next() -> None:
    env = Made()
    plant = started(env, success=["reward > 1"])
    plant.command([0.5, 7.0])
    plant.advance_to(3 * plant.step_ns)
    plant.command([0.25, 0.0])
    plant.advance_to(4 * plant.step_ns)
    np.testing.assert_array_equal(env.taken, single([[0.5, 1], [0.5, 1], [0.5, 1], [0.25, 0]]))


# Success and the end.


@pytest.mark.parametrize(
    ("success", "steps"),
    [("won", 3), ("distance <= 1", 2), ("distance < 1", 3), ("reward > 1", 20), ("terminated", 20)],
)
def test_the_first_success_ends_an_episode_and_so_does_the_time_limit(success: str, steps: int) -> None:
    plant = started(Made(), success=[success], time_limit_s=1.0)
    plant.advance_to(10**12)
    assert plant.done
    assert (plant.steps, plant.success) == (steps, steps < 20)
    assert plant.success_ns == (steps * ms_to_ns(50) if steps < 20 else None)


def test_where_a_task_goes_on_what_counts_is_the_end() -> None:
    plant = started(Made(), success=["won"], success_at="end", time_limit_s=1.0)
    plant.advance_to(10**12)
    assert (plant.steps, plant.success) == (20, False)
    plant = started(Made(), success=["distance < 1"], success_at="end", time_limit_s=1.0)
    plant.advance_to(10**12)
    assert (plant.steps, plant.success_ns) == (20, ms_to_ns(150))


def test_without_the_key_that_says_so_nothing_is_a_failure() -> None:
    with pytest.raises(UsageError, match="distance, reward, terminated, won"):
        started(Made(), success=["is_success"]).advance_to(1)
    assert not started(Made(), success=["is_success", "won"]).done


# Scenes.


def test_a_seed_that_gives_another_scene_than_before_is_refused() -> None:
    plant = started(Made(draws="history"))
    with pytest.raises(UsageError, match="seed 0 of this environment gave another scene"):
        plant.reset(0)


def test_two_seeds_that_give_one_scene_are_refused() -> None:
    plant = started(Made(draws="nothing"))
    plant.reset(0)
    with pytest.raises(UsageError, match="seeds 0 and 4 of this environment give the same scene"):
        plant.reset(4)


def test_a_reset_of_ones_own_starts_the_episode() -> None:
    def begin(env: Any, seed: int) -> Any:
        return env.reset(seed=seed + 7)

    plant = GymPlant(Made(), mapping(), begin)
    plant.reset(1)
    assert plant.sensors().observation[0] == 8


def test_scenes_do_not_depend_on_what_happened_before() -> None:
    one, other = (GymPlant(gymnasium.make("Reacher-v5"), REACHER) for _ in range(2))
    scenes = {}
    for seed in (0, 1, 2):
        one.reset(seed)
        scenes[seed] = one.scene
    for seed in (2, 0, 2, 1):
        other.reset(seed)
        other.advance_to(ms_to_ns(100))
        assert other.scene == scenes[seed]


# What is seen and felt.


def test_the_state_is_what_the_mapping_names() -> None:
    plant = started(Made(), state=["[1:]", "[:1]"])
    assert plant.sensors().state.dtype == np.float32
    np.testing.assert_array_equal(plant.sensors().state, [0.5, 0])
    with pytest.raises(UsageError, match="no 'joints'"):
        started(Made(), state=["joints"]).sensors()


def test_a_camera_that_is_not_there_is_found_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match="render_mode='rgb_array'"):
        started(Made(), cameras={"top": {"render": True}})
    with pytest.raises(UsageError, match="no MuJoCo model inside"):
        started(Made(), cameras={"top": {"model": "top"}})
    with pytest.raises(UsageError, match="no 'pixels'"):
        started(Made(), cameras={"top": {"observation": "pixels"}})
    with pytest.raises(UsageError, match="no camera 'eye'"):
        started(gymnasium.make("Reacher-v5"), cameras={"top": {"model": "eye"}}, step_s=0.02)


def test_what_renders_no_image_says_how_it_would() -> None:
    env: Any = gymnasium.wrappers.RenderCollection(Made("rgb_array"))
    plant = started(env, cameras={"top": {"render": True}})
    plant.advance_to(1)
    with pytest.raises(UsageError, match="render_mode='rgb_array'"):
        plant.capture(("top",))


def test_nothing_is_drawn_unless_somebody_looks() -> None:
    env = Made("rgb_array")
    plant = started(env, cameras={"top": {"render": True}}, size=[6, 4])
    plant.advance_to(plant.step_ns)
    plant.capture(())
    assert env.renders == 0
    assert plant.capture(("top",))["top"].shape == (4, 6, 3)
    assert plant.capture(("top",), (9, 8))["top"].shape == (8, 9, 3)
    with pytest.raises(UsageError, match="no camera 'left'; cameras are top"):
        plant.capture(("left",))
    with pytest.raises(UsageError, match="no cameras"):
        started(env).capture(("top",))


def test_an_image_in_the_observation_is_a_view() -> None:
    class Seen(Made):
        def reset(self, **options: Any) -> Any:
            image = np.zeros((4, 4, 3), np.uint8)
            image[0, 0] = 255
            return {"pixels": {"top": image}, "pose": super().reset(**options)[0]}, {}

    cameras = {
        "top": {"observation": "pixels/top"},
        "turned": {"observation": "pixels/top", "flip": "both"},
    }
    plant = started(Seen(), cameras=cameras, size=[4, 4])
    views = plant.capture(("top", "turned"))
    assert views["top"][0, 0, 0] == views["turned"][3, 3, 0] == 255
    assert plant.sensors().state.size == 2
    with pytest.raises(UsageError, match="uint8"):
        started(Seen(), cameras={"pose": {"observation": "pose"}})


def test_the_instruction_is_the_mappings_or_the_environments() -> None:
    env: Any = Made()
    assert started(env).instruction == "Made"
    assert started(env, name="x:y").instruction == "x:y"
    env.task_description = "Push it"
    assert started(env, name="x:y").instruction == "Push it"
    assert started(env, instruction="Pull it").instruction == "Pull it"


def test_an_environment_that_cannot_be_a_plant_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="must be a Box, not Discrete"):
        GymPlant(gymnasium.make("CartPole-v1"), mapping())
    vector: Any = gymnasium.vector.SyncVectorEnv([Made] * 2)
    with pytest.raises(UsageError, match="one environment, not a SyncVectorEnv"):
        GymPlant(vector, mapping())
    with pytest.raises(UsageError, match="has 3 kinds"):
        GymPlant(Made(), mapping(kinds=["absolute x3"]))


@pytest.mark.gl
def test_a_camera_of_the_model_is_drawn_at_any_size_and_changes_nothing() -> None:
    gl.configure()
    above = {"lookat": [0.0, 0.0, 0.0], "distance": 2.0, "azimuth": 90.0, "elevation": -89.0}
    cameras = {"above": {"free": above}, "turned": {"free": above, "flip": "both"}}
    means = mapping(kinds=["absolute x7"], cameras=cameras, success=["reward > 1"])
    looked, blind = (GymPlant(gymnasium.make("Pusher-v5"), means) for _ in range(2))
    for plant in (looked, blind):
        plant.reset(2)
        plant.command(np.ones(7))
    before = looked.capture(("above", "turned"), (64, 48))
    np.testing.assert_array_equal(before["above"], before["turned"][::-1, ::-1])
    for plant in (looked, blind):
        plant.advance_to(ms_to_ns(500))
    after = looked.capture(("above",), (64, 48))["above"]
    assert after.shape == (48, 64, 3)
    assert after.dtype == np.uint8
    assert (before["above"] != after).any()
    assert looked.capture(("above",), (800, 600))["above"].shape == (600, 800, 3)
    for plant in (looked, blind):
        plant.advance_to(ms_to_ns(1000))
    assert looked.trajectory_hash == blind.trajectory_hash
    looked.close()
