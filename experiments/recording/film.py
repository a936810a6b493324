"""Filming an episode: a plant that takes a frame through every camera at fixed intervals.

The physics takes the same steps as without a film, and the policy sees and does the same.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vlatency.experiments.recording.sampled_plant import SampledPlant
from vlatency.sim.clock import NS_PER_S
from vlatency.sim.plant import Plant

FPS = 25
FRAME_NS = NS_PER_S // FPS
TILE = (426, 240)
"""Width and height of one view in the film [px]."""
COLUMNS = 3
MOST_CAMERAS = 5
"""With the timeline they fill two rows."""
BACKGROUND, INK, FAINT = (18, 20, 24), (235, 238, 242), (140, 147, 158)
Colour = tuple[int, int, int]


@dataclass
class Film:
    """The frames of one episode, kept as JPEG because a minute of raw frames would fill the memory.

    Attributes:
        cameras: of the tiles, row by row; the tile after the last camera stays black.
        times_ns: when each frame was taken [ns].
        instructions: the robot's instruction in each frame.
    """

    cameras: tuple[str, ...]
    times_ns: list[int] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)
    _frames: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the mosaic: the views and one tile more [px]."""
        tiles = len(self.cameras) + 1
        return min(tiles, COLUMNS) * TILE[0], -(-tiles // COLUMNS) * TILE[1]

    def add(self, t_ns: int, images: Mapping[str, NDArray[np.uint8]], instruction: str) -> None:
        """Append a frame from the images of all cameras, (H, W, 3) uint8 each."""
        mosaic = Image.new("RGB", self.size)
        for index, camera in enumerate(self.cameras):
            view = Image.fromarray(images[camera])
            scale = min(TILE[0] / view.width, TILE[1] / view.height)
            fitting = round(view.width * scale), round(view.height * scale)
            tile = view.resize(fitting, Image.Resampling.BILINEAR, reducing_gap=2)
            x, y = corner_of(index)
            mosaic.paste(tile, (x + (TILE[0] - tile.width) // 2, y + (TILE[1] - tile.height) // 2))
        data = io.BytesIO()
        mosaic.save(data, "JPEG", quality=92)
        self.times_ns.append(t_ns)
        self.instructions.append(instruction)
        self._frames.append(data.getvalue())

    def frame(self, index: int) -> Image.Image:
        """The mosaic of one frame."""
        return Image.open(io.BytesIO(self._frames[index])).convert("RGB")


def corner_of(index: int) -> tuple[int, int]:
    """Upper left corner of a tile [px]."""
    return index % COLUMNS * TILE[0], index // COLUMNS * TILE[1]


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, at `size` [px]."""
    return ImageFont.load_default(size)


def label_tile(draw: ImageDraw.ImageDraw, index: int, text: str, colour: Colour) -> None:
    """Write `text` into the upper left corner of a tile."""
    x, y = corner_of(index)
    left, top, right, bottom = draw.textbbox((x + 8, y + 6), text, font=font(14))
    draw.rectangle((left - 4, top - 3, right + 4, bottom + 3), fill=BACKGROUND)
    draw.text((x + 8, y + 6), text, font=font(14), fill=colour)


class FilmedPlant(SampledPlant):
    """A plant that is filmed. To its agent it is the same plant.

    Args:
        plant: freshly reset; the first frame is taken at once.
        cameras: to film through, at most `MOST_CAMERAS`.
    """

    def __init__(self, plant: Plant, cameras: Sequence[str]) -> None:
        self.film = Film(tuple(cameras))
        super().__init__(plant, FRAME_NS, self._shoot)

    def _shoot(self, plant: Plant) -> None:
        self.film.add(plant.now_ns, plant.capture(self.film.cameras), plant.instruction)
