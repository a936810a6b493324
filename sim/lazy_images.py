"""Images of one instant that are drawn when somebody reads them, because most of what is seen is never looked at."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray


class LazyImages(Mapping[str, NDArray[np.uint8]]):
    """Images uint8 (H, W, 3) by camera name. Each is drawn when it is first read, and then kept.

    Args:
        cameras: the names.
        draw: gives the image of a camera as it was at that instant, whenever it is called.
    """

    def __init__(self, cameras: Iterable[str], draw: Callable[[str], NDArray[np.uint8]]) -> None:
        self._images: dict[str, NDArray[np.uint8] | None] = dict.fromkeys(cameras)
        self._draw = draw

    def __getitem__(self, camera: str) -> NDArray[np.uint8]:
        image = self._images[camera]
        if image is None:
            image = self._images[camera] = self._draw(camera)
        return image

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, camera: object) -> bool:
        """Without drawing it, as `Mapping` would."""
        return camera in self._images
