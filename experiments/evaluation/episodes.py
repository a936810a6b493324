"""Episodes: a policy in an environment under a setting, run in a worker process, each recorded as a row."""

import time
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlatency.agent.optimization import Head, Optimization
from vlatency.agent.policies.connection import ServerGone
from vlatency.agent.policies.protocol import PolicySource
from vlatency.agent.policies.source import find_source
from vlatency.agent.realtime.cost.live import LiveLatency
from vlatency.agent.realtime.driver import OneStagePolicy, Policy, run_episodes
from vlatency.agent.realtime.episode import Episode, episode
from vlatency.agent.realtime.requests import Act, Encode, Infer, Request
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.evaluation.feature_ages import HISTOGRAM, USED_HISTOGRAM, histogram
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.scenes import SCENE
from vlatency.experiments.evaluation.setting import Device, Setting
from vlatency.experiments.evaluation.worlds import (
    World,
    filmed_cameras,
    idle_worlds,
    is_pick,
    lay_out,
    open_world,
    opened_worlds,
)
from vlatency.experiments.recording.perfetto import write_chrome_trace
from vlatency.experiments.shared.command import RunError
from vlatency.sim.clock import ns_to_ms, ns_to_s
from vlatency.sim.errors import UsageError
from vlatency.sim.lazy_images import LazyImages

if TYPE_CHECKING:
    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.envs.pick import PickEnv
    from vlatency.sim.plant import Plant

LATENCY_STREAM = 1
"""Latencies are drawn apart from the scene, so that all settings meet the same scenes."""


@dataclass(frozen=True)
class Job:
    """One episode to run.

    Attributes:
        setting: what is evaluated.
        policy: its folder, or the source of a policy of others.
        seed: of this episode.
        video: file to film it to, if any.
        trace: file to write its Chrome trace to, if any.
    """

    setting: Setting
    policy: str
    seed: int
    video: str | None = None
    trace: str | None = None


def worlds_and_policy(setting: Setting, policy: str) -> tuple[list[Any], "VLAPolicy"]:
    """The idle worlds and the policy of this process: opening them costs seconds, an episode only resets its world.

    UsageError for what the user can mend.
    """
    # The worlds come first: what is wrong with one is found long before torch is loaded.
    worlds = opened_worlds(setting)
    return worlds, _load_policy(policy, setting.policy_sha256, setting.optimization, setting.device, setting.head)


@lru_cache(maxsize=1)
def _load_policy(folder: str, sha256: str, optimization: Optimization, device: Device, head: Head) -> "VLAPolicy":
    """By content: a policy whose files have changed is loaded again."""
    import torch

    from vlatency.agent.vla.policy import VLAPolicy

    torch.set_num_threads(1)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no GPU here; leave --device out to run on the CPU")
    return VLAPolicy.from_pretrained(folder, optimization, device, head)


@lru_cache(maxsize=1)
def _source(policy: str, key_map: str) -> PolicySource:
    return find_source(policy, key_map)


def started(job: Job, instruction: str) -> AbstractContextManager[OneStagePolicy]:
    """The policy of others for one episode."""
    setting = job.setting
    assert setting.guest
    task = setting.task.partition(":")[2] if setting.in_foreign_env else setting.task
    source = _source(job.policy, setting.guest.key_map)
    return source.start(task=task, instruction=instruction, width=setting.timing.actions.size)


def run_episode(job: Job) -> Row:
    """The row of one episode, filmed if the job says so. RunError, in one line, if anything breaks."""
    (row,) = run_together((job,))
    return row


def run_together(jobs: Sequence[Job]) -> list[Row]:
    """The rows of episodes that advance together and share forward passes; errors as in `run_episode`.

    Args:
        jobs: of settings that differ in their timing alone.
    """
    setting = jobs[0].setting
    with _one_line_errors(*jobs):
        if setting.guest:
            return [_run_guest(job) for job in jobs]
        worlds, vla = worlds_and_policy(setting, jobs[0].policy)
        return run_episodes([_played(job, worlds) for job in jobs], Blindfold(vla) if setting.blackout else vla)


def _run_guest(job: Job) -> Row:
    """One episode with a policy of others, begun once more if its server went away."""
    setting = job.setting
    assert setting.guest
    worlds, calls = idle_worlds(setting), _source(job.policy, setting.guest.key_map).timings()
    if setting.timing.latency.basis == "live":
        timing = replace(setting.timing, latency=LiveLatency(lambda: calls[-1].ms))
        job = replace(job, setting=replace(setting, timing=timing))
    for last in (False, True):
        try:
            calls.clear()
            with started(job, "") as policy:
                (row,) = run_episodes([_played(job, worlds)], policy)
            if setting.guest.kind != "script":  # a script's time is its host's
                row["calls_ms"] = [round(call.ms, 3) for call in calls]
                row["server_ms"] = [call.server_ms for call in calls]
            return row
        except ServerGone:
            if last:
                raise
    raise AssertionError("unreachable: the second time it returns or raises")


@contextmanager
def _one_line_errors(*jobs: Job) -> Iterator[None]:
    try:
        yield
    except (UsageError, RunError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        who = " or ".join(f"{job.setting.mode}, seed {job.seed}" for job in jobs)
        raise RunError(f"{who}: {type(error).__name__}: {error} ({where})") from error


def _played(job: Job, idle: list[Any]) -> Generator[Request, Any, Row]:
    """The episode of a job in an idle world, or in a new one if none is idle; returns its row."""
    started = time.perf_counter()
    world = idle.pop() if idle else open_world(job.setting)
    try:
        with _one_line_errors(job):
            row = yield from _episode(job, world)
    finally:
        idle.append(world)
    return row | {"wall_s": round(time.perf_counter() - started, 3)}


def _episode(job: Job, world: World) -> Generator[Request, Any, Row]:
    from vlatency.experiments.recording.film import FilmedPlant
    from vlatency.experiments.recording.video import Caption, write_video

    setting = job.setting
    lay_out(setting, job.seed, world)
    plant = FilmedPlant(world, filmed_cameras(setting, world)) if job.video else world
    steps = in_simulated_time(job, plant)
    if is_pick(world):
        watch = _Watch(world)
        trace = yield from watch.over(steps)
        row = _row(job, world, trace) | watch.outcome(setting)
    else:
        trace = yield from steps
        row = _row(job, world, trace) | {SCENE: getattr(world, SCENE)}
    if job.video:
        assert isinstance(plant, FilmedPlant)
        outcome = f"success at {row['time_to_success_s']:.1f} s" if world.success else "failure: out of time"
        write_video(
            Path(job.video),
            plant.film,
            trace,
            Caption(setting.mode, setting.cameras, outcome, world.success, setting.timing.stages),
        )
    if job.trace:
        about = {"mode": setting.mode, "seed": job.seed, "instruction": world.instruction, "success": world.success}
        write_chrome_trace(Path(job.trace), trace, about)
    return row


def in_simulated_time(job: Job, plant: "Plant") -> Episode:
    """The episode of a job, on a plant that stands at its beginning."""
    setting = job.setting
    rng = np.random.default_rng((job.seed, LATENCY_STREAM))
    return episode(plant, setting.cameras, setting.timing, rng)


def _row(job: Job, world: World, trace: EpisodeTrace) -> Row:
    """What episodes.jsonl says of one episode."""
    ages_ms = [ns_to_ms(tick.feature_age_ns) for tick in trace.ticks if tick.feature_age_ns is not None]
    used_ages_ms = [ns_to_ms(age_ns) for age_ns in trace.used_ages_ns]
    return {
        "mode": job.setting.mode,
        "seed": job.seed,
        "instruction": world.instruction,
        "success": world.success,
        "sim_time_s": ns_to_s(trace.end_ns),
        "time_to_success_s": None if world.success_ns is None else ns_to_s(world.success_ns),
        "trajectory_hash": world.trajectory_hash,
        "feature_age_ms_p50": _percentile(ages_ms, 50),
        "feature_age_ms_p95": _percentile(ages_ms, 95),
        HISTOGRAM: histogram(ages_ms),
        "used_feature_age_ms_p50": _percentile(used_ages_ms, 50),
        "used_feature_age_ms_p95": _percentile(used_ages_ms, 95),
        USED_HISTOGRAM: histogram(used_ages_ms),
        "ticks": len(trace.ticks),
        "missed": trace.missed,
        "overruns": trace.overruns,
        "dropped": trace.dropped,
        "encodes": sum(span.name == "encode" for span in trace.spans),
    }


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 3) if values else None


@dataclass
class _Watch:
    """What is measured of an episode at each of its requests, from the true state of the world.

    Attributes:
        env: its world.
        lifted: numbers of the objects that were off the table at any request.
        looks_in_reach: encodes that began while the target was in the workspace.
    """

    env: "PickEnv"
    lifted: set[int] = field(default_factory=set)
    looks_in_reach: int = 0

    def over(self, steps: Episode) -> Episode:
        """The same episode, watched."""
        answer = None
        while True:
            try:
                request = steps.send(answer)
            except StopIteration as end:
                self._note_lifted()
                return end.value
            self._note_lifted()
            self.looks_in_reach += isinstance(request, Encode | Infer) and self.env.in_reach(self.env.target_index)
            answer = yield request

    def outcome(self, setting: Setting) -> dict[str, Any]:
        """What a row says of a pick task beside success; sub-goals and `target_gone` are those at the end."""
        env = self.env
        row = {
            **env.subgoals(),
            "target_gone": not env.in_reach(env.target_index),
            "looks_in_reach": self.looks_in_reach,
        }
        if setting.swap_instruction:
            row |= {"instructed_lifted": env.target_index in self.lifted, "former_target_lifted": 0 in self.lifted}
        return row

    def _note_lifted(self) -> None:
        self.lifted.update(number for number in range(len(self.env.things)) if self.env.lifted(number))


def _black(images: Mapping[str, np.ndarray]) -> LazyImages:
    return LazyImages(images, lambda camera: np.zeros_like(images[camera]))


class Blindfold:
    """A policy that sees black images and is otherwise the same."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def encode(self, requests: list[Encode]) -> Sequence[object]:
        """Features of black images."""
        return self._policy.encode([replace(request, images=_black(request.images)) for request in requests])

    def act(self, requests: list[Act]) -> Sequence[np.ndarray]:
        """The policy's own action."""
        return self._policy.act(requests)
