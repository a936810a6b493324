"""Episodes: a policy in an environment under a setting, run in a worker process, each recorded as a row."""

import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vlatency.agent.optimization import Head, Optimization, plain
from vlatency.agent.realtime.driver import Policy, run_episodes
from vlatency.agent.realtime.episode import Episode, episode
from vlatency.agent.realtime.requests import Act, Encode, Request
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.evaluation.feature_ages import HISTOGRAM, USED_HISTOGRAM, histogram
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.setting import Device, Setting
from vlatency.experiments.recording.perfetto import write_chrome_trace
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.command import RunError
from vlatency.sim.clock import ns_to_ms, ns_to_s
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.envs.pick import PickEnv
    from vlatency.envs.script import Script
    from vlatency.sim.plant import Plant

LATENCY_STREAM, SWAP_STREAM = 1, 2
"""What a setting adds to an episode is drawn apart from its scene, so that all settings meet the same scenes."""


@dataclass(frozen=True)
class Job:
    """One episode to run.

    Attributes:
        setting: what is evaluated.
        policy: its folder.
        seed: of this episode.
        video: file to film it to, if any.
        trace: file to write its Chrome trace to, if any.
    """

    setting: Setting
    policy: str
    seed: int
    video: str | None = None
    trace: str | None = None


@dataclass(frozen=True)
class Facts:
    """What only a worker knows, because it has opened the world and loaded the policy.

    Attributes:
        instruction: of the task, with its {placeholders}.
        camera_px: width and height of a camera image [px].
        software: of the worker, as of `provenance.software`.
        parameters: of the policy.
        stand_in: the policy is the tiny one, not a pretrained Qwen2.5-VL.
        feature_error: of its first look, against the same policy with nothing approximated; None if nothing is.
    """

    instruction: str
    camera_px: tuple[int, int]
    software: dict[str, Any]
    parameters: int
    stand_in: bool
    feature_error: float | None


def probe(job: Job) -> Facts:
    """Open the world and load the policy as an episode would. UsageError for what the user can mend."""
    (env, *_), policy = worlds_and_policy(job.setting, job.policy)
    from vlatency.agent.vla.model.config import TINY
    from vlatency.envs.tasks import instruct
    from vlatency.sim.gl import renderer_name
    from vlatency.sim.names import HEIGHT, WIDTH
    from vlatency.sim.world import Thing

    env.reset(seed=job.seed)
    return Facts(
        instruction=instruct(Thing("{shape}", "{colour}", 0.0, 0.0, 0.0)),
        camera_px=(WIDTH, HEIGHT),
        software=provenance.software(renderer_name(), _gpu(job.setting.device)),
        parameters=policy.parameters,
        stand_in=policy.model.config.backbone == TINY,
        feature_error=_feature_error(job, policy, env),
    )


def _gpu(device: Device) -> str | None:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else None


def _feature_error(job: Job, policy: "VLAPolicy", env: "PickEnv") -> float | None:
    """Of the first look in `env`."""
    from vlatency.agent.vla.model.features import feature_distance
    from vlatency.agent.vla.policy import VLAPolicy

    optimization = policy.optimization
    if optimization == plain(optimization):
        return None
    reference = VLAPolicy.from_pretrained(job.policy, plain(optimization), job.setting.device)
    look = Encode(env.capture(optimization.cameras), env.instruction, env.sensors())
    return feature_distance(policy.encode([look]), reference.encode([look]))


def worlds_and_policy(setting: Setting, policy: str) -> tuple[list["PickEnv"], "VLAPolicy"]:
    """The idle worlds and the policy of this process: opening them costs seconds, an episode only resets its world.

    UsageError for what the user can mend.
    """
    worlds = _idle_worlds(setting.task, setting.optimization.cameras, setting.timing.control_hz, setting.speed)
    if not worlds:  # before the policy: what is wrong with a world is found long before torch is loaded
        worlds.append(_open_world(setting))
    return worlds, _load_policy(policy, setting.policy_sha256, setting.optimization, setting.device, setting.head)


@lru_cache(maxsize=1)
def _idle_worlds(*configuration: object) -> list["PickEnv"]:
    """The worlds of one configuration; those of another one are forgotten."""
    return []


@lru_cache(maxsize=1)
def _load_policy(folder: str, sha256: str, optimization: Optimization, device: Device, head: Head) -> "VLAPolicy":
    """By content: a policy whose files have changed is loaded again."""
    import torch

    from vlatency.agent.vla.policy import VLAPolicy

    torch.set_num_threads(1)
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no GPU here; leave --device out to run on the CPU")
    return VLAPolicy.from_pretrained(folder, optimization, device, head)


def _open_world(setting: Setting) -> "PickEnv":
    from vlatency.sim import gl

    gl.configure()  # before MuJoCo is imported
    from vlatency.envs.pick import PickEnv

    return PickEnv(setting.task, setting.optimization.cameras, setting.timing.control_hz, speed=setting.speed)


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
        worlds, vla = worlds_and_policy(setting, jobs[0].policy)
        return run_episodes([_played(job, worlds) for job in jobs], Blindfold(vla) if setting.blackout else vla)


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


def _played(job: Job, idle: list["PickEnv"]) -> Generator[Request, Any, Row]:
    """The episode of a job in an idle world, or in a new one if none is idle; returns its row."""
    started = time.perf_counter()
    env = idle.pop() if idle else _open_world(job.setting)
    try:
        with _one_line_errors(job):
            row = yield from _episode(job, env)
    finally:
        idle.append(env)
    return row | {"wall_s": round(time.perf_counter() - started, 3)}


def _episode(job: Job, env: "PickEnv") -> Generator[Request, Any, Row]:
    from vlatency.experiments.recording.film import FilmedPlant
    from vlatency.experiments.recording.video import Caption, write_video
    from vlatency.sim.names import CAMERA_ORDER

    setting = job.setting
    lay_out(job, env)
    plant = FilmedPlant(env, CAMERA_ORDER) if job.video else env
    watch = _Watch(env)
    trace = yield from watch.over(in_simulated_time(job, plant))

    row = _row(job, env, trace) | {"looks_in_reach": watch.looks_in_reach}
    if setting.swap_instruction:
        row |= {"instructed_lifted": env.target_index in watch.lifted, "former_target_lifted": 0 in watch.lifted}
    if job.video:
        assert isinstance(plant, FilmedPlant)
        outcome = f"success at {row['time_to_success_s']:.1f} s" if env.success else "failure: out of time"
        caption = Caption(setting.mode, setting.optimization.cameras, outcome, env.success)
        write_video(Path(job.video), plant.film, trace, caption)
    if job.trace:
        about = {"mode": setting.mode, "seed": job.seed, "instruction": env.instruction, "success": env.success}
        write_chrome_trace(Path(job.trace), trace, about)
    return row


def lay_out(job: Job, env: "PickEnv") -> None:
    """Begin the scene of a job."""
    env.reset(seed=job.seed)
    if job.setting.swap_instruction:
        env.lay_out(env.script, swapped_target(env.script, job.seed))


def in_simulated_time(job: Job, plant: "Plant") -> Episode:
    """The episode of a job, on a plant that stands at its beginning."""
    setting = job.setting
    rng = np.random.default_rng((job.seed, LATENCY_STREAM))
    return episode(plant, setting.optimization.cameras, setting.timing, rng)


def _row(job: Job, env: "PickEnv", trace: EpisodeTrace) -> Row:
    """What episodes.jsonl says of one episode; sub-goals and `target_gone` are those at its end."""
    ages_ms = [ns_to_ms(tick.feature_age_ns) for tick in trace.ticks if tick.feature_age_ns is not None]
    used_ages_ms = [ns_to_ms(age_ns) for age_ns in trace.used_ages_ns]
    return {
        "mode": job.setting.mode,
        "seed": job.seed,
        "instruction": env.instruction,
        "success": env.success,
        **env.subgoals(),
        "target_gone": not env.in_reach(env.target_index),
        "sim_time_s": ns_to_s(trace.end_ns),
        "time_to_success_s": None if env.success_ns is None else ns_to_s(env.success_ns),
        "trajectory_hash": env.trajectory_hash,
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


def swapped_target(script: "Script", seed: int) -> int:
    """Number of another object of the same scene to be named instead of the target, drawn by `seed`.

    Where the instruction is to switch it is not the object that the switch names, or nothing would switch.
    """
    from vlatency.envs.events import Switch

    taken = {0, script.event.to} if isinstance(script.event, Switch) else {0}
    others = [number for number in range(len(script.things)) if number not in taken]
    return others[int(np.random.default_rng((seed, SWAP_STREAM)).integers(len(others)))]


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
            self.looks_in_reach += isinstance(request, Encode) and self.env.in_reach(self.env.target_index)
            answer = yield request

    def _note_lifted(self) -> None:
        self.lifted.update(number for number in range(len(self.env.things)) if self.env.lifted(number))


class Blindfold:
    """A policy that sees black images and is otherwise the same."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def encode(self, requests: list[Encode]) -> Sequence[object]:
        """Features of black images."""
        black = [{name: np.zeros_like(image) for name, image in request.images.items()} for request in requests]
        return self._policy.encode(
            [replace(request, images=images) for request, images in zip(requests, black, strict=True)]
        )

    def act(self, requests: list[Act]) -> Sequence[np.ndarray]:
        """The policy's own action."""
        return self._policy.act(requests)
