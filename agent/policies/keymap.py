"""Which keys a policy server reads, and what of ours goes under each: views, numbers and the instruction."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlatency import assets
from vlatency.agent.policies.own_keys import state_vector
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

FOLDER = assets.FOLDER / "keymaps"
Side = Annotated[int, Field(ge=1, le=4096)]
Name = Annotated[str, Field(min_length=1)]
_FLIPS: dict[str, tuple[slice, slice]] = {
    "none": (slice(None), slice(None)),
    "horizontal": (slice(None), slice(None, None, -1)),
    "vertical": (slice(None, None, -1), slice(None)),
    "both": (slice(None, None, -1), slice(None, None, -1)),
}


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ImageKey(_Table):
    """A view: uint8 (height, width, 3), upright as the environment draws it, unless said."""

    camera: Name
    """Its name in the environment."""
    size: Side | None = None
    """Side of the square that it is resized into, its shape kept and the rest black [px]; left out: as drawn."""
    flip: Literal["none", "horizontal", "vertical", "both"] = "none"
    channels: Literal["last", "first"] = "last"
    """first: (3, height, width)."""
    inside: Name | None = None
    """The key of a map that this key is in."""


class StateKey(_Table):
    """Numbers of the state vector, from `start` until before `stop`; left out: all."""

    start: Annotated[int, Field(ge=0)] = 0
    stop: Annotated[int, Field(ge=1)] | None = None
    quaternion: Annotated[int, Field(ge=0)] | None = None
    """Where in the state a quaternion x, y, z, w begins that is sent as a rotation vector [rad]."""
    inside: Name | None = None


class _File(_Table):
    about: str
    images: dict[Name, ImageKey] = {}
    state: dict[Name, StateKey] = {}
    prompt: Name | None = "prompt"
    time_ns: Name | None = None


@dataclass(frozen=True)
class KeyMap:
    """What goes under which key of an observation.

    Example:
        >>> KeyMap.find("libero").cameras
        ('image', 'wrist_image')
    """

    name: str
    images: dict[str, ImageKey]
    state: dict[str, StateKey]
    prompt: str | None = "prompt"
    """Key of the instruction."""
    time_ns: str | None = None
    """Key of the simulated times of the exposure and of the sensors [ns], which a physics step may separate."""

    @classmethod
    def find(cls, name: str) -> KeyMap:
        """The key map that a user names: one that ships, or FILE.yaml. UsageError if it cannot be used."""
        shipped = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
        path = shipped.get(name, Path(name))
        if path.suffix not in (".yaml", ".yml") or not path.is_file():
            raise UsageError(f"no key map '{name}'; use {', '.join(shipped)} or FILE.yaml")
        try:
            file = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise UsageError(f"key map {name}: {_one_line(error)}") from None
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"key map {name} cannot be read: {' '.join(str(error).split())}") from None
        if not file.images and not file.state:
            raise UsageError(f"key map {name} sends neither images nor state; say what goes where")
        return cls(name, file.images, file.state, file.prompt, file.time_ns)

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys that it sends."""
        return (*self.images, *self.state, *(key for key in (self.prompt, self.time_ns) if key))

    def only(self, read: Collection[str], who: str) -> KeyMap:
        """The same without the keys that a server does not read. UsageError if it reads one that this does not send."""
        missing = [key for key in read if key not in self.keys]
        if missing:
            raise UsageError(f"{who} reads {missing[0]}, and key map {self.name} sends {', '.join(self.keys)}")
        return KeyMap(
            self.name,
            {key: value for key, value in self.images.items() if key in read},
            {key: value for key, value in self.state.items() if key in read},
            self.prompt if self.prompt in read else None,
            self.time_ns if self.time_ns in read else None,
        )

    @cached_property
    def cameras(self) -> tuple[str, ...]:
        """The views that are sent, by their names in the environment."""
        return tuple(dict.fromkeys(image.camera for image in self.images.values()))

    @property
    def sha256(self) -> str:
        """SHA-256 of all that it says, its name apart."""
        return hashlib.sha256(repr((self.images, self.state, self.prompt, self.time_ns)).encode()).hexdigest()

    def observation(self, request: Infer) -> dict[str, Any]:
        """The message for a request. RunError if the environment lacks a view or a number that is to be sent."""
        message: dict[str, Any] = {}
        for key, image in self.images.items():
            if image.camera not in request.images:
                views = ", ".join(request.images) or "none"
                raise RunError(f"key map {self.name} wants camera '{image.camera}'; the environment has {views}")
            _place(message, image.inside)[key] = _drawn(request.images[image.camera], image)
        if self.state:
            vector = state_vector(request.readings)
            for key, numbers in self.state.items():
                least = 0 if numbers.quaternion is None else numbers.quaternion + 4
                if max(numbers.stop or numbers.start + 1, least) > len(vector):
                    wanted = f"{key} = state[{numbers.start}:{numbers.stop or ''}]"
                    raise RunError(f"key map {self.name} wants {wanted}; the environment's state has {len(vector)}")
                _place(message, numbers.inside)[key] = _part(vector, numbers)
        if self.prompt:
            message[self.prompt] = request.instruction
        if self.time_ns:
            message[self.time_ns] = [request.t_ns, request.readings.t_ns]
        return message


def resize_with_pad(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image (H, W, 3) as large as fits into a square, in its middle; what is left is black.

    Bilinear and with the rounding of openpi's `image_tools.resize_with_pad`, which policies there were fed by.
    """
    height, width = image.shape[:2]
    if (height, width) == (side, side):
        return image
    scale = max(width / side, height / side)
    fitted = Image.fromarray(image).resize(
        (max(1, int(width / scale)), max(1, int(height / scale))), Image.Resampling.BILINEAR
    )
    square = Image.new("RGB", (side, side))
    square.paste(fitted, ((side - fitted.width) // 2, (side - fitted.height) // 2))
    return np.asarray(square)


def _drawn(image: NDArray[np.uint8], how: ImageKey) -> NDArray[np.uint8]:
    image = image[_FLIPS[how.flip]]
    if how.size is not None:
        image = resize_with_pad(image, how.size)
    return np.ascontiguousarray(image.transpose(2, 0, 1) if how.channels == "first" else image)


def _part(vector: NDArray[Any], numbers: StateKey) -> NDArray[Any]:
    at = numbers.quaternion
    if at is None:
        return vector[numbers.start : numbers.stop]
    quaternion = vector[at : at + 4].astype(np.float64)
    # As robosuite's quat2axisangle, which the policies were trained with: the angle is 0 to 2 pi.
    cosine = float(np.clip(quaternion[3], -1, 1))
    sine = math.sqrt(1 - cosine**2)
    turn = np.zeros(3) if math.isclose(sine, 0.0) else quaternion[:3] * 2 * math.acos(cosine) / sine
    return np.concatenate([vector[numbers.start : at], turn.astype(vector.dtype), vector[at + 4 : numbers.stop]])


def _place(message: dict[str, Any], inside: str | None) -> dict[str, Any]:
    return message if inside is None else message.setdefault(inside, {})


def _one_line(error: ValidationError) -> str:
    """The first error: its place, what is wrong, and what is known there."""
    first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    place = ".".join(map(str, first["loc"])) or "the file"
    if first["type"] == "extra_forbidden":
        nested: dict[int | str, type[_Table]] = {"images": ImageKey, "state": StateKey}
        table = nested[first["loc"][0]] if len(first["loc"]) > 1 else _File
        return f"{place} is not known here; {', '.join(table.model_fields)} are"
    return f"{place}: {first['msg']}"
