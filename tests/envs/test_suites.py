"""Other people's environments: laws that hold in every one of them. They run in `.venv-suites` (make test-suites)."""

import importlib.util
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from vlatency.agent.policies.rules import Lift, reach
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.requests import Infer
from vlatency.agent.realtime.reuse import Every
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.assets import FOLDER
from vlatency.envs.adapter import GymPlant
from vlatency.envs.mapping import read_table
from vlatency.envs.suites import open_mapping, open_world
from vlatency.sim.actions import Hold
from vlatency.sim.errors import UsageError

suites = [
    pytest.mark.suites,
    pytest.mark.skipif(not importlib.util.find_spec("metaworld"), reason="make suites installs the environments"),
]
"""Where one of them is installed, all of them must be."""
ONE_OF_EACH = [
    "metaworld:drawer-open-v3",
    "robotics:FetchPush-v4",
    "robotics:HandManipulateEgg-v1",
    "robotics:FrankaKitchen-v1",
    "robotics:AdroitHandPen-v1",
    "pusht",
    "aloha:AlohaTransferCube-v0",
    "robosuite:Lift",
]
Rule = Callable[[Any], Any]


def tasks(suite: str) -> list[str]:
    return [f"{suite}:{task}" for task in read_table(FOLDER / "suites" / f"{suite}.yaml")["tasks"]]


class Told:
    """A policy of one stage: a rule from what was felt at the exposure to an action."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def infer(self, requests: list[Infer]) -> list[np.ndarray]:
        return [np.atleast_2d(self.rule(request.readings.observation)) for request in requests]


def play(plant: GymPlant, rule: Rule, mode: Mode, ms: float = 0.0, hold: Hold | None = None) -> GymPlant:
    spec = open_mapping(plant.mapping.name).actions
    actions = spec if hold is None else type(spec)(spec.kinds, spec.row_ns, hold, spec.noop)
    clock = Timing(mode, 1e9 / plant.step_ns, FixedLatency(ms, 0), Every(1), actions=actions, stages=1)
    run_episodes([episode(plant, (), clock, np.random.default_rng(0))], Told(rule))
    return plant


def wander(plant: GymPlant, steps: int) -> tuple[str, str]:
    """What an episode begins with, and what becomes of it under arbitrary actions."""
    rng = np.random.default_rng(7)
    space: Any = plant.env.action_space
    for _ in range(steps):
        plant.command(rng.uniform(space.low, space.high))
        plant.advance_to(plant.now_ns + 1)
    return plant.scene, plant.trajectory_hash


class SceneLaws:
    def check(self, name: str, steps: int = 20) -> None:
        one, other = open_world(name), open_world(name)
        episodes = {}
        for seed in (0, 1, 2):
            one.reset(seed)
            episodes[seed] = wander(one, steps)
        np.random.seed(5)
        for seed in (2, 0, 2, 1):
            other.reset(seed)
            assert wander(other, steps) == episodes[seed], seed
        assert len({scene for scene, _ in episodes.values()}) == 3
        one.close()
        other.close()


@pytest.mark.parametrize("name", ONE_OF_EACH)
class TestEverySuite(SceneLaws):
    pytestmark = suites

    def test_scenes_and_episodes_follow_from_the_seed_whatever_happened_before(self, name: str) -> None:
        self.check(name)

    def test_paused_is_the_plain_loop_and_so_is_zero_latency(self, name: str) -> None:
        plant = open_world(name)
        space: Any = plant.env.action_space

        def rule(observation: Any) -> Any:
            """Some action that depends on all that is observed, and is another at every step."""
            mix = float(np.sum(np.sin(plant.sensors().state)))
            return space.low + (space.high - space.low) * (0.5 + 0.4 * np.sin(mix + np.arange(space.shape[0])))

        plant.reset(1)
        for _ in range(30):
            plant.command(rule(None))
            plant.advance_to(plant.now_ns + plant.step_ns)
        plain = plant.trajectory_hash
        modes: tuple[Mode, ...] = ("pause", "sync", "async")
        for mode in modes:
            plant.reset(1)
            plant._limit_ns = 30 * plant.step_ns
            assert play(plant, rule, mode).trajectory_hash == plain, mode
        plant.close()

    @pytest.mark.gl
    def test_every_camera_draws_at_any_size_and_changes_nothing(self, name: str) -> None:
        looked, blind = open_world(name, size=(48, 32)), open_world(name)
        for plant in (looked, blind):
            plant.reset(3)
        for _ in range(3):
            views = looked.capture(looked.cameras[: 1 if "Kitchen" in name else None])
            assert {view.shape for view in views.values()} == {(32, 48, 3)}
            assert all(view.std() > 5 for view in views.values())
            for plant in (looked, blind):
                plant.command(np.full(plant.mapping.actions.size, 0.3))
                plant.advance_to(plant.now_ns + 1)
        assert looked.trajectory_hash == blind.trajectory_hash
        looked.close()
        blind.close()


@pytest.mark.parametrize("name", tasks("metaworld"))
class TestAllOfMetaWorld(SceneLaws):
    pytestmark = suites

    def test_scenes_and_episodes_follow_from_the_seed_whatever_happened_before(self, name: str) -> None:
        self.check(name, 5)


@pytest.mark.parametrize("name", [name for name in tasks("robotics") if name not in ONE_OF_EACH])
class TestAllOfRobotics(SceneLaws):
    pytestmark = suites

    def test_scenes_and_episodes_follow_from_the_seed_whatever_happened_before(self, name: str) -> None:
        self.check(name, 5)


class TestOneSuite:
    pytestmark = suites

    def test_metaworlds_scripts_succeed_where_the_world_is_paused(self) -> None:
        from metaworld.policies import ENV_POLICY_MAP

        script = ENV_POLICY_MAP["drawer-open-v3"]()
        plant = open_world("metaworld:drawer-open-v3")
        for seed in range(5):
            plant.reset(seed)
            assert play(plant, lambda each: np.clip(script.get_action(each), -1, 1), "pause").success

    @pytest.mark.parametrize(
        ("hold", "ms", "least", "most"),
        [
            ("repeat", 0, 20, 20),
            ("repeat", 100, 7, 13),
            ("repeat", 300, 0, 3),
            ("zero", 100, 19, 20),
            ("zero", 300, 19, 20),
            ("zero", 600, 17, 20),
        ],
    )
    def test_what_holding_means_decides_as_much_as_latency(self, hold: Hold, ms: float, least: int, most: int) -> None:
        plant = open_world("robotics:FetchReach-v4")
        reached = 0
        for seed in range(20):
            plant.reset(seed)
            reached += play(plant, reach, "sync", ms, hold).success
        assert least <= reached <= most

    def test_a_rule_lifts_robosuites_cube(self) -> None:
        plant = open_world("robosuite:Lift")
        plant.reset(1)
        assert play(plant, Lift(), "sync", 100).success
        plant.close()

    @pytest.mark.parametrize("name", ["aloha:AlohaInsertion-v0", "pusht"])
    def test_before_the_first_command_absolute_actions_stay_where_they_are(self, name: str) -> None:
        plant = open_world(name)
        plant.reset(1)
        before = plant.sensors().state
        plant.advance_to(10 * plant.step_ns)
        moved = np.abs(plant.sensors().state - before) / (512 if name == "pusht" else 1)
        assert moved.max() < 0.2  # the arms of ALOHA sag a little

    def test_a_wrong_step_is_found(self, tmp_path: Path) -> None:
        own = tmp_path / "own.yaml"
        own.write_text("step_s: 0.025\n")
        plant = open_world("metaworld:push-v3", own)
        plant.reset(0)
        with pytest.raises(UsageError, match=r"0.025 s .* 0.0125 s"):
            plant.advance_to(1)
        with pytest.raises(UsageError, match="control_hz"):
            open_world("pusht", own)


# Without their packages.


@pytest.mark.parametrize("name", ["pusht", "aloha:AlohaInsertion-v0"])
def test_a_package_that_is_missing_is_one_line_that_names_make_suites(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"gym_{name.partition(':')[0]}", None)
    with pytest.raises(UsageError, match="make suites") as error:
        open_world(name)
    assert "\n" not in str(error.value)


def test_a_mujoco_that_is_too_new_is_one_line_that_names_make_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mujoco, "__version__", "3.17.0")
    for name in ("metaworld:push-v3", "robotics:FetchReach-v4", "robosuite:Lift"):
        with pytest.raises(UsageError, match=r"only up to 3\.8.*make suites"):
            open_world(name)


class StandIn:
    """What LIBERO's package offers, as far as it is used."""

    n_tasks = 2

    def __init__(self, **options: Any) -> None:
        self.options, self.log = options, [0.0]

    def get_task(self, number: int) -> Any:
        return types.SimpleNamespace(language=f"do {number}")

    def get_task_bddl_file_path(self, number: int) -> str:
        return f"{number}.bddl"

    def get_task_init_states(self, number: int) -> list[float]:
        return [10.0, 20.0, 30.0]

    def seed(self, seed: int) -> None: ...

    def close(self) -> None: ...

    def reset(self) -> None:
        self.log = []

    def set_init_state(self, state: float) -> dict[str, Any]:
        self.log = [state]
        return self.seen()

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, dict[str, Any]]:
        self.log.append(float(action[-1]))
        return self.seen(), 0.0, False, {}

    def check_success(self) -> bool:
        return len(self.log) >= 14

    def seen(self) -> dict[str, Any]:
        image = np.zeros((4, 4, 3), np.uint8)
        image[0, 0] = self.log[0]
        pose = {f"robot0_{part}": np.array([self.log[0]]) for part in ("eef_pos", "eef_quat", "gripper_qpos")}
        return {"agentview_image": image, "robot0_eye_in_hand_image": image, **pose}


def test_libero_starts_from_its_own_initial_states(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in: Any = types.ModuleType("libero.libero")
    stand_in.benchmark = types.SimpleNamespace(get_benchmark_dict=lambda: {"libero_10": StandIn})
    envs: Any = types.ModuleType("libero.libero.envs")
    envs.OffScreenRenderEnv = StandIn
    for name, module in (("libero", types.ModuleType("libero")), ("libero.libero", stand_in), (envs.__name__, envs)):
        monkeypatch.setitem(sys.modules, name, module)
    plant: Any = open_world("libero:libero_10/1", size=(4, 4))
    plant.reset(2)
    assert plant.env.inner.options["bddl_file_name"] == "1.bddl"
    assert plant.env.inner.log == [30.0] + 10 * [-1.0]
    assert plant.instruction == "do 1"
    assert plant.capture(("image",))["image"][3, 3, 0] == 30  # turned by 180 degrees
    plant.advance_to(10**12)
    assert (plant.success, plant.steps) == (True, 3)
    with pytest.raises(UsageError, match="same scene"):
        plant.reset(5)
    for name in ("libero:libero_10", "libero:libero_10/2"):
        with pytest.raises(UsageError, match="libero_10"):
            open_world(name)


def test_libero_is_no_part_of_make_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "libero", None)
    with pytest.raises(UsageError, match="its meshes and textures"):
        open_world("libero:libero_spatial/3")


OWN = """
step_s: 0.02
time_limit_s: 1.0
kinds: [absolute x2]
success: [reward_dist > -0.01]
"""


def test_any_gymnasium_environment_runs_with_a_file_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(OWN)
    plant = open_world("gym:Reacher-v5", own)
    plant.reset(3)
    plant.advance_to(10**12)
    assert (plant.done, plant.success, plant.now_ns) == (True, False, 10**9)
    with pytest.raises(UsageError, match="does not open"):
        open_world("gym:Reacher-v99", own)
    own.write_text(OWN + "make: {size: 3}\n")
    with pytest.raises(UsageError, match="does not open"):
        open_world("gym:Reacher-v5", own)


def test_so_does_a_function_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_world.py").write_text(
        "import gymnasium, yaml\n"
        f"TABLE = yaml.safe_load({OWN!r})\n"
        "def make():\n    return gymnasium.make('Reacher-v5')\n"
        "def both():\n    return make(), TABLE\n"
    )
    (tmp_path / "own.yaml").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != os.getcwd()])
    for plant in (open_world("my_world:make", Path("own.yaml")), open_world("my_world:both")):
        plant.reset(0)
        assert isinstance(plant.env, gymnasium.Env)
        assert plant.step_ns == 20_000_000
    with pytest.raises(UsageError, match="--env-config"):
        open_world("my_world:make")
