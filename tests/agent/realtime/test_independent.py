"""The clock agrees with models of it that were written from papers and documentation, on 500 random settings each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from tests.agent.realtime import independent
from tests.agent.realtime.independent import Asked, Record, Setting
from tests.builders.world import FakePlant, Felt, play
from vlatency.agent.realtime.cost.distribution import Lognormal, Samples, Steady
from vlatency.agent.realtime.cost.latency import Constant, ProfileLatency
from vlatency.agent.realtime.execution import Chunk, Ensemble, Execution, Hold, RealTimeChunking, RollForward
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.realtime.reuse import Deadline, Latest, OnEvent, Reuse, Stagger
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.sim.clock import hz_to_period_ns, ms_to_ns
from vlatency.sim.names import CAMERA_ORDER

pytestmark = pytest.mark.slow

SETTINGS = 500
STEP_NS = independent.STEP_NS


class Script:
    """A plant whose readings and instruction are functions of the time; it keeps what is asked of it."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.now_ns, self.record = setting, 0, Record()

    @property
    def done(self) -> bool:
        return self.now_ns >= self.setting.end_ns

    @property
    def instruction(self) -> str:
        return self.setting.say(self.now_ns)

    def advance_to(self, t_ns: int) -> None:
        assert t_ns >= self.now_ns
        self.now_ns = -(-t_ns // STEP_NS) * STEP_NS

    def command(self, action: Any) -> None:
        self.record.commands.append((self.now_ns, np.array(action)))

    def capture(self, cameras: Sequence[str]) -> dict[str, np.ndarray]:
        return dict.fromkeys(cameras, np.zeros((1, 1, 3), np.uint8))

    def sensors(self) -> Any:
        return self.setting.feel(self.now_ns)


class Charges:
    """Latencies of a setting, one job after another; an encode of k of n views takes k/n."""

    def __init__(self, setting: Setting) -> None:
        self.encodes, self.heads = iter(setting.encodes_ns), iter(setting.heads_ns)

    def encode_ns(self, views: int, of: int) -> int:
        return next(self.encodes) * views // of

    def head_ns(self) -> int:
        return next(self.heads)


class Answers:
    """A policy whose features are the exposures, and whose chunks are those of the setting; it keeps the requests."""

    def __init__(self, setting: Setting, record: Record) -> None:
        self.setting, self.record = setting, record

    def encode(self, requests: list[Encode]) -> list[object]:
        (request,) = requests
        before: Any = request.before or {}
        return [before | dict.fromkeys(request.images, request.t_ns)]

    def act(self, requests: list[Act]) -> list[np.ndarray]:
        (request,) = requests
        features: Any = request.features
        looked, felt = tuple(sorted(features.items())), request.readings
        asked = Asked(felt.t_ns, looked, request.age_ns, felt.ee_pose, request.plan, request.frozen)
        self.record.asked.append(asked)
        return [self.setting.chunks[len(self.record.asked) - 1]]


def durations(rng: np.random.Generator, scale_ms: float, count: int) -> list[int]:
    """Some on the grid of control ticks and physics steps, most of them off it; never zero."""
    style = rng.choice(["steady", "round", "any", "any"])
    if style == "steady":
        return [1 + int(rng.integers(ms_to_ns(scale_ms)))] * count
    if style == "round":
        return [ms_to_ns(int(ms)) for ms in rng.integers(1, int(scale_ms / 2) + 2, count) * 2]
    return [1 + int(ns) for ns in rng.integers(ms_to_ns(scale_ms), size=count)]


def world(rng: np.random.Generator, seconds: float, eventful: bool = False) -> tuple[Any, Any]:
    """Readings and instruction as functions of the time."""
    rate = rng.normal(size=4)
    count = int(seconds * 500) + 200
    fingers = np.zeros(count)
    force = np.concatenate([np.zeros((count, 3)), rng.normal(scale=20, size=(count, 3))], 1)  # torques do not count
    switches = set[int]()
    if eventful:
        for at in rng.integers(count, size=rng.integers(4)):
            fingers[at : at + rng.integers(10, 200)] = rng.choice([-1.5, -0.11, -0.1, 0.09, 0.1, 0.5])
        for at in rng.integers(count, size=rng.integers(4)):
            force[at : at + rng.integers(20, 400), :3] += rng.normal(size=3) * rng.choice([3, 8, 20])
        switches = set((rng.integers(count, size=rng.integers(3)) * STEP_NS).tolist())

    history = np.concatenate([np.zeros((50, 6)), force])

    def feel(t_ns: int) -> Felt:
        step = t_ns // STEP_NS
        return Felt(t_ns, 0.0, np.sin(rate * t_ns / 1e9), float(fingers[step]), history[step + 1 : step + 51])

    return feel, lambda t_ns: f"Pick up object {sum(switch <= t_ns for switch in switches)}"


def drawn(rng: np.random.Generator, seconds: float = 1.2, eventful: bool = False) -> tuple[Setting, float]:
    """A random setting and its control rate."""
    control_hz = float(rng.choice([7, 10, 10, 20, 47.3, 50, 100]))
    feel, say = world(rng, seconds, eventful)
    jobs = int(seconds * 500) + 9  # at most one a physics step
    return Setting(
        period_ns=hz_to_period_ns(control_hz),
        end_ns=ms_to_ns(seconds * 1000),
        cameras=tuple(rng.permutation(CAMERA_ORDER)[: rng.integers(1, 6)].tolist()),
        encodes_ns=durations(rng, rng.choice([5, 80, 80, 300, 300, 900]), jobs),
        heads_ns=durations(rng, rng.choice([4, 40, 150, 400]), jobs),
        chunks=list(rng.normal(size=(jobs, rng.integers(1, 11), 5))),
        feel=feel,
        say=say,
        every=int(rng.integers(1, 6)),
        actuation_ns=ms_to_ns(float(rng.choice([0, 0, 5, 150]))),
    ), control_hz


def assert_agreement(setting: Setting, control_hz: float, execution: Execution, reuse: Reuse = Latest()) -> None:
    """Times, views and numbers of rows are equal; set-points and poses to 1e-12, as sums are taken in another order."""
    plant: Any = Script(setting)
    record, expected, end_ns = plant.record, independent.clocked(setting), setting.end_ns
    robot = RobotTiming(actuation_ms=setting.actuation_ns / 1e6)
    policy, charges = Answers(setting, record), Charges(setting)
    timing: dict[str, Any] = {"execution": execution, "robot": robot}
    _, trace = play("async", charges, reuse, control_hz, plant, policy, setting.cameras, **timing)

    encodes = [span for span in trace.spans if span.name == "encode" and span.start_ns < end_ns]
    assert [(span.start_ns, span.views, span.end_ns - span.start_ns) for span in encodes] == expected.looks
    assert all(span.capture_ns == span.start_ns for span in encodes)
    asked = [each for each in record.asked if each.t_ns < end_ns]
    assert [exact(each) for each in asked] == [exact(each) for each in expected.asked]
    assert_close([each.ee_pose for each in asked], [each.ee_pose for each in expected.asked])
    for ours, theirs in zip(asked, expected.asked, strict=True):
        if ours.plan is not None and theirs.plan is not None:
            assert_close(ours.plan, theirs.plan)
    commands = [command for command in record.commands if command[0] < end_ns]
    assert [t_ns for t_ns, _ in commands] == [t_ns for t_ns, _ in expected.commands]
    assert_close([point for _, point in commands], [point for _, point in expected.commands])


def exact(asked: Asked) -> tuple[Any, ...]:
    """What must be equal exactly."""
    return asked.t_ns, asked.looked, asked.age_ns, None if asked.plan is None else len(asked.plan), asked.frozen


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal to 1e-12."""
    ours, theirs = np.array(ours), np.array(theirs)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max(initial=0.0) < 1e-12


# Execution.


def test_the_splice_of_real_time_chunking_is_that_of_the_model() -> None:
    for seed in range(SETTINGS):
        setting, hz = drawn(np.random.default_rng([0, seed]))
        setting = replace(setting, label=independent.from_the_reading, plans=True, one_in_flight=True)
        assert_agreement(setting, hz, RealTimeChunking(setting.every))


def test_temporal_ensembles_are_those_of_the_model() -> None:
    for seed in range(SETTINGS):
        setting, hz = drawn(np.random.default_rng([1, seed]), seconds=1.0)
        assert_agreement(replace(setting, label=independent.from_all), hz, Ensemble(setting.every))


def test_the_end_effector_is_rolled_forward_as_in_the_model() -> None:
    for seed in range(SETTINGS):
        setting, hz = drawn(np.random.default_rng([2, seed]))
        setting = replace(setting, label=independent.from_the_arrival, rolls=True)
        assert_agreement(setting, hz, RollForward(setting.every))


def test_an_ensemble_changes_whenever_one_of_its_chunks_goes_on_or_ends() -> None:
    """The smallest case in which the clock and the model once differed: two chunks read 50 ms apart."""
    rows = np.arange(3.0)[:, None] * np.ones(5)
    chunks = [Chunk(rows, read_ns, read_ns, SETPOINTS, np.zeros(5)) for read_ns in (0, ms_to_ns(50))]
    changes = [50]
    while (next_ns := Ensemble().next_ns(chunks, ms_to_ns(changes[-1]))) is not None:
        changes.append(next_ns // 10**6)
    assert changes == [50, 100, 150, 200, 250, 300]  # at 350 only the last row of the newest is left, and is held


# Reuse.


def test_deadlines_are_met_as_in_the_model() -> None:
    for seed in range(SETTINGS):
        rng = np.random.default_rng([3, seed])
        setting, hz = drawn(rng)
        margin_ms = int(rng.choice([1, 2, 2, 5, 30]))
        setting = replace(setting, next_look=independent.just_in_time(ms_to_ns(margin_ms)), every=1)
        assert_agreement(setting, hz, Hold(), Deadline(margin_ms))


def test_events_are_noticed_as_in_the_model() -> None:
    for seed in range(SETTINGS):
        rng = np.random.default_rng([4, seed])
        setting, hz = drawn(rng, seconds=1.6, eventful=True)
        ticks = int(rng.choice([0, 0, 1, 4, 15])) or None
        following = independent.every(ticks) if ticks else independent.never
        assert_agreement(replace(setting, next_look=following, on_event=True, every=1), hz, Hold(), OnEvent(ticks))


def test_views_take_turns_as_in_the_model() -> None:
    for seed in range(SETTINGS):
        rng = np.random.default_rng([5, seed])
        setting, hz = drawn(rng, seconds=1.0, eventful=True)
        turns = int(rng.integers(1, 7))
        assert_agreement(replace(setting, turns=turns, every=1), hz, Hold(), Stagger(turns))


@pytest.mark.parametrize("control_hz", [5, 7, 10, 20, 50, 100])
def test_a_force_that_jumps_and_stays_is_noticed_whenever_that_is(control_hz: int) -> None:
    """Once the clock compared the two ends of the last 100 ms: at 10 Hz it missed a third of jumps of 12 N."""
    period_ms = 1000 // control_hz

    def felt(now_ms: int, jump_ms: int) -> Any:
        wrench = np.zeros((50, 6))
        wrench[now_ms + 2 * np.arange(-49, 1) >= jump_ms, 2] = 12.0
        return Felt(ms_to_ns(now_ms), 0.0, np.zeros(4), wrench=wrench)

    ticks_ms = range(0, 1000, period_ms)
    for jump_ms in range(400, 602, 2):
        noticed = [
            now_ms
            for before_ms, now_ms in pairwise(ticks_ms)
            if OnEvent().noticed(felt(before_ms, jump_ms), felt(now_ms, jump_ms))
        ]
        assert noticed
        assert jump_ms <= noticed[0] < jump_ms + period_ms + 20


@pytest.mark.parametrize("takes_ms", [1, 98, 99, 100, 101, 199, 381])
@pytest.mark.parametrize("margin_ms", [1, 2, 30, 250])
def test_a_deadline_never_puts_off_what_back_to_back_would_serve(takes_ms: int, margin_ms: int) -> None:
    """The smallest case in which the clock and the model once differed: encodes as long as the control period."""
    start_ms = Deadline(margin_ms).next_start_ns(0, ms_to_ns(takes_ms), ms_to_ns(100)) / 10**6
    assert start_ms >= takes_ms
    assert start_ms + takes_ms <= -(-2 * takes_ms // 100) * 100


def test_a_deadline_gives_features_as_fresh_as_latest_where_the_margin_is_longer_than_the_wait() -> None:
    def mean_age_ms(reuse: Reuse) -> float:
        _, trace = play("async", Constant(101, 0), reuse, plant=FakePlant(seconds=20))
        return float(np.mean([tick.feature_age_ns for tick in trace.ticks if tick.feature_age_ns is not None])) / 1e6

    assert mean_age_ms(Deadline(30)) < mean_age_ms(Latest())


# The sampler of real-time chunking.


def test_guidance_is_that_of_the_model() -> None:
    """To 1e-5: the mask of the clock's side is in single precision, and guidance feeds errors back five times."""
    import torch

    from vlatency.agent.vla.model.flow import guide_of, sample
    from vlatency.agent.vla.model.heads import STEP_SCALE

    for seed in range(SETTINGS):
        rng = np.random.default_rng([6, seed])
        chunk, steps, beta = int(rng.integers(1, 9)), int(rng.integers(1, 6)), float(rng.choice([0, 1, 5, 20]))
        frozen = int(rng.integers(chunk + 1))
        rows = int(rng.integers(max(frozen, 1), chunk + 3))
        plan, pose, size = rng.uniform(-1, 1, (rows, 5)), rng.uniform(-1, 1, 4), chunk * 6
        mixing, shift = rng.normal(size=(size, size)) / size, rng.normal(size=size)
        noise = rng.normal(size=(2, size))

        def velocity(a: np.ndarray, tau: float, mixing: np.ndarray = mixing, shift: np.ndarray = shift) -> np.ndarray:
            return np.tanh(mixing @ a + tau * shift)

        def jacobian(a: np.ndarray, tau: float, mixing: np.ndarray = mixing, shift: np.ndarray = shift) -> np.ndarray:
            return (1 - np.tanh(mixing @ a + tau * shift) ** 2)[:, None] * mixing

        matrix, offset = torch.tensor(mixing.T), torch.tensor(shift)

        def field(
            a: torch.Tensor, tau: float, matrix: torch.Tensor = matrix, offset: torch.Tensor = offset
        ) -> torch.Tensor:
            return torch.tanh(a.flatten(1) @ matrix + tau * offset).view(a.shape)

        guide = guide_of(torch.tensor(plan), frozen, torch.tensor(pose), chunk)
        ours = sample(field, torch.tensor(noise).view(2, chunk, 6), guide, steps, beta).flatten(1).numpy()
        kept = min(rows, chunk)
        target = np.zeros((chunk, 6))
        target[:kept] = independent.relative_chunk(plan[:kept], pose, STEP_SCALE)
        weights = independent.soft_mask(frozen, kept, chunk).repeat(6)
        for row in range(2):
            theirs = independent.guided(velocity, jacobian, noise[row], target.ravel(), weights, steps, beta)
            scale = max(1.0, float(np.abs(theirs).max()))
            assert np.abs(ours[row] - theirs).max() < 1e-5 * scale


# Latencies that were measured.


def slow_spells(rng: np.random.Generator, count: int) -> np.ndarray:
    """Durations [ms] of which each resembles the last: an autoregression with slow spells."""
    noise, level = rng.normal(size=count), 0.0
    durations_ms = []
    for each in noise:
        level = 0.8 * level + each
        durations_ms.append(40 * np.exp(0.3 * level))
    return np.array(durations_ms)


def test_an_episode_replays_measured_latencies_in_their_order_and_with_their_autocorrelation() -> None:
    places: list[tuple[float, float]] = []
    for seed in range(SETTINGS):
        rng = np.random.default_rng([7, seed])
        encodes, heads = slow_spells(rng, int(rng.integers(2, 14))), slow_spells(rng, int(rng.integers(2, 14))) / 4
        before = slow_spells(rng, int(rng.integers(1, 5))) / 8
        cold_ms, factor = float(rng.choice([0, 200])), float(rng.choice([0.5, 1, 1.7]))
        model = ProfileLatency(
            *("mine", "a test", "measured", Samples(tuple(encodes)), Samples(tuple(heads)), 2.0),
            preprocess=Samples(tuple(before)),
            cold_start_ms=cold_ms,
            factor=factor,
        )
        stream = model.stream(np.random.default_rng(rng.integers(2**32)))
        charged: dict[str, list[float]] = {"encode": [], "head": []}
        while min(map(len, charged.values())) < 2 * 13:  # twice round the longest circle
            if rng.random() < 0.5:
                charged["encode"].append(stream.encode_ns(3, 3) / 1e6)
            else:
                charged["head"].append(stream.head_ns() / 1e6)
        warm = np.array(charged["encode"]) - cold_ms * factor * (np.arange(len(charged["encode"])) == 0)
        starts = independent.rotations(warm / factor, encodes, before)
        (head_start,) = independent.rotations(np.array(charged["head"]) / factor, heads)
        assert len(starts) == 1
        places.append(((starts[0][0] + 0.5) / len(encodes), (head_start[0] + 0.5) / len(heads)))

        once = np.array(charged["head"][: len(heads)])
        for lag in range(len(heads)):
            expected = independent.autocorrelation(heads, lag)
            assert independent.autocorrelation(once, lag) == pytest.approx(expected, abs=1e-4)  # rounded to ns

    # Starts are uniform and independent: 4 standard errors.
    first, second = np.array(places).T
    assert max(abs(first.mean() - 0.5), abs(second.mean() - 0.5)) < 4 * np.sqrt(1 / 12 / SETTINGS)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(SETTINGS)


def test_encodes_of_few_views_have_a_circle_of_their_own() -> None:
    for seed in range(SETTINGS):
        rng = np.random.default_rng([8, seed])
        circles = [slow_spells(rng, int(rng.integers(2, 9))) for _ in range(3)]
        one, two, three = (Samples(tuple(circle)) for circle in circles)
        model = ProfileLatency("mine", "a test", "measured", three, Steady(1.0), 2.0, fewer=(one, two))
        stream = model.stream(np.random.default_rng(seed))
        views = rng.integers(1, 4, 60)
        charged = np.array([stream.encode_ns(int(each), 3) / 1e6 for each in views])
        for number, circle in enumerate(circles, start=1):
            assert len(independent.rotations(charged[views == number], circle)) == 1


def test_what_encodes_of_all_views_take_does_not_depend_on_those_of_fewer_between_them() -> None:
    """With quantiles, whose draws use up the stream, as with samples."""
    all_views, fewer = Lognormal(300, 400, 450), Lognormal(100, 140, 160)
    model = ProfileLatency("mine", "a test", "measured", all_views, Steady(1.0), 2.0, fewer=(fewer,))
    mixed, alone = (model.stream(np.random.default_rng(1)) for _ in range(2))
    charged = [mixed.encode_ns(views, 2) for views in (2, 1, 1, 2, 1, 2)]
    assert [charged[0], charged[3], charged[5]] == [alone.encode_ns(2, 2) for _ in range(3)]


def test_draws_from_quantiles_do_not_depend_on_each_other() -> None:
    """Log-normal durations: pooled over the settings, the first three autocorrelations are within 4 standard errors."""
    pooled = []
    for seed in range(SETTINGS):
        rng = np.random.default_rng([9, seed])
        p50, sigma = rng.uniform(5, 500), rng.uniform(0.05, 0.8)
        law = Lognormal(p50, p50 * np.exp(1.6448536 * sigma), p50 * np.exp(2.3263479 * sigma))
        taken = np.array(list(islice(law.draws(np.random.default_rng(rng.integers(2**32))), 60)))
        pooled.append(np.log(taken / p50) / sigma)
    scores = np.array(pooled)
    assert abs(scores.mean()) < 4 / np.sqrt(scores.size)
    assert abs(scores.std() - 1) < 4 / np.sqrt(2 * scores.size)
    for lag in (1, 2, 3):
        products = scores[:, lag:] * scores[:, :-lag]
        assert abs(products.mean()) < 4 / np.sqrt(products.size)
