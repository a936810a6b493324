"""A plant that somebody looks at in fixed intervals. To its agent it is the same plant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from vlatency.sim.plant import Plant
    from vlatency.sim.readings import Readings


class SampledPlant:
    """A plant whose simulated time stops for a look at 0, `period_ns`, 2 `period_ns` and so on.

    The physics takes the same steps as without, and the policy sees and does the same.

    Args:
        plant: freshly reset; the first sample is taken at once.
        period_ns: between two samples [ns].
        sample: called with the plant at each of these times.
        commanded: called with time [ns] and action of each command.
    """

    def __init__(
        self,
        plant: Plant,
        period_ns: int,
        sample: Callable[[Plant], None],
        commanded: Callable[[int, ArrayLike], None] = lambda t_ns, action: None,
    ) -> None:
        self._plant, self._period_ns, self._sample, self._commanded = plant, period_ns, sample, commanded
        self._samples = 1
        sample(plant)

    @property
    def now_ns(self) -> int:
        """Simulated time [ns]."""
        return self._plant.now_ns

    @property
    def done(self) -> bool:
        """Whether the episode is over."""
        return self._plant.done

    @property
    def instruction(self) -> str:
        """The robot's instruction."""
        return self._plant.instruction

    def advance_to(self, t_ns: int) -> None:
        """Step the physics to `t_ns` [ns], with samples on the way."""
        while (sample_ns := self._samples * self._period_ns) <= t_ns:
            if self._plant.now_ns < sample_ns:  # a world with long steps may be beyond it
                self._plant.advance_to(sample_ns)
            self._sample(self._plant)
            self._samples += 1
        if self._plant.now_ns < t_ns:
            self._plant.advance_to(t_ns)

    def command(self, action: ArrayLike) -> None:
        """Follow a new set-point."""
        self._commanded(self.now_ns, action)
        self._plant.command(action)

    def capture(self, cameras: Sequence[str]) -> Mapping[str, NDArray[np.uint8]]:
        """Images (H, W, 3) uint8 of the cameras."""
        return self._plant.capture(cameras)

    def sensors(self) -> Readings:
        """Sensor readings."""
        return self._plant.sensors()
