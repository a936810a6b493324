"""Five cameras as a table of data, and the renderer that looks through them."""

import atexit
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from vlatency.sim import gl
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, HEIGHT, WIDTH


@dataclass(frozen=True)
class CameraSpec:
    """A pinhole camera.

    Attributes:
        body: body it is fixed to ("world" or a body of the robot).
        position: in that body's frame [m].
        target: point it looks at, same frame [m].
        up: direction that is up in the image, same frame.
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
"""By the names of `sim.names.CAMERA_ORDER`, in that order."""


def check_cameras(names: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        UsageError: no name, a repeated one, or one that is not in the table.
    """
    for name in names:
        if name not in CAMERAS:
            raise UsageError(f"unknown camera '{name}'; cameras are {', '.join(CAMERA_ORDER)}")
    if not names or len(set(names)) != len(names):
        raise UsageError(f"name one to five distinct cameras out of {', '.join(CAMERA_ORDER)}")
    return tuple(names)


def add_cameras(spec: mujoco.MjSpec) -> None:
    """Add every camera of the table to `spec`."""
    for name, camera in CAMERAS.items():
        body = spec.worldbody if camera.body == "world" else spec.body(camera.body)
        body.add_camera(name=name, pos=camera.position, quat=_look_at(camera), fovy=camera.fovy)


def _look_at(camera: CameraSpec) -> NDArray[np.float64]:
    """Quaternion of a MuJoCo camera (looks along -z, x right, y up)."""
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
    """Where `points` (n, 3) [m] appear in the camera's image: (n, 2) right and down, 0 to 1 inside it."""
    index = model.camera(camera).id
    local = (points - data.cam_xpos[index]) @ data.cam_xmat[index].reshape(3, 3)
    # A point behind the camera has no image: divided by a vanishing depth it lands far outside.
    depth = np.maximum(-local[:, 2], 1e-6)
    half_height = np.tan(np.radians(model.cam_fovy[index]) / 2) * depth
    return np.column_stack(
        [0.5 + local[:, 0] / (2 * half_height * WIDTH / HEIGHT), 0.5 - local[:, 1] / (2 * half_height)]
    )


class _Renderer(mujoco.Renderer):  # type: ignore[misc]  # mujoco has no types
    """MuJoCo's, but harmless to others in the same process, and silent when the process ends."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        super().__init__(model, height, width)
        # The GL library takes its leave in the same way; what is registered after it is called before it.
        atexit.register(_close, weakref.ref(self))

    def close(self) -> None:
        # MuJoCo frees its buffers in whichever context is current, and those would be another renderer's.
        if self._gl_context:
            self._gl_context.make_current()
        super().close()


def _close(renderer: weakref.ref[_Renderer]) -> None:
    if (alive := renderer()) is not None:
        alive.close()


class Eyes:
    """Renders named cameras at one size. Bound to the thread that first looks; the GL context is made then.

    Args:
        model: the compiled world; its geoms may be repainted and moved between looks.
        width, height: image size [px].
    """

    def __init__(self, model: mujoco.MjModel, width: int = WIDTH, height: int = HEIGHT) -> None:
        self._model = model
        self._size = (width, height)
        self._ids = {name: model.camera(name).id for name in CAMERA_ORDER}
        self._option = mujoco.MjvOption()
        self._option.geomgroup[3] = 0
        self._renderer: mujoco.Renderer | None = None

    def look(self, data: mujoco.MjData, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        """One uint8 image (height, width, 3) a camera, of the state in `data` (kinematics up to date)."""
        renderer = self._renderer or self._open()
        images: dict[str, NDArray[np.uint8]] = {}
        for name in cameras:
            renderer.update_scene(data, self._ids[name], self._option)
            images[name] = renderer.render()
        return images

    def _open(self) -> mujoco.Renderer:
        gl.configure()
        width, height = self._size
        self._renderer = _Renderer(self._model, height, width)
        # Reflections double the draw calls and teach nothing.
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        return self._renderer

    def close(self) -> None:
        """Free the GL context; a later look opens it again."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_renderer": None}
