"""What a policy of others is to us: a source, which starts a policy for every episode."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from vlatency.agent.realtime.driver import OneStagePolicy

PolicyKind = Literal["script", "stand-in", "third-party", "true VLA"]
"""What kind of policy a result is about; every caption says it."""
OPENPI, SCRIPT = "openpi://", "script:"
"""How a source's name begins."""


@dataclass(frozen=True)
class CallTime:
    """How long one call of a policy really took on the wall clock. Simulated time never reads it, unless asked to."""

    ms: float
    """From the request until its answer was read, the way to a server and back included."""
    server_ms: float | None = None
    """Inference alone, as the server states it."""
    first: bool = False
    """The first call of an episode, in which a policy may compile or warm up."""


class PolicySource(Protocol):
    """Starts a policy for each episode. The state of a script or of a server's connection belongs to one episode.

    Example:
        source = find_source("script:metaworld")
        with source.start(task="drawer-open-v3", instruction="open the drawer", width=4) as policy:
            (chunk,) = policy.infer([request])
    """

    @property
    def name(self) -> str:
        """As the command line spells it: "script:metaworld", "openpi://127.0.0.1:8000"."""

    @property
    def kind(self) -> PolicyKind:
        """What kind of policy it is."""

    @property
    def takes_plan(self) -> bool:
        """Whether answers depend on `Infer.plan` and `Infer.frozen`, as real-time chunking needs it."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """The views it reads, by their names in the environment. Others need not be drawn."""

    def identity(self) -> dict[str, Any]:
        """What results depend on, as JSON: a script's SHA-256, a package's version, a server's metadata."""

    def start(self, *, task: str, instruction: str, width: int) -> AbstractContextManager[OneStagePolicy]:
        """The policy of one episode.

        Args:
            task: NAME of the environment "SUITE:NAME"; empty where there is none.
            instruction: what the policy is told first.
            width: how many numbers an action of the environment has; another answer is refused.

        Raises:
            UsageError: there is no such policy, or not for this task.
            RunError: it answers nonsense; `ServerGone` where its server went away.
        """

    def timings(self) -> list[CallTime]:
        """All calls since the source was made, in their order; the list itself, which grows."""
