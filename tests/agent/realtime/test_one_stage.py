"""Policies of one stage, and actions of any meaning, on the clock."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from tests.agent.realtime.one_stage_model import STEP_NS, Cart, Felt, model, rows_of
from tests.builders.world import NO_LATENCY, Jitter, Streamed
from vlatency.agent.realtime.cost.latency import Constant, LatencyStream
from vlatency.agent.realtime.driver import run_episodes
from vlatency.agent.realtime.episode import episode
from vlatency.agent.realtime.execution import (
    DelayAware,
    Ensemble,
    Execution,
    Hold,
    OpenLoop,
    RealTimeChunking,
    RollForward,
    Switch,
)
from vlatency.agent.realtime.requests import Act, Encode, Infer
from vlatency.agent.realtime.reuse import Every, Latest, Reuse, Stagger
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Shared
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.sim.actions import ActionSpec, Kind
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError

EXECUTIONS: tuple[Execution, ...] = (
    Hold(), OpenLoop(3), OpenLoop(8), Switch(), DelayAware(), Ensemble(), RealTimeChunking()
)  # fmt: skip
DELTA = ActionSpec(("delta", "delta", "absolute"), STEP_NS, "zero", limits=(-1.0, 1.0))
SPECS = {
    "absolute": ActionSpec(("absolute",) * 3, STEP_NS),
    "delta": DELTA,
    "delta, no limits": replace(DELTA, limits=None),
    "delta, repeated": replace(DELTA, hold="repeat"),
    "delta, noop": replace(DELTA, hold="noop", noop=(0.0, 0.0, -1.0)),
    "velocity": ActionSpec(("velocity", "velocity", "absolute"), 4 * STEP_NS, "zero"),
}


@dataclass
class Whole:
    """Answers a look with a chunk."""

    asked: list[Infer] = field(default_factory=list)

    def infer(self, requests: list[Infer]) -> list[np.ndarray]:
        self.asked += requests
        return [rows_of(request.readings) for request in requests]


class InTwo:
    """The same in two stages: the encoder does all the work, and the head passes the chunk on."""

    def encode(self, requests: list[Encode]) -> list[object]:
        return [rows_of(request.readings) for request in requests]

    def act(self, requests: list[Act]) -> list[Any]:
        return [request.features for request in requests]


def play(
    mode: Mode, spec: ActionSpec, latency: LatencyStream = NO_LATENCY, **timing: Any
) -> tuple[Cart, EpisodeTrace, Whole]:
    cart, policy = Cart(), Whole()
    timing = {"control_hz": 1e9 / STEP_NS, "stages": 1, **timing}
    clock = Timing(mode, latency=Streamed(source=latency), actions=spec, **timing)
    (trace,) = run_episodes([episode(cart, ("top",), clock, np.random.default_rng(0))], policy)
    return cart, trace, policy


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
def test_a_paused_world_a_world_without_latency_and_the_plain_loop_are_one(name: str, execution: Execution) -> None:
    spec = SPECS[name]
    paused, *_ = play("pause", spec, execution=execution)
    for mode in ("sync", "async"):
        cart, *_ = play(mode, spec, execution=execution)
        assert np.array_equal(cart.applied, paused.applied)
    if execution == Hold() and spec.row_ns == STEP_NS:
        plain = Cart()
        while not plain.done:
            plain.command(rows_of(plain.sensors())[0])
            plain.advance_to(plain.now_ns + STEP_NS)
        assert np.array_equal(plain.applied, paused.applied)


@pytest.mark.parametrize("seed", range(40))
def test_a_policy_of_one_stage_is_one_of_two_whose_head_takes_no_time_and_passes_the_chunk_on(seed: int) -> None:
    rng = random.Random(seed)
    spec = SPECS[rng.choice(list(SPECS))]
    robot = RobotTiming(camera_delay_ms=rng.choice([0, 7, 30]), actuation_ms=rng.choice([0, 5, 20]))
    given: dict[str, Any] = {"execution": rng.choice([Hold(), OpenLoop(3), OpenLoop(8), Switch()]), "robot": robot}
    one, trace, _ = play("sync", spec, Jitter(seed, 200, 1e-6), **given)
    cart = Cart()
    clock = Timing("sync", 1e9 / STEP_NS, Streamed(source=Jitter(seed, 200, 1e-6)), actions=spec, **given)
    (other,) = run_episodes([episode(cart, ("top",), clock, np.random.default_rng(0))], InTwo())
    assert np.array_equal(one.applied, cart.applied)
    assert trace.spans == other.spans
    assert trace.commands == other.commands


def test_an_answer_is_used_once_and_never_issued_again() -> None:
    cart, trace, policy = play("async", DELTA, Constant(100, 0))
    answered = [span for span in trace.spans if span.name == "encode" and span.end_ns <= trace.end_ns]
    assert sum(command.fresh for command in trace.commands) in (len(answered), len(answered) - 1)
    moving = [action for action in cart.applied if np.any(action[:2])]
    assert len(moving) in (len(answered), len(answered) - 1)  # each for one step
    assert len(policy.asked) == len([span for span in trace.spans if span.name == "encode"])


def test_a_chunk_is_timed_from_its_exposure() -> None:
    cart, _, policy = play("async", SPECS["absolute"], Constant(50, 0), execution=DelayAware())
    first = rows_of(policy.asked[0].readings)
    assert policy.asked[0].t_ns == 0
    assert np.array_equal(cart.applied[4], first[4])


@pytest.mark.parametrize("limits", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("execution", [DelayAware(), Ensemble()], ids=str)
@pytest.mark.parametrize("vl_ms", [13, 25, 50])
def test_relative_rows_that_were_skipped_are_caught_up_with(
    execution: Execution, vl_ms: int, limits: tuple[float, float] | None
) -> None:
    """A plan that is fixed in the world: under any delay that the chunk outlasts the cart is commanded to be on it."""

    def planned(step: int) -> np.ndarray:
        return np.array([0.1 * step, math.sin(step / 9)])

    class Planner(Whole):
        def infer(self, requests: list[Infer]) -> list[np.ndarray]:
            chunks = []
            for request in requests:
                step = request.t_ns // STEP_NS
                here = request.readings.place  # where the commands have led to, which this cart knows
                places = [here, *(planned(step + row) for row in range(1, 9))]
                lead = np.diff(places, axis=0)
                chunks.append(np.column_stack([lead, np.zeros(8)]))
            return chunks

    class Sum(Cart):
        def advance_to(self, t_ns: int) -> None:
            super().advance_to(t_ns)
            self.place = np.sum([self.place * 0, *self.applied], axis=0)

        def sensors(self) -> Any:
            return Felt(self.now_ns, tuple(self.place[:2]))

    cart = Sum()
    clock = Timing(
        "async", 1e9 / STEP_NS, Streamed(source=Constant(vl_ms, 0)), execution=execution, stages=1,
        actions=replace(DELTA, limits=limits),
    )  # fmt: skip
    run_episodes([episode(cart, ("top",), clock, np.random.default_rng(0))], Planner())
    places = np.cumsum(cart.applied, axis=0)[:, :2]
    assert np.allclose(places[10:], [planned(step + 1) for step in range(10, len(places))])


def test_real_time_chunking_gives_a_policy_what_is_left_of_the_chunk_in_force_and_how_much_of_it_is_frozen() -> None:
    _, _, policy = play("async", SPECS["absolute"], Constant(25, 0), execution=RealTimeChunking())
    assert policy.asked[0].plan is None
    second = policy.asked[1]
    assert second.t_ns == ms_to_ns(25)
    assert second.frozen == 2
    assert second.plan is not None
    assert np.allclose(second.plan, rows_of(policy.asked[0].readings)[2:])
    _, _, policy = play("async", SPECS["delta"], Constant(25, 0), execution=RealTimeChunking())
    second = policy.asked[1]
    rows = rows_of(policy.asked[0].readings)
    assert second.plan is not None
    assert np.allclose(second.plan[1:, :2], rows[3:, :2])
    # Nothing was commanded until it arrived: the first row of what is left makes up for the two that were skipped.
    assert np.allclose(second.plan[0, :2], np.clip(rows[:3, :2].sum(0), -1, 1))


def test_what_needs_a_head_of_its_own_is_refused_in_one_line() -> None:
    given: dict[str, dict[str, Any]] = {
        "roll-forward": {"execution": RollForward()},
        "stagger": {"reuse": Stagger()},
        "one server": {"servers": Shared(2.0)},
        "late drop": {"robot": RobotTiming(late="drop")},
    }
    for name, options in given.items():
        with pytest.raises(UsageError, match=name):
            Timing(actions=DELTA, stages=1, **options)
    with pytest.raises(UsageError, match="roll-forward"):
        Timing(actions=DELTA, execution=RollForward())


@pytest.mark.parametrize("part", range(10))
def test_five_hundred_random_settings_act_as_the_model_says(part: int) -> None:
    kinds: set[tuple[str, ...]] = set()
    for seed in range(50 * part, 50 * part + 50):
        rng = random.Random(seed)
        mode: Mode = rng.choice(["sync", "async"])
        name = rng.choice(list(SPECS))
        execution = rng.choice([Hold(), OpenLoop(2), OpenLoop(5), Switch(), DelayAware()])
        reuse: Reuse = Latest() if rng.random() < 0.5 else Every(rng.randint(1, 12))
        robot = RobotTiming(camera_delay_ms=rng.choice([0, 0, 11, 25]), actuation_ms=rng.choice([0, 0, 6, 12.5, 40]))
        scale = rng.choice([5, 40, 150, 500])
        steps = rng.randint(0, 20)

        def charged(seed: int = seed, scale: float = scale, steps: int = steps) -> LatencyStream:
            return Jitter(seed, scale, scale / 4) if steps % 2 else Constant(12.5 * steps, 0)

        cart, _trace, policy = play(mode, SPECS[name], charged(), execution=execution, reuse=reuse, robot=robot)
        applied, exposures = model(mode, SPECS[name], execution, reuse, robot, charged())
        assert [infer.t_ns for infer in policy.asked] == exposures[: len(policy.asked)], seed
        assert np.allclose(cart.applied, applied, atol=1e-9), (seed, mode, name, execution, reuse, robot)
        kinds.add((mode, name, str(execution), type(reuse).__name__))
    assert len(kinds) > 25


# Rotations are rotations.


def test_the_mean_of_two_angles_across_the_seam_lies_on_the_seam() -> None:
    spec = ActionSpec(("absolute",), STEP_NS, rotations=((0,),))
    mean = spec.blend(np.array([[3.1], [-3.1]]), np.array([1.0, 1.0]))
    assert math.cos(mean[0]) == pytest.approx(-1)


@pytest.mark.parametrize("seed", range(20))
def test_what_leads_somewhere_leads_there_however_rotations_are_written(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for rotation in ((3,), (3, 4, 5), (3, 4, 5, 6)):
        delta: Kind = "delta"
        spec = ActionSpec((delta,) * (rotation[-1] + 1), STEP_NS, rotations=(rotation,))
        here, there = (spec.moves(spec.origin, _rows(rng, spec, 5))[-1] for _ in range(2))
        reached = spec.moved(here, spec.toward(here, there))
        assert np.allclose(reached[:3], there[:3])
        assert _same_turn(reached[3:], there[3:])
        assert _same_turn(spec.moved(spec.moved(here, there, 0.25), there, 0.75)[3:], spec.moved(here, there)[3:])


def _rows(rng: np.random.Generator, spec: ActionSpec, count: int) -> np.ndarray:
    rows = rng.normal(0, 0.7, (count, spec.size))
    if spec.size == 7:
        rows[:, 3:] /= np.linalg.norm(rows[:, 3:], axis=1, keepdims=True)
    return rows


def _same_turn(a: np.ndarray, b: np.ndarray) -> bool:
    from scipy.spatial.transform import Rotation

    if a.size == 1:
        return bool(np.isclose(np.cos(a - b), 1)[0])
    made = [Rotation.from_rotvec(x) if x.size == 3 else Rotation.from_quat(np.roll(x, -1)) for x in (a, b)]
    return bool((made[0] * made[1].inv()).magnitude() < 1e-6)


def test_specs_that_contradict_themselves_are_refused_in_one_line() -> None:
    for wrong in (
        {"kinds": ()}, {"kinds": ("sideways",)}, {"row_ns": 0}, {"hold": "freeze"}, {"hold": "noop"}, {"noop": (0.0,)},
        {"rotations": ((0, 0, 1),)}, {"rotations": ((0, 1),)}, {"rotations": ((0, 1, 2),)}, {"rotations": ((7,),)},
        {"kinds": ("absolute",) * 3},
    ):  # fmt: skip
        with pytest.raises(UsageError) as error:
            replace(DELTA, **wrong)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("pair", itertools.combinations(("repeat", "zero", "noop"), 2), ids="-".join)
def test_what_holding_means_changes_what_a_late_policy_does(pair: tuple[Any, Any]) -> None:
    first, second = (
        play("sync", replace(DELTA, hold=hold, noop=(0.0, 0.0, -1.0)), Constant(100, 0))[0].applied for hold in pair
    )
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("seed", range(5))
def test_where_an_answer_has_one_row_sync_and_async_are_the_same(name: str, seed: int) -> None:
    sync, waits, _ = play("sync", SPECS[name], Jitter(seed, 200, 50))
    cart, goes_on, _ = play("async", SPECS[name], Jitter(seed, 200, 50))
    assert np.array_equal(cart.applied, sync.applied)
    assert goes_on.commands == waits.commands
