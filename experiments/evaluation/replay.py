"""The episodes of a finished run once more, from their seeds, to keep what was seen and done."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.driver import OneStagePolicy, Policy, run_episodes
from vlatency.agent.realtime.trace import EpisodeTrace
from vlatency.experiments.evaluation import episodes
from vlatency.experiments.evaluation.episodes import Job
from vlatency.experiments.evaluation.policies import hash_policy
from vlatency.experiments.evaluation.run_folder import RunFolder
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.recording.lerobot_dataset import RecordedEpisode, png
from vlatency.experiments.recording.sampled_plant import SampledPlant
from vlatency.experiments.shared.command import RunError
from vlatency.sim.clock import hz_to_period_ns, ns_to_s
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER
from vlatency.sim.readings import Readings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from vlatency.sim.plant import Plant


@dataclass(frozen=True)
class Replay:
    """An episode to run once more.

    Attributes:
        job: as it was run.
        trajectory_hash: what it has to be again.
        cameras: whose images to keep.
        size: width and height of these images [px].
    """

    job: Job
    trajectory_hash: str
    cameras: tuple[str, ...]
    size: tuple[int, int]


def replays_of(folder: RunFolder, cameras: tuple[str, ...], size: tuple[int, int] | None) -> list[Replay]:
    """Every episode of a run, in the order of modes and seeds.

    Args:
        folder: of the run.
        cameras: whose images to keep; () keeps those that the policy sees.
        size: of the images to keep; None keeps the size that the policy sees.

    Raises:
        UsageError: the policy or the latency is no longer what it was, or there is no such camera.
    """
    policy = str(folder.config["policy"]["name"])
    found = []
    for recorded in folder.settings:
        setting, guest = _charged(recorded), recorded.guest
        if guest is None and not (Path(policy).is_dir() and hash_policy(Path(policy)) == setting.policy_sha256):
            raise UsageError(f"{policy} is no longer the policy of {folder.path}; its episodes cannot be run again")
        seen = guest or setting.optimization
        views = cameras or seen.cameras
        if (guest is None or not guest.env_sha256) and (unknown := set(views) - set(CAMERA_ORDER)):
            raise UsageError(f"unknown camera '{min(unknown)}'; cameras are {', '.join(CAMERA_ORDER)}")
        pixels = size or (guest.size if guest else (setting.optimization.width, setting.optimization.height))
        for row in folder.rows_of(setting, folder.config["episodes"]):
            found.append(Replay(Job(setting, policy, row["seed"]), row["trajectory_hash"], views, pixels))
    return found


def _charged(recorded: Setting) -> Setting:
    """The setting with a latency that can be drawn from. UsageError if that is another one by now."""
    latency = recorded.timing.latency
    if latency.basis == "live":
        raise UsageError("its clock charged what every answer really took, so its episodes cannot be run again")
    parsed = parse_latency(latency.name, recorded.optimization, latency.factor, recorded.timing.stages)
    setting = replace(recorded, timing=replace(recorded.timing, latency=parsed))
    if setting != recorded:
        raise UsageError(f"the content of the latency {latency.name} has changed; its episodes cannot be run again")
    return setting


def record_episode(replay: Replay) -> RecordedEpisode:
    """Run an episode once more and keep one frame a control tick, from the first tick on that finds an action in force.

    Raises:
        RunError: it is not the episode that it was.
    """
    job, setting = replay.job, replay.job.setting
    with ExitStack() as stack:
        policy: Policy | OneStagePolicy
        if setting.guest:
            worlds = episodes.idle_worlds(setting)
            world = worlds[0] if worlds else episodes.open_world(setting)
            policy = stack.enter_context(episodes.started(job, ""))
        else:
            worlds, policy = episodes.worlds_and_policy(setting, job.policy)
            world = worlds[0]
            policy = episodes.Blindfold(policy) if setting.blackout else policy
        worlds[:] = [world]
        episodes.lay_out(setting, job.seed, world)
        frames = _Frames(replay.cameras, replay.size)
        plant = SampledPlant(world, hz_to_period_ns(setting.timing.control_hz), frames.look, frames.command)
        (trace,) = run_episodes([episodes.in_simulated_time(job, plant)], policy)
    if world.trajectory_hash != replay.trajectory_hash:
        raise RunError(f"{setting.mode}, seed {job.seed}: the episode did not repeat; was it run on another machine?")
    about = {"mode": setting.mode, "seed": job.seed, "trajectory_hash": world.trajectory_hash}
    return frames.recorded(trace, world.success, about)


@dataclass
class _Frames:
    """What was seen at the control ticks, and every action with the time at which it took effect."""

    cameras: Sequence[str]
    size: tuple[int, int]
    images: list[dict[str, bytes]] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    tasks: list[str] = field(default_factory=list)
    commanded_ns: list[int] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)

    def look(self, plant: Plant) -> None:
        """Keep one frame."""
        views = plant.capture(self.cameras)
        self.images.append({name: png(self._resized(view)) for name, view in views.items()})
        felt = plant.sensors()
        state = np.append(felt.ee_pose, felt.gripper_pos) if isinstance(felt, Readings) else felt.state
        self.states.append(state.astype(np.float32))
        self.tasks.append(plant.instruction)

    def _resized(self, view: np.ndarray) -> np.ndarray:
        if view.shape[1::-1] == self.size:
            return view
        return np.asarray(Image.fromarray(view).resize(self.size, Image.Resampling.BILINEAR))

    def command(self, t_ns: int, action: ArrayLike) -> None:
        """Keep one action."""
        self.commanded_ns.append(t_ns)
        self.actions.append(np.asarray(action, np.float32))

    def recorded(self, trace: EpisodeTrace, success: bool, about: dict[str, Any]) -> RecordedEpisode:
        """The frames at which an action was in force, with that action and its times."""
        applied_ns = [command.applied_ns for command in trace.commands]
        ticks = [number for number, tick in enumerate(trace.ticks) if applied_ns and applied_ns[0] <= tick.t_ns]
        actions, clock = [], []
        for number in ticks:
            tick = trace.ticks[number]
            command = trace.commands[bisect_right(applied_ns, tick.t_ns) - 1]
            actions.append(self.actions[bisect_right(self.commanded_ns, tick.t_ns) - 1])
            assert tick.feature_age_ns is not None
            latency_ns = command.applied_ns - command.capture_ns
            clock.append([ns_to_s(t_ns) for t_ns in (tick.t_ns, command.capture_ns, tick.feature_age_ns, latency_ns)])
        return RecordedEpisode(
            images={name: [self.images[number][name] for number in ticks] for name in self.cameras},
            state=np.array([self.states[number] for number in ticks]),
            action=np.array(actions),
            tasks=[self.tasks[number] for number in ticks],
            clock=np.array(clock, np.float32),
            success=success,
            about=about,
        )
