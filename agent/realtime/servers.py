"""What encoder and head run on: two GPUs, or one that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Apart:
    """Encoder and head never slow each other down: two GPUs, or the head on the CPU."""

    def __str__(self) -> str:
        return "two"

    def share(self, head_ns: int, encode_left_ns: int) -> tuple[int, int]:
        """Start a head run beside a running encode.

        Args:
            head_ns: duration of the head run, had it the GPU to itself [ns].
            encode_left_ns: what is left of the running encode [ns]; 0 if none is running.

        Returns:
            Duration of the head run, and how much later the encode finishes [ns].
        """
        return head_ns, 0

    def encode_delay_ns(self, head_left_ns: int) -> int:
        """How much longer an encode takes that starts when `head_left_ns` of a head run are left [ns]."""
        return 0


@dataclass(frozen=True)
class Shared:
    """One GPU for both. While both run, the head gets 1/contention of it and the encode the rest; no work is lost.

    With contention 1 the head has priority. A head run that is under way when an encode starts keeps its full speed.
    """

    contention: float

    def __str__(self) -> str:
        return "shared" if self.contention > 1 else "shared-priority"

    def share(self, head_ns: int, encode_left_ns: int) -> tuple[int, int]:
        """As in `Apart`."""
        if encode_left_ns <= 0:
            return head_ns, 0
        together = self.contention * head_ns  # until one of them is done
        if self.contention > 1:
            together = min(together, encode_left_ns / (1 - 1 / self.contention))
        used = together / self.contention
        return round(together + head_ns - used), round(used)

    def encode_delay_ns(self, head_left_ns: int) -> int:
        """As in `Apart`."""
        return round(head_left_ns / self.contention)


Servers: TypeAlias = Apart | Shared
ServersName: TypeAlias = Literal["two", "shared", "shared-priority"]


def make_servers(name: ServersName, contention: float) -> Servers:
    """The servers of a name, as a command line gives it; `str` of servers is that name.

    Args:
        name: `two` GPUs; one that is `shared`; or one on which the head goes first (`shared-priority`).
        contention: how many times as long a head run takes while an encode runs on the same GPU, at least 1.
    """
    return Apart() if name == "two" else Shared(contention if name == "shared" else 1.0)
