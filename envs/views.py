"""Images of other people's environments, drawn when somebody looks and at no other time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlatency.envs.mapping import Camera
from vlatency.envs.observations import find_part
from vlatency.sim.cameras import Renderer, open_renderer
from vlatency.sim.errors import UsageError

Size = tuple[int, int]
"""Width and height [px]."""
_FLIPS = {"": (), "vertical": (0,), "horizontal": (1,), "both": (0, 1)}


def physics_inside(env: gymnasium.Env[Any, Any]) -> tuple[mujoco.MjModel, mujoco.MjData] | None:
    """Model and state of the MuJoCo simulation inside an environment, also one by dm_control; None if there is none."""
    inner: Any = env.unwrapped
    model, data = getattr(inner, "model", None), getattr(inner, "data", None)
    if not isinstance(model, mujoco.MjModel):
        physics = getattr(getattr(inner, "_env", None), "physics", None)
        model, data = (getattr(getattr(physics, name, None), "ptr", None) for name in ("model", "data"))
    return (model, data) if isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData) else None


class Views:
    """The cameras of one environment.

    Drawing never touches the simulation: it works on a copy of the state. Environments that prepare a drawing
    themselves, such as the goals of gymnasium-robotics, would otherwise take another course when they are looked at.

    Args:
        env: the environment.
        cameras: where each view comes from.
        hidden_groups: groups of geoms that are not drawn.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], cameras: Mapping[str, Camera], hidden_groups: Sequence[int] = ()
    ) -> None:
        self._env, self._cameras, self._hidden = env, cameras, hidden_groups
        self._model: mujoco.MjModel | None = None
        self._scratch: mujoco.MjData | None = None
        self._renderers: dict[Size, Renderer] = {}

    def draw(self, names: Sequence[str], observation: Any, size: Size) -> dict[str, NDArray[np.uint8]]:
        """The views uint8 (height, width, 3) of the present state, by name.

        Raises:
            UsageError: there is no such camera, or it gives no image.
        """
        unknown = [name for name in names if name not in self._cameras]
        if unknown:
            known = ", ".join(self._cameras) or "none: its mapping has no cameras"
            raise UsageError(f"this environment has no camera '{unknown[0]}'; cameras are {known}")
        images: dict[str, NDArray[np.uint8]] = {}
        ready = False
        for name in names:
            camera = self._cameras[name]
            if camera.model or camera.free:
                if not ready:
                    self._prepare()
                    ready = True
                image = self._draw_model(camera, size)
            else:
                found = find_part(observation, camera.observation) if camera.observation else self._env.render()
                image = _resized(_checked(found, name, camera), size)
            images[name] = np.ascontiguousarray(np.flip(image, _FLIPS[camera.flip]))
        return images

    def check(self, observation: Any) -> None:
        """Find out whether every camera is there, before anything is measured. UsageError if one is not."""
        for name, camera in self._cameras.items():
            if camera.model or camera.free:
                model, _ = self._physics()
                if camera.model:
                    _camera_id(model, camera.model)
            elif camera.observation:
                _checked(find_part(observation, camera.observation), name, camera)
            elif self._env.render_mode is None:
                _checked(None, name, camera)

    def _physics(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        inside = physics_inside(self._env)
        if inside is None:
            raise UsageError(
                "this environment has no MuJoCo model inside; its cameras can be 'observation' or 'render'"
            )
        return inside

    def _prepare(self) -> None:
        """Copy the simulation, and let the environment arrange the copy for a drawing."""
        inside = physics_inside(self._env)
        if inside is None:
            raise UsageError(
                "this environment has no MuJoCo model inside; its cameras can be 'observation' or 'render'"
            )
        model, data = inside
        if model is not self._model or self._scratch is None:
            self.close()
            self._model, self._scratch = model, mujoco.MjData(model)
            for camera in self._cameras.values():
                if camera.position is not None:
                    model.cam_pos[_camera_id(model, camera.model)] = camera.position
        mujoco.mj_copyData(self._scratch, model, data)
        mujoco.mj_forward(model, self._scratch)  # a step leaves positions of bodies that are one physics step old
        arrange = getattr(self._env.unwrapped, "_render_callback", None)
        if arrange is not None:
            inner: Any = self._env.unwrapped
            inner.data = self._scratch
            try:
                arrange()
            finally:
                inner.data = data
            mujoco.mj_forward(model, self._scratch)

    def _draw_model(self, camera: Camera, size: Size) -> NDArray[np.uint8]:
        model = self._model
        assert model is not None
        if size not in self._renderers:
            area = model.vis.global_
            area.offwidth, area.offheight = max(area.offwidth, size[0]), max(area.offheight, size[1])
            renderer = self._renderers[size] = open_renderer(model, *size)
            for group in self._hidden:
                renderer.option.geomgroup[group] = 0
        renderer = self._renderers[size]
        renderer.make_current()
        eye: Any = _free(camera) if camera.free else _camera_id(model, camera.model)
        renderer.update_scene(self._scratch, eye, renderer.option)
        image: NDArray[np.uint8] = renderer.render()
        return image

    def close(self) -> None:
        """Free the GL contexts. The next image opens them again."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers = {}


def _camera_id(model: mujoco.MjModel, name: str) -> int:
    names = [model.camera(index).name for index in range(model.ncam)]
    if name not in names:
        raise UsageError(
            f"the MuJoCo model has no camera '{name}'; it has {', '.join(names) or 'none: use a free one'}"
        )
    return names.index(name)


def _free(camera: Camera) -> mujoco.MjvCamera:
    assert camera.free is not None
    eye = mujoco.MjvCamera()
    eye.type = mujoco.mjtCamera.mjCAMERA_FREE
    eye.lookat[:] = camera.free.lookat
    eye.distance, eye.azimuth, eye.elevation = camera.free.distance, camera.free.azimuth, camera.free.elevation
    return eye


def _checked(image: Any, name: str, camera: Camera) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    remedy = f"'{camera.observation}' must be one" if camera.observation else "make it with render_mode='rgb_array'"
    raise UsageError(f"camera '{name}' gives {found}, and an image is uint8 (height, width, 3); {remedy}")


def _resized(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
