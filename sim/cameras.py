"""The cameras as a table, and the renderer that draws what they see."""

import atexit
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim import gl
from vlatency.sim.errors import UsageError
from vlatency.sim.lazy_images import LazyImages
from vlatency.sim.names import CAMERA_ORDER, HEIGHT, WIDTH


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera.

    Attributes:
        body: the body that it is fixed to: "world" or a body of the robot.
        position: in the frame of that body [m].
        target: the point that it looks at, in the same frame [m].
        up: the direction that is up in the image, in the same frame.
        fovy: vertical field of view [degree].
    """

    body: str
    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float]
    fovy: float


CAMERAS: dict[str, CameraSpec] = {
    "top": CameraSpec("world", (0.56, 0.0, 1.10), (0.54, 0.0, 0.0), (-1, 0, 0), 29),
    "wrist": CameraSpec("gripper/base", (0.085, 0.0, -0.01), (-0.005, 0.0, 0.16), (1, 0, 0), 62),
    "front": CameraSpec("world", (1.22, 0.0, 0.48), (0.50, 0.0, 0.08), (0, 0, 1), 31),
    "left": CameraSpec("world", (0.50, 0.86, 0.46), (0.48, 0.0, 0.08), (0, 0, 1), 31),
    "right": CameraSpec("world", (0.50, -0.86, 0.46), (0.48, 0.0, 0.08), (0, 0, 1), 31),
}
"""Keyed by `sim.names.CAMERA_ORDER`, in that order."""


def check_cameras(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        UsageError: There is no name, one is repeated, or one is not in the table.
    """
    for name in names:
        if name not in CAMERAS:
            raise UsageError(f"unknown camera '{name}'; cameras are {', '.join(CAMERA_ORDER)}")
    if not names or len(set(names)) != len(names):
        raise UsageError(f"give one to {len(CAMERA_ORDER)} different cameras of {', '.join(CAMERA_ORDER)}")
    return tuple(names)


def add_cameras(spec: mujoco.MjSpec) -> None:
    """Add every camera of the table to `spec`."""
    for name, camera in CAMERAS.items():
        body = spec.worldbody if camera.body == "world" else spec.body(camera.body)
        body.add_camera(name=name, pos=camera.position, quat=_look_at(camera), fovy=camera.fovy)


def _look_at(camera: CameraSpec) -> NDArray[np.float64]:
    """Quaternion of a MuJoCo camera, which looks along its -z axis, with x to the right and y up."""
    backward = np.subtract(camera.position, camera.target)
    backward /= np.linalg.norm(backward)
    right = np.cross(camera.up, backward)
    right /= np.linalg.norm(right)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.column_stack([right, np.cross(backward, right), backward]).ravel())
    return quat


def project(
    model: mujoco.MjModel, data: mujoco.MjData, camera: str, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Project points of the world into an image.

    Args:
        model: The compiled world.
        data: Its state.
        camera: Name of the camera.
        points: (n, 3) in the frame of the world [m].

    Returns:
        (n, 2) coordinates to the right and down, from 0 to 1 inside the image.
    """
    index = model.camera(camera).id
    local = (points - data.cam_xpos[index]) @ data.cam_xmat[index].reshape(3, 3)
    # A point behind the camera has no image. With a vanishing depth it lands far outside.
    depth = np.maximum(-local[:, 2], 1e-6)
    half_height = np.tan(np.radians(model.cam_fovy[index]) / 2) * depth
    return np.column_stack(
        [0.5 + local[:, 0] / (2 * half_height * WIDTH / HEIGHT), 0.5 - local[:, 1] / (2 * half_height)]
    )


class Renderer(mujoco.Renderer):  # type: ignore[misc]  # mujoco has no types
    """MuJoCo's renderer, safe beside others in the same process and silent when the process ends."""

    _gl_context: Any
    _mjr_context: Any

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._thread = threading.get_ident()
        super().__init__(model, height, width)
        self.option = mujoco.MjvOption()
        self.option.geomgroup[3] = 0
        # The GL library also registers an exit handler. Handlers run in reverse order, so this one runs first.
        atexit.register(_close, weakref.ref(self))

    def close(self) -> None:
        """Free the GL context, in the thread that opened it."""
        if self._gl_context:
            self.make_current()  # MuJoCo frees its buffers in the current context, which may be another renderer's
        super().close()

    def make_current(self) -> None:
        """Draw here from now on. UsageError if another thread has done so: a context serves one."""
        try:
            self._gl_context.make_current()
        except Exception as error:  # EGL, GLFW and OSMesa each raise their own
            if threading.get_ident() == self._thread:
                raise
            raise UsageError(
                "another thread has taken images with these cameras: use and close() the environment in that thread, "
                "or make an environment in each thread"
            ) from error

    def abandon(self) -> None:
        """Leave what another thread has opened to the end of the process."""
        self._gl_context = self._mjr_context = None


def open_renderer(model: mujoco.MjModel, width: int, height: int) -> Renderer:
    """A renderer of images of `width` x `height`. UsageError if OpenGL does not work here."""
    gl.configure()
    try:
        return Renderer(model, height, width)
    except Exception as error:  # EGL, PyOpenGL and MuJoCo each raise their own
        raise gl.open_error(error, os.environ) from error


def _close(renderer: weakref.ref[Renderer]) -> None:
    if (alive := renderer()) is not None:
        try:
            alive.close()
        except UsageError:
            alive.abandon()


class CameraRenderer:
    """Renders the cameras of a world at one image size.

    The first image opens the GL context, which belongs to the thread that asked for it.

    Args:
        model: The compiled world. Its geoms may be repainted and moved between images.
        width: Image width [px].
        height: Image height [px].
    """

    def __init__(self, model: mujoco.MjModel, width: int = WIDTH, height: int = HEIGHT) -> None:
        self._model = model
        self._size = (width, height)
        self._ids = {name: model.camera(name).id for name in CAMERA_ORDER}
        self._renderer: Renderer | None = None
        self._past: mujoco.MjData | None = None
        self._exposed: list[weakref.ref[LazyImages]] = []  # since the model last changed

    def expose(self, data: mujoco.MjData, cameras: Sequence[str]) -> LazyImages:
        """As `render`, but an image is drawn when it is first read, as `data` is now."""
        qpos, ids = data.qpos.copy(), {name: self._ids[name] for name in cameras}
        images = LazyImages(ids, lambda name: self._render_past(qpos, name))
        self._exposed.append(weakref.ref(images))
        return images

    def _render_past(self, qpos: NDArray[np.float64], camera: str) -> NDArray[np.uint8]:
        past = self._past = self._past or mujoco.MjData(self._model)
        past.qpos[:] = qpos
        # All that an image depends on besides the model.
        mujoco.mj_kinematics(self._model, past)
        mujoco.mj_camlight(self._model, past)
        return self.render(past, (camera,))[camera]

    def draw_exposed(self) -> None:
        """Draw what is exposed and still held by somebody. To be called before the model changes."""
        for exposed in self._exposed:
            dict(exposed() or {})
        self._exposed.clear()

    def render(self, data: mujoco.MjData, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        """One uint8 image (height, width, 3) per camera of the state in `data`, whose kinematics must be up to date."""
        renderer = self._renderer or self._open()
        renderer.make_current()
        images: dict[str, NDArray[np.uint8]] = {}
        for name in cameras:
            renderer.update_scene(data, self._ids[name], renderer.option)
            images[name] = renderer.render()
        return images

    def _open(self) -> Renderer:
        self._renderer = open_renderer(self._model, *self._size)
        # Reflections would double the draw calls, and the policy learns nothing from them.
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        return self._renderer

    def close(self) -> None:
        """Free the GL context. The next image opens it again."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_renderer": None, "_past": None, "_exposed": []}
