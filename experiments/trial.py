"""One episode: a policy in an environment under a setting, run in a worker process and told as a row."""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.config import Optimization
from agent.realtime.driver import Policy, run_episodes
from agent.realtime.episode import Episode, episode
from agent.realtime.execution import parse_execution
from agent.realtime.requests import Act, Encode
from agent.realtime.reuse import parse_reuse
from agent.realtime.servers import parse_servers
from agent.realtime.trace import EpisodeTrace
from experiments.ages import HISTOGRAM, histogram
from experiments.cli import RunError
from experiments.perfetto import write_chrome_trace
from experiments.setting import Setting
from experiments.store import Row
from sim.clock import ns_to_ms, ns_to_s
from sim.errors import UsageError

if TYPE_CHECKING:
    from agent.vla.policy import VLAPolicy
    from envs.pick import PickEnv

LATENCY_STREAM, SWAP_STREAM = 1, 2
"""What a setting adds to an episode is drawn apart from its scene, so that all settings meet the same scenes."""


@dataclass(frozen=True)
class Job:
    """One episode to run.

    Attributes:
        setting: of the run.
        policy: its folder.
        mode, seed: of this episode.
        video: file to film it to, if any.
        trace: file to write its Chrome trace to, if any.
    """

    setting: Setting
    policy: str
    mode: str
    seed: int
    video: str | None = None
    trace: str | None = None


@dataclass(frozen=True)
class Facts:
    """What only a worker knows, because it has opened the world and loaded the policy.

    Attributes:
        instruction: of the task, with its {placeholders}.
        camera_px: width and height of a camera image [px].
        gl_renderer: who draws.
        parameters: of the policy.
        stand_in: the policy is the tiny one, not a pretrained Qwen2.5-VL.
    """

    instruction: str
    camera_px: tuple[int, int]
    gl_renderer: str
    parameters: int
    stand_in: bool


def probe(job: Job) -> Facts:
    """Open the world and load the policy as an episode would. UsageError for what the user can mend."""
    env, policy = stage(job.setting, job.policy)
    from agent.vla.config import TINY
    from envs.tasks import instruct
    from sim.cameras import HEIGHT, WIDTH
    from sim.gl import renderer_name
    from sim.world import Thing

    env.reset(seed=job.seed)
    return Facts(
        instruction=instruct(Thing("{shape}", "{colour}", 0.0, 0.0, 0.0)),
        camera_px=(WIDTH, HEIGHT),
        gl_renderer=renderer_name(),
        parameters=sum(tensor.numel() for tensor in policy.model.parameters()),
        stand_in=policy.model.config.backbone == TINY,
    )


def stage(setting: Setting, policy: str) -> tuple["PickEnv", "VLAPolicy"]:
    """The world and the policy of this process: opening them costs seconds, an episode resets them."""
    # The world first: what is wrong with it is found long before torch is loaded.
    world = _world(setting.task, setting.optimization.cameras, setting.control_hz, setting.speed)
    return world, _policy(policy, setting.optimization)


@lru_cache(maxsize=1)
def _world(task: str, cameras: tuple[str, ...], control_hz: float, speed: float | None) -> "PickEnv":
    from sim import gl

    gl.configure()
    from envs.pick import PickEnv

    return PickEnv(task, cameras, control_hz, speed=speed)


@lru_cache(maxsize=1)
def _policy(folder: str, optimization: Optimization) -> "VLAPolicy":
    import torch

    from agent.vla.policy import VLAPolicy

    torch.set_num_threads(1)
    return VLAPolicy.from_pretrained(folder, optimization)


def run(job: Job) -> Row:
    """The row of one episode, filmed if the job says so. RunError, in one line, if anything breaks."""
    try:
        return _run(job)
    except (UsageError, RunError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        raise RunError(f"{job.mode}, seed {job.seed}: {type(error).__name__}: {error} ({where})") from error


def _run(job: Job) -> Row:
    from experiments.film import FilmedPlant
    from experiments.video import Caption, write_video
    from sim.cameras import CAMERA_ORDER

    started = time.perf_counter()
    setting, o = job.setting, job.setting.optimization
    env, vla = stage(setting, job.policy)
    env.reset(seed=job.seed)
    if setting.swap_instruction:
        _swap_target(env, job.seed)
    policy: Policy = Blindfold(vla) if setting.blackout else vla
    latency = setting.latency_model
    stream = latency.stream(np.random.default_rng((job.seed, LATENCY_STREAM)))
    plant = FilmedPlant(env, CAMERA_ORDER) if job.video else env
    lifted: set[int] = set()
    steps = episode(
        plant,
        o.cameras,
        job.mode,
        parse_reuse(setting.reuse),
        stream,
        setting.control_hz,
        parse_execution(setting.execution),
        parse_servers(setting.servers, latency.contention),
        setting.rig,
    )
    (trace,) = run_episodes([_watched(steps, env, lifted)], policy)

    row = _row(job, env, trace)
    if setting.swap_instruction:
        row |= {"instructed_lifted": env.target_index in lifted, "former_target_lifted": 0 in lifted}
    if job.video:
        assert isinstance(plant, FilmedPlant)
        outcome = f"success at {row['time_to_success_s']:.1f} s" if env.success else "failure: out of time"
        caption = Caption(env.instruction, job.mode, o.cameras, outcome, env.success)
        write_video(Path(job.video), plant.film, trace, caption)
    if job.trace:
        about = {"mode": job.mode, "seed": job.seed, "instruction": env.instruction, "success": env.success}
        write_chrome_trace(Path(job.trace), trace, about)
    return row | {"wall_s": round(time.perf_counter() - started, 3)}


def _row(job: Job, env: "PickEnv", trace: EpisodeTrace) -> Row:
    """What episodes.jsonl says of one episode; sub-goals are those at its end."""
    ages_ms = [ns_to_ms(tick.feature_age_ns) for tick in trace.ticks if tick.feature_age_ns is not None]
    return {
        "mode": job.mode,
        "seed": job.seed,
        "instruction": env.instruction,
        "success": env.success,
        **env.subgoals(),
        "sim_time_s": ns_to_s(trace.end_ns),
        "time_to_success_s": None if env.success_ns is None else ns_to_s(env.success_ns),
        "trajectory_hash": env.trajectory_hash,
        "feature_age_ms_p50": _percentile(ages_ms, 50),
        "feature_age_ms_p95": _percentile(ages_ms, 95),
        HISTOGRAM: histogram(ages_ms),
        "ticks": len(trace.ticks),
        "missed": trace.missed,
        "overruns": trace.overruns,
        "dropped": trace.dropped,
        "encodes": sum(span.name == "encode" for span in trace.spans),
    }


def _percentile(values: Sequence[float], percent: float) -> float | None:
    return round(float(np.percentile(values, percent)), 3) if values else None


def _swap_target(env: "PickEnv", seed: int) -> None:
    """Make another object of the same scene the one to be picked, drawn by `seed`."""
    others = len(env.things)
    target = int(np.random.default_rng((seed, SWAP_STREAM)).integers(1, others))
    env.lay_out(env.script, target)


def _watched(steps: Episode, env: "PickEnv", lifted: set[int]) -> Episode:
    """The same episode; `lifted` collects the numbers of the objects that were off the table at any request."""
    answer = None
    while True:
        try:
            request = steps.send(answer)
        except StopIteration as end:
            lifted.update(number for number in range(len(env.things)) if env.lifted(number))
            return end.value
        lifted.update(number for number in range(len(env.things)) if env.lifted(number))
        answer = yield request


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
