"""Filming an episode: a plant that stops at frame times on its way and looks through every camera.

The physics goes through the same steps as without film, and the policy sees and draws nothing different.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vlatency.sim.clock import NS_PER_S
from vlatency.sim.plant import Plant
from vlatency.sim.readings import Readings

FPS = 25
FRAME_NS = NS_PER_S // FPS
TILE = (426, 240)
"""Width and height of one view in the film [px]."""
COLUMNS, ROWS = 3, 2


@dataclass
class Film:
    """Frames of one episode, kept as JPEG: a minute of raw ones would fill the memory.

    Attributes:
        cameras: of the tiles, row by row; the place after the last one stays black.
        times_ns: when each frame was taken [ns].
        instructions: what the robot was told then.
    """

    cameras: tuple[str, ...]
    times_ns: list[int] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    _frames: list[bytes] = field(default_factory=list)

    def add(self, t_ns: int, images: dict[str, NDArray[np.uint8]], instruction: str) -> None:
        """Append a frame: the uint8 (H, W, 3) images of all cameras."""
        mosaic = Image.new("RGB", (COLUMNS * TILE[0], ROWS * TILE[1]))
        for place, camera in enumerate(self.cameras):
            tile = Image.fromarray(images[camera]).resize(TILE, Image.Resampling.BILINEAR, reducing_gap=2)
            mosaic.paste(tile, place_of(place))
        data = io.BytesIO()
        mosaic.save(data, "JPEG", quality=92)
        self.times_ns.append(t_ns)
        self.instructions.append(instruction)
        self._frames.append(data.getvalue())

    def frame(self, index: int) -> Image.Image:
        """The mosaic of one frame."""
        return Image.open(io.BytesIO(self._frames[index])).convert("RGB")


def place_of(index: int) -> tuple[int, int]:
    """Left upper corner of a tile [px]."""
    return index % COLUMNS * TILE[0], index // COLUMNS * TILE[1]


class FilmedPlant:
    """A plant under film: the same to its agent.

    Args:
        plant: freshly reset; the first frame is taken now.
        cameras: all there are, at most five.
    """

    def __init__(self, plant: Plant, cameras: Sequence[str]) -> None:
        self._plant = plant
        self.film = Film(tuple(cameras))
        self._shoot()

    def _shoot(self) -> None:
        self.film.add(self._plant.now_ns, self._plant.capture(self.film.cameras), self._plant.instruction)

    @property
    def now_ns(self) -> int:
        """Simulated time [ns]."""
        return self._plant.now_ns

    @property
    def done(self) -> bool:
        """The episode is over."""
        return self._plant.done

    @property
    def instruction(self) -> str:
        """What the robot is told to do."""
        return self._plant.instruction

    def advance_to(self, t_ns: int) -> None:
        """Step the physics to `t_ns`, taking a frame every 40 ms."""
        while (frame_ns := len(self.film.times_ns) * FRAME_NS) <= t_ns:
            self._plant.advance_to(frame_ns)
            self._shoot()
        if self._plant.now_ns < t_ns:
            self._plant.advance_to(t_ns)

    def command(self, action: ArrayLike) -> None:
        """Follow a new set-point."""
        self._plant.command(action)

    def capture(self, cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
        """What the cameras see."""
        return self._plant.capture(cameras)

    def sensors(self) -> Readings:
        """What the robot feels."""
        return self._plant.sensors()
