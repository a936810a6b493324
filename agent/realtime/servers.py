"""Who computes: an encoder and a head on GPUs of their own, or both on one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Apart:
    """Encoder and head never meet: two GPUs, or the head on the CPU."""

    def share(self, head_ns: int, encode_left_ns: int) -> tuple[int, int]:
        """(duration of a head run, what it puts off a running encode) [ns], for the head alone and what is left."""
        return head_ns, 0

    def put_off_ns(self, head_left_ns: int) -> int:
        """What a running head puts off an encode that starts [ns]."""
        return 0


@dataclass(frozen=True)
class Shared:
    """One GPU for both, work conserved: while both run, the head gets 1/contention of it and the encode the rest.

    With contention 1 the head has priority. A head that runs when an encode starts keeps its time.
    """

    contention: float

    def share(self, head_ns: int, encode_left_ns: int) -> tuple[int, int]:
        """(duration of a head run, what it puts off a running encode) [ns], for the head alone and what is left."""
        if encode_left_ns <= 0:
            return head_ns, 0
        together = self.contention * head_ns  # until one of them is done
        if self.contention > 1:
            together = min(together, encode_left_ns / (1 - 1 / self.contention))
        used = together / self.contention
        return round(together + head_ns - used), round(used)

    def put_off_ns(self, head_left_ns: int) -> int:
        """What a running head puts off an encode that starts [ns]."""
        return round(head_left_ns / self.contention)


Servers: TypeAlias = Apart | Shared
NAMES = ("two", "shared", "shared-priority")


def parse_servers(text: str, contention: float) -> Servers:
    """`two` GPUs; one `shared` with a profile's contention factor; one `shared-priority` for the head. UsageError."""
    if text == "two":
        return Apart()
    if text == "shared":
        return Shared(contention)
    if text == "shared-priority":
        return Shared(1.0)
    raise UsageError(f"unknown servers {text!r}; servers are {', '.join(NAMES)}")
