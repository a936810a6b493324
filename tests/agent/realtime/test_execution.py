"""Laws of execution policies: what becomes of a chunk."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.builders.world import EXECUTIONS, NO_LATENCY, STEP_NS, FakePlant, FakePolicy, Felt, Jitter, Sloping, play
from vlatency.agent.realtime.cost.latency import Constant
from vlatency.agent.realtime.execution import (
    Chunk,
    DelayAware,
    Ensemble,
    Execution,
    Hold,
    OpenLoop,
    RealTimeChunking,
    RollForward,
    Switch,
    parse_execution,
)
from vlatency.agent.realtime.requests import Act
from vlatency.agent.realtime.reuse import Every, Latest, Reuse
from vlatency.agent.realtime.timing import Mode
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.sim.clock import ms_to_ns
from vlatency.sim.errors import UsageError


class Listening(Sloping):
    """The same; it also keeps the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Act] = []

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        self.asked += requests
        return super().act(requests)


class Labelled(FakePolicy):
    """Row i of the n-th chunk is (n, i, 0, 0, 0)."""

    def __init__(self) -> None:
        self.runs = 0
        self.asked: list[Act] = []

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        self.asked += requests
        chunks = []
        for _ in requests:
            chunks.append(np.stack([[self.runs, row, 0.0, 0.0, 0.0] for row in range(8)]))
            self.runs += 1
        return chunks


def labels(head_ms: float, execution: Execution, mode: Mode = "async", **more: Any) -> list[tuple[float, int, int]]:
    """(time [ms], chunk, row) of every command."""
    plant, _ = play(mode, Constant(0, head_ms), Every(1), policy=Labelled(), execution=execution, **more)
    return [(t_ns / 1e6, int(point[0]), int(point[1])) for t_ns, point in plant.commanded]


@pytest.mark.parametrize("control_hz", [10, 50])
@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
@pytest.mark.parametrize(("mode", "reuse"), [("async", Latest()), ("async", Every(1)), ("sync", Latest())])
def test_zero_latency_equals_the_paused_world_bit_for_bit(
    mode: Mode, reuse: Reuse, execution: Execution, control_hz: float
) -> None:
    paused, expected = play("pause", control_hz=control_hz, policy=Sloping(), execution=execution)
    clocked, trace = play(mode, NO_LATENCY, reuse, control_hz, policy=Sloping(), execution=execution)
    assert clocked.trajectory_hash == paused.trajectory_hash
    assert trace.commands == expected.commands


@pytest.mark.parametrize("head_ms", [0, 30, 100])
@pytest.mark.parametrize("execution", [Switch(), DelayAware(), RollForward()], ids=str)
def test_chunks_of_one_row_make_every_execution_hold(execution: Execution, head_ms: float) -> None:
    class Short(FakePolicy):
        def act(self, requests: list[Act]) -> list[np.ndarray]:
            return [chunk[:1] for chunk in super().act(requests)]

    held, _ = play("async", Constant(250, head_ms), policy=Short())
    other, _ = play("async", Constant(250, head_ms), policy=Short(), execution=execution)
    if not isinstance(execution, RollForward):
        assert other.trajectory_hash == held.trajectory_hash
    assert len(other.commanded) == len(held.commanded)


def spliced(d: int, s: int, inferences: int) -> list[tuple[int, int]]:
    """(chunk, row) at every control step: the loop of real-time-chunking-kinetix, `eval_flow.py`, with labels."""
    executed: list[tuple[int, int]] = []
    chunk = [(0, row) for row in range(8)]
    chunk = chunk[s:]  # the first inference: no older chunk to fall back on
    for number in range(1, inferences):
        new = [(number, row) for row in range(8)]
        executed += chunk[:d] + new[d:s]
        chunk = new[s:]
    return executed


SPLICES = pytest.mark.parametrize(("d", "s"), [(0, 1), (0, 4), (1, 1), (1, 3), (2, 2), (2, 4), (3, 3), (3, 5), (4, 4)])


@SPLICES
@pytest.mark.parametrize("execution", [DelayAware, RealTimeChunking])
def test_a_constant_latency_of_d_ticks_gives_the_splice_of_real_time_chunking(
    execution: type[DelayAware], d: int, s: int
) -> None:
    commands = labels(100 * d, execution(s), plant=FakePlant(seconds=4))
    inferences = 40 // s
    expected = {100.0 * (s + step): label for step, label in enumerate(spliced(d, s, inferences))}
    assert {t: (n, row) for t, n, row in commands if t in expected} == expected
    assert all((t / 100).is_integer() for t, _, _ in commands)


@SPLICES
def test_real_time_chunking_gives_the_head_what_is_left_of_the_chunk_in_force(d: int, s: int) -> None:
    policy = Labelled()
    play(
        "async",
        Constant(0, 100 * d),
        Every(1),
        policy=policy,
        execution=RealTimeChunking(s),
        plant=FakePlant(seconds=4),
    )
    first, *others = policy.asked
    assert (first.plan, first.frozen) == (None, 0)
    for number, act in enumerate(others):
        assert act.plan is not None
        assert act.plan[:, 0].tolist() == [number] * (8 - s)
        assert act.plan[:, 1].tolist() == list(range(s, 8))
        assert act.frozen == d


@pytest.mark.parametrize("head_ms", [11.0, 99.7, 130.0, 250.0, 431.0])
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_what_is_frozen_is_what_will_be_in_force(mode: Mode, head_ms: float) -> None:
    """On the 100 ms grid or off it, if the latency is constant."""
    policy = Listening()
    plant, trace = play(
        mode, Constant(40, head_ms), policy=policy, execution=RealTimeChunking(), plant=FakePlant(seconds=4)
    )
    checked = 0
    for act in policy.asked[1:]:
        felt: Any = act.readings
        frozen_ns = [felt.t_ns + row * ms_to_ns(100) for row in range(act.frozen)]
        for row, t_ns in enumerate(frozen_ns):
            assert act.plan is not None
            in_force = [point for applied_ns, point in plant.commanded if applied_ns <= t_ns + STEP_NS]
            following = [point for applied_ns, point in plant.commanded if applied_ns > t_ns + STEP_NS]
            if not following:  # the episode ended before
                continue
            ends = np.stack([in_force[-1], following[0]])
            assert (act.plan[row] >= ends.min(0) - 1e-9).all()
            assert (act.plan[row] <= ends.max(0) + 1e-9).all()
            checked += 1
        assert act.frozen == head_ms // 100
    assert (checked > 0) == (head_ms >= 100)
    assert len(trace.spans) > 4


def test_the_plan_interpolates_linearly_between_set_points_of_the_old_chunk() -> None:
    old = Chunk(np.arange(8.0)[:, None] * np.ones(5), 0, 0, SETPOINTS, np.zeros(5))
    felt: Any = Felt(0, 0.0, np.zeros(4))
    act = Act(None, felt, 0)

    def plan(now_ms: float, delay_ms: float) -> list[float]:
        asked: Any = RealTimeChunking().ask(act, [old], ms_to_ns(now_ms), ms_to_ns(delay_ms), np.zeros(5))
        return asked.plan[:, 0].tolist()

    assert plan(0, 0) == list(range(8))
    assert plan(530, 0) == pytest.approx([5.3, 6.3])
    assert plan(530, 350) == pytest.approx([5.3, 6.3, 7.0])  # held beyond its end
    assert plan(900, 100) == [7.0]
    assert RealTimeChunking().ask(act, [old], ms_to_ns(900), 0, np.zeros(5)) is act
    assert RealTimeChunking().ask(act, [], 0, 0, np.zeros(5)) is act


def test_switch_begins_every_chunk_at_its_first_row_and_carries_out_the_old_one_until_then() -> None:
    commands = labels(250, Switch(), plant=FakePlant(seconds=1.0))
    assert commands == [(250, 0, 0), (350, 0, 1), (450, 0, 2), (550, 1, 0), (650, 1, 1), (750, 1, 2), (850, 2, 0),
                        (950, 2, 1)]  # fmt: skip


def test_open_loop_carries_out_its_actions_and_only_then_runs_the_head() -> None:
    commands = labels(150, OpenLoop(3), plant=FakePlant(seconds=1.2))
    assert commands == [(150, 0, 0), (250, 0, 1), (350, 0, 2), (650, 1, 0), (750, 1, 1), (850, 1, 2), (1150, 2, 0)]


def test_in_sync_mode_open_loop_looks_again_when_its_actions_are_carried_out() -> None:
    plant, trace = play("sync", Constant(200, 50), policy=Labelled(), execution=OpenLoop(2))
    assert [t_ns / 1e6 for t_ns in plant.captured] == [0, 450, 900, 1350, 1800]
    assert [command.applied_ns / 1e6 for command in trace.commands][:4] == [250, 350, 700, 800]


def test_the_last_row_is_held_when_no_chunk_follows() -> None:
    commands = labels(5000, DelayAware(), plant=FakePlant(seconds=9))
    assert commands == [(5000, 0, 7)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("execution", EXECUTIONS, ids=str)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_nothing_takes_effect_early_and_every_fresh_command_is_one_head_run(
    mode: Mode, execution: Execution, seed: int
) -> None:
    plant, trace = play(mode, Jitter(seed), policy=Sloping(), execution=execution, plant=FakePlant(seconds=4))
    assert [command.applied_ns for command in trace.commands] == [t_ns for t_ns, _ in plant.commanded]
    heads = [span for span in trace.spans if span.name == "head"]
    fresh = [command for command in trace.commands if command.fresh]
    for head, command in zip(heads, fresh, strict=False):
        assert command.read_ns == head.start_ns
        assert 0 <= command.applied_ns - head.end_ns < STEP_NS
    assert 0 <= len(heads) - len(fresh) <= 1
    for command in trace.commands:
        assert command.applied_ns >= command.capture_ns + command.vl_ns + command.head_ns


def test_an_ensemble_is_the_weighted_mean_of_what_all_chunks_say_about_now() -> None:
    old = Chunk(np.arange(8.0)[:, None] * np.ones(5), 0, 0, SETPOINTS, np.zeros(5))
    new = Chunk(10 + np.arange(8.0)[:, None] * np.ones(5), ms_to_ns(200), ms_to_ns(200), SETPOINTS, np.zeros(5))
    weights = np.exp([0, -0.01])
    np.testing.assert_allclose(
        Ensemble().action([old, new], ms_to_ns(300), np.zeros(5)), np.full(5, weights @ [3.0, 11.0] / weights.sum())
    )
    assert Ensemble().action([old, new], ms_to_ns(850), np.zeros(5))[0] == 16.0  # nothing is left of the old one
    assert Ensemble().action([old, new], ms_to_ns(5000), np.zeros(5))[0] == 17.0


def test_the_end_effector_is_rolled_forward_along_the_set_points_in_force() -> None:
    chunk = Chunk(np.arange(1.0, 9.0)[:, None] * np.ones(5), 0, 0, SETPOINTS, np.zeros(5))
    felt: Any = Felt(0, 0.0, np.zeros(4))
    act = Act(None, felt, 0)

    def rolled(now_ms: float, head_ms: float) -> float:
        return RollForward().ask(act, [chunk], ms_to_ns(now_ms), ms_to_ns(head_ms), np.zeros(5)).readings.ee_pose[0]

    assert rolled(0, 0) == 0
    assert rolled(0, 50) == 0.5
    assert rolled(0, 100) == 1.0
    assert rolled(50, 100) == pytest.approx(0.5 + 1.5 * 0.5)
    assert RollForward().ask(act, [], 0, 10**9, np.zeros(5)) is act


def test_names_become_policies() -> None:
    assert parse_execution("hold") == Hold()
    assert parse_execution("chunk:4") == OpenLoop(4)
    assert parse_execution("switch") == Switch()
    assert parse_execution("delay-aware:3") == DelayAware(3)
    assert parse_execution("ensemble") == Ensemble()
    assert parse_execution("roll-forward:2") == RollForward(2)
    assert parse_execution("rtc:4") == RealTimeChunking(4)


KINDS = (OpenLoop, Switch, DelayAware, Ensemble, RollForward, RealTimeChunking)


@pytest.mark.parametrize(
    "execution", [*EXECUTIONS, *(kind(number) for kind in KINDS for number in (1, 8, 999))], ids=str
)
def test_the_text_of_a_policy_is_one_that_the_parser_takes(execution: Execution) -> None:
    assert parse_execution(str(execution)) == execution


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_below_one_are_refused(kind: Callable[[int], Execution]) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        kind(0)


@pytest.mark.parametrize(
    "text", ["", "hold:2", "Hold", "chunk:", "chunk:0", "chunk:-1", "switch:1.5", "chunk:" + "9" * 99]
)
def test_anything_else_is_one_line_with_the_valid_values(text: str) -> None:
    with pytest.raises(UsageError, match=r"^.+ hold, chunk, switch, delay-aware, ensemble, roll-forward, rtc, [^\n]+$"):
        parse_execution(text)
