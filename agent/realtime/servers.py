"""Who computes: an encoder and a head on GPUs of their own, or both on one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True)
class Apart:
    """Encoder and head never meet: two GPUs, or the head on the CPU."""

    def __str__(self) -> str:
        return "two"

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

    def __str__(self) -> str:
        return "shared" if self.contention > 1 else "shared-priority"

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
ServersName: TypeAlias = Literal["two", "shared", "shared-priority"]


def make_servers(name: ServersName, contention: float) -> Servers:
    """The servers of that name.

    Args:
        name: `two` GPUs; one that is `shared`; one that is shared with priority for the head (`shared-priority`).
        contention: how many times as long a head run takes while an encode runs on the same GPU, at least 1.
    """
    return Apart() if name == "two" else Shared(contention if name == "shared" else 1.0)
