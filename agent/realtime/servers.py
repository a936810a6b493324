"""What encoder and head run on: two GPUs, or one that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Apart:
    """Encoder and head never slow each other down: two GPUs, or the head on the CPU."""

    def __str__(self) -> str:
        return "two"

    def start_head(self, head_ns: int, encode_left_ns: int) -> tuple[int, int]:
        """Start a head run, perhaps beside a running encode.

        Args:
            head_ns: work of the head run: its duration, had it the GPU to itself [ns].
            encode_left_ns: what is left of the running encode, had it the GPU to itself [ns]; 0 if none is running.

        Returns:
            Duration of the head run, and how much later the encode finishes [ns].
        """
        return head_ns, 0

    def start_encode(self, encode_ns: int, head_left_ns: int) -> tuple[int, int]:
        """Start an encode, perhaps beside a running head.

        Args:
            encode_ns: work of the encode: its duration, had it the GPU to itself [ns].
            head_left_ns: what is left of the running head, had it the GPU to itself [ns]; 0 if none is running.

        Returns:
            Duration of the encode, and how much later the head run finishes [ns].
        """
        return encode_ns, 0


@dataclass(frozen=True)
class Shared:
    """One GPU for both, which is never idle while there is work, and does no work twice.

    Where they meet, whichever of the two came first, the head run takes `contention` times as long as alone, and the
    encode is delayed by all of the head's work. A head run never outlasts the encode that it meets: were it to take
    longer than the work of both, they end together. With contention 1 the head has priority.
    """

    contention: float

    def __str__(self) -> str:
        return "shared" if self.contention > 1 else "shared-priority"

    def start_head(self, head_ns: int, encode_left_ns: int) -> tuple[int, int]:
        """As in `Apart`."""
        if encode_left_ns <= 0:
            return head_ns, 0
        return self._together(head_ns, encode_left_ns), head_ns

    def start_encode(self, encode_ns: int, head_left_ns: int) -> tuple[int, int]:
        """As in `Apart`."""
        if head_left_ns <= 0 or encode_ns == 0:
            return encode_ns, 0
        return encode_ns + head_left_ns, self._together(head_left_ns, encode_ns) - head_left_ns

    def _together(self, head_ns: int, encode_ns: int) -> int:
        """How long a head run takes beside an encode [ns], for the work that is left of each."""
        return min(round(self.contention * head_ns), head_ns + encode_ns)


Servers: TypeAlias = Apart | Shared
ServersName: TypeAlias = Literal["two", "shared", "shared-priority"]


def make_servers(name: ServersName, contention: float) -> Servers:
    """The servers of a name, as a command line gives it; `str` of servers is that name.

    Args:
        name: `two` GPUs; one that is `shared`; or one on which the head goes first (`shared-priority`).
        contention: how many times as long a head run takes while an encode runs on the same GPU, at least 1.
    """
    return Apart() if name == "two" else Shared(contention if name == "shared" else 1.0)
