"""Speed, held against targets. Each figure is a ratio measured side by side in one run, so that the machine cancels."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlatency.experiments.shared import command

if TYPE_CHECKING:
    from vlatency.experiments.evaluation.episodes import Job
    from vlatency.experiments.parallel.processes import Workers

PEER_EPISODES = 4
"""Of the peers' loop: it paces itself by control steps, of which even few are many."""


@dataclass(frozen=True)
class Args:
    """Measure what drawing, the clock and a second worker cost or gain, in one run of a few minutes.

    Beside another load the ratios of one process hold, those of two workers do not.
    """

    rounds: int = 40
    """How often our drawing and MuJoCo's are timed, in turns; medians are compared."""
    episodes: int = 20
    """Episodes by which the clock and the workers are timed: static, async, three views at 224x224."""


@dataclass(frozen=True)
class Goal:
    """One figure and what is asked of it.

    Attributes:
        what: is measured.
        value: the ratio.
        least, most: its target, one of them; none for a figure that only explains another.
        detail: what the ratio is made of.
    """

    what: str
    value: float
    least: float | None = None
    most: float | None = None
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether the figure is on the right side of its target."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def __str__(self) -> str:
        if self.least is None and self.most is None:
            verdict = ""
        else:
            bound = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
            verdict = f"{bound}: {'met' if self.met else 'MISSED'}"
        return f"{self.what:<60}{self.value:8.4g}   {verdict:<24}{self.detail}".rstrip()


def main(args: Args) -> None:
    """Measure and print each figure. RunError if a target is missed."""
    from vlatency.experiments.parallel.processes import Workers
    from vlatency.experiments.shared import provenance

    command.check_range("rounds", args.rounds, 1)
    command.check_range("episodes", args.episodes, 2)
    load = f", load {os.getloadavg()[0]:.1f} before the start" if hasattr(os, "getloadavg") else ""
    print(f"{provenance.cores()} cores{load}", flush=True)
    goals = []

    def tell(goal: Goal) -> None:
        print(goal, flush=True)
        goals.append(goal)

    jobs = _jobs(args.episodes)
    with Workers(1) as one, Workers(2) as two, Workers(1) as peer:
        tell(one.call(drawing, args.rounds))
        tell(one.call(clock, jobs))
        alone_h, both_h = _episodes_per_hour(one, jobs, 1), _episodes_per_hour(two, jobs, 2)
        tell(Goal("two workers against one", both_h / alone_h, least=1.8,
                  detail=f"{both_h:.0f} against {alone_h:.0f} episodes an hour"))  # fmt: skip
        for goal in peer.call(against_peers, (both_h, jobs[:PEER_EPISODES])):
            tell(goal)
    if missed := [goal.what for goal in goals if not goal.met]:
        raise command.RunError(f"{len(missed)} of {len(goals)} targets missed: {', '.join(missed)}")


def _jobs(episodes: int) -> "list[Job]":
    from vlatency.experiments import run
    from vlatency.experiments.evaluation.episodes import Job

    setting, policy = run.resolve(run.Args(mode="async"))
    return [Job(setting, str(policy), "async", setting.seed + number) for number in range(episodes)]


def _episodes_per_hour(workers: "Workers", jobs: "list[Job]", count: int) -> float:
    from vlatency.experiments.evaluation.episodes import probe, run

    # Every worker opens its world and its policy first: each probe takes seconds, so that no worker gets two.
    list(workers.map(probe, jobs[:count]))
    started = time.perf_counter()
    done = len(list(workers.map(run, jobs)))
    return 3600 * done / (time.perf_counter() - started)


class Timed:
    """Any object, with the time spent in some of its methods added up in `seconds`."""

    def __init__(self, thing: Any, *methods: str) -> None:
        self.seconds = 0.0
        self._thing = thing
        for name in methods:
            setattr(self, name, self._timed(getattr(thing, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            started = time.perf_counter()
            try:
                return method(*args)
            finally:
                self.seconds += time.perf_counter() - started

        return timed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def clock(jobs: "list[Job]") -> Goal:
    """Share of an episode's host time that is neither in the world nor in the policy: events, queue, driver, record."""
    from vlatency.agent.realtime.driver import run_episodes
    from vlatency.experiments.evaluation.episodes import clocked, lay_out, stage

    (env, *_), vla = stage(jobs[0].setting, jobs[0].policy)
    whole_s = own_s = 0.0
    ticks = 0
    for job in jobs:
        lay_out(job, env)
        plant, policy = Timed(env, "advance_to", "capture", "command", "sensors"), Timed(vla, "encode", "act")
        started = time.perf_counter()
        (trace,) = run_episodes([clocked(job, plant)], policy)
        seconds = time.perf_counter() - started
        whole_s, own_s = whole_s + seconds, own_s + seconds - plant.seconds - policy.seconds
        ticks += len(trace.ticks)
    detail = f"{1e6 * own_s / ticks:.0f} us of {1e3 * whole_s / ticks:.1f} ms a control tick"
    return Goal("clock and driver, % of an episode's time", 100 * own_s / whole_s, most=1, detail=detail)


def against_peers(measured: "tuple[float, list[Job]]") -> list[Goal]:
    """Episodes per hour of two workers against the peers' loop on all cores, under MuJoCo's drawing and under ours."""
    from vlatency.experiments.checks import peer_loop

    ours_h, jobs = measured
    pace = peer_loop.measure(jobs)
    named = (("with MuJoCo's drawing", pace.default_step_s, 5.0), ("with our drawing", pace.step_s, None))
    goals = []
    for drawn, step_s, least in named:
        theirs_h = 3600 / (pace.steps * step_s)
        detail = f"{theirs_h:.0f} episodes an hour, {1e3 * step_s:.0f} ms a step, {pace.steps:.0f} steps"
        goals.append(Goal(f"two workers against the peers' loop {drawn}", ours_h / theirs_h, least, detail=detail))
    return goals


def drawing(rounds: int) -> Goal:
    """Five 640x360 views against raw mjr_render + mjr_readPixels of the same scene."""
    ours_s, raw_s, renderer = _measure(rounds)
    detail = f"{1e3 * ours_s:.1f} against {1e3 * raw_s:.1f} ms, GL {renderer}"
    return Goal("five views against MuJoCo's raw drawing", ours_s / raw_s, most=1.15, detail=detail)


def _measure(rounds: int) -> tuple[float, float, str]:
    """Median seconds of our five views and of the raw ones, and who drew them."""
    from vlatency.sim import gl

    gl.configure()
    import mujoco
    import numpy as np

    from vlatency.sim.names import CAMERA_ORDER, HEIGHT, WIDTH
    from vlatency.sim.plant import ArmPlant
    from vlatency.sim.world import COLOURS, Thing

    arm = ArmPlant(control_hz=10)
    places = [(0.42 + 0.12 * (slot % 3), 0.12 * (slot // 3) - 0.06) for slot in range(6)]
    things = [Thing("cube", colour, x, y, 0.0) for colour, (x, y) in zip(COLOURS, places, strict=True)]
    arm.begin(things, np.array([0.45, 0.0, 0.35, 0.0]))
    model, data = arm.world.model, arm.world.data

    arm.eyes.look(data, CAMERA_ORDER)
    renderer = gl.renderer_name()
    option = mujoco.MjvOption()
    option.geomgroup[3] = 0
    scenes = []
    for name in CAMERA_ORDER:
        camera = mujoco.MjvCamera()
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.camera(name).id
        scene = mujoco.MjvScene(model, maxgeom=10_000)
        for flag in (mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_SHADOW):
            scene.flags[flag] = 0
        mujoco.mjv_updateScene(
            model, data, option, mujoco.MjvPerturb(), camera, mujoco.mjtCatBit.mjCAT_ALL.value, scene
        )
        scenes.append(scene)
    own = mujoco.GLContext(WIDTH, HEIGHT)
    own.make_current()
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    view, pixels = mujoco.MjrRect(0, 0, WIDTH, HEIGHT), np.empty((HEIGHT, WIDTH, 3), np.uint8)

    def raw() -> None:
        for scene in scenes:
            mujoco.mjr_render(view, scene, context)
            mujoco.mjr_readPixels(pixels, None, view, context)

    def ours() -> None:
        arm.eyes.look(data, CAMERA_ORDER)

    ours_s, raw_s = [], []
    for _ in range(rounds + 2):
        ours_s.append(_seconds(ours))
        own.make_current()
        raw_s.append(_seconds(raw))
    # The first rounds compile shaders and fill caches.
    return statistics.median(ours_s[2:]), statistics.median(raw_s[2:]), renderer


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    command.run(main, Args)
