"""Our drawing of five views compared with raw MuJoCo calls on the same scene."""

import statistics
import time
from collections.abc import Callable

import mujoco
import numpy as np
from mujoco.rendering.classic import gl_context

from vlatency.experiments.checks.target import Target
from vlatency.sim import gl
from vlatency.sim.names import CAMERA_ORDER, COLOUR_NAMES, HEIGHT, WIDTH
from vlatency.sim.plant import ArmPlant
from vlatency.sim.world import Thing

WARM_UP = 2
"""The first rounds compile shaders and fill caches."""


def measure_drawing(rounds: int) -> Target:
    """Time five 640x360 views and the raw ones in turns, and compare the medians."""
    gl.configure()
    arm = ArmPlant(control_hz=10)
    places = [(0.42 + 0.12 * (slot % 3), 0.12 * (slot // 3) - 0.06) for slot in range(len(COLOUR_NAMES))]
    things = [Thing("cube", colour, x, y, 0.0) for colour, (x, y) in zip(COLOUR_NAMES, places, strict=True)]
    arm.begin(things, np.array([0.45, 0.0, 0.35, 0.0]))
    data = arm.world.data
    arm.renderer.render(data, CAMERA_ORDER)
    renderer = gl.renderer_name()
    own = gl_context.GLContext(WIDTH, HEIGHT)  # of the back end that gl.configure chose; mujoco.GLContext may not be
    own.make_current()
    raw = _raw_drawing(arm.world.model, data)
    ours_s, raw_s = [], []
    for _ in range(WARM_UP + rounds):
        ours_s.append(_seconds(lambda: arm.renderer.render(data, CAMERA_ORDER)))
        own.make_current()
        raw_s.append(_seconds(raw))
    ours, theirs = statistics.median(ours_s[WARM_UP:]), statistics.median(raw_s[WARM_UP:])
    detail = f"{1e3 * ours:.1f} against {1e3 * theirs:.1f} ms, GL {renderer}"
    return Target("five views against MuJoCo's raw drawing", ours / theirs, most=1.15, detail=detail)


def _raw_drawing(model: mujoco.MjModel, data: mujoco.MjData) -> Callable[[], None]:
    """mjr_render and mjr_readPixels of every camera, in the current GL context."""
    option = mujoco.MjvOption()
    option.geomgroup[3] = 0
    scenes = []
    for name in CAMERA_ORDER:
        camera = mujoco.MjvCamera()
        camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.camera(name).id
        scene = mujoco.MjvScene(model, maxgeom=10_000)
        for flag in (mujoco.mjtRndFlag.mjRND_REFLECTION, mujoco.mjtRndFlag.mjRND_SHADOW):
            scene.flags[flag] = 0
        catmask = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(model, data, option, mujoco.MjvPerturb(), camera, catmask, scene)
        scenes.append(scene)
    context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    view, pixels = mujoco.MjrRect(0, 0, WIDTH, HEIGHT), np.empty((HEIGHT, WIDTH, 3), np.uint8)

    def draw() -> None:
        for scene in scenes:
            mujoco.mjr_render(view, scene, context)
            mujoco.mjr_readPixels(pixels, None, view, context)

    return draw


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
