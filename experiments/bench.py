"""What five camera views cost beyond MuJoCo's own drawing: a ratio within one run, so that the machine cancels."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from experiments import cli

TARGET = 1.15


@dataclass(frozen=True)
class Args:
    """Time five 640x360 views against raw mjr_render + mjr_readPixels of the same scene."""

    rounds: int = 40
    """How often each is timed, in turns; medians are compared."""


def main(args: Args) -> None:
    """Print both times and their ratio."""
    from experiments.setting import check_range

    check_range("rounds", args.rounds, 1)
    ours, raw, renderer = _measure(args.rounds)
    ratio = ours / raw
    print(f"five 640x360 views, median of {args.rounds} rounds, GL {renderer}")
    print(f"  cameras                        {1e3 * ours:7.2f} ms")
    print(f"  mjr_render + mjr_readPixels    {1e3 * raw:7.2f} ms")
    print(f"  ratio {ratio:.3f}, target at most {TARGET}: {'met' if ratio <= TARGET else 'MISSED'}")
    if ratio > TARGET:
        raise cli.RunError(f"five views cost {ratio:.3f} times the raw drawing, more than {TARGET}")


def _measure(rounds: int) -> tuple[float, float, str]:
    """Median seconds of our five views and of the raw ones, and who drew them."""
    from sim import gl

    gl.configure()
    import mujoco
    import numpy as np

    from sim.cameras import CAMERA_ORDER, HEIGHT, WIDTH
    from sim.plant import ArmPlant
    from sim.world import COLOURS, Thing

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
    cli.run(main, Args)
