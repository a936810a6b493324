"""The record of one episode in simulated time: what ran when, and how old images and features were at each tick."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal


@dataclass(frozen=True)
class Span:
    """One job of a server."""

    name: Literal["encode", "head"]
    start_ns: int
    end_ns: int
    """When it finishes; after the end of the episode for a job that was cut off."""
    capture_ns: int
    """When the newest of the views that it works on was exposed."""
    views: tuple[str, ...] = ()
    """Cameras of an encode; older views of the other cameras stay in the features."""


@dataclass(frozen=True)
class CommandRecord:
    """One set-point that took effect."""

    applied_ns: int
    capture_ns: int
    """When the newest of the views behind it was exposed."""
    vl_ns: int
    """Latency charged for encoding them."""
    head_ns: int
    """Latency charged for the head."""
    read_ns: int
    """When the sensors behind it were read, which is when the head run began."""
    fresh: bool = True
    """Whether it is the first of its chunk to take effect."""


@dataclass(frozen=True)
class Tick:
    """One tick of the control grid. Ages are None as long as there are no images or features."""

    t_ns: int
    image_age_ns: int | None
    """Time since the newest exposure, encoded or not."""
    feature_age_ns: int | None
    """Time since the newest exposure behind the newest finished features."""
    oldest_view_age_ns: int | None
    """Time since the oldest exposure behind those features; differs where views are encoded in turn."""
    command_latency_ns: int | None
    """From exposure to effect, for the command that this tick led to; None if it led to none."""
    overrun: bool
    """The command that this tick led to comes, or came, more than a control period later."""
    missed: bool
    """The tick led to no new command: from it to the next the head did not start, or its chunk was dropped, and no
    set-point of an older chunk followed."""


@dataclass(frozen=True)
class EpisodeTrace:
    """One episode: the mode it ran in, every job, every command, every control tick."""

    mode: str
    period_ns: int
    end_ns: int
    ticks: tuple[Tick, ...]
    spans: tuple[Span, ...]
    commands: tuple[CommandRecord, ...]
    dropped: int = 0
    """Chunks dropped because they were late."""

    @property
    def missed(self) -> int:
        """Control ticks without a new command."""
        return sum(tick.missed for tick in self.ticks)

    @property
    def used_ages_ns(self) -> tuple[int, ...]:
        """Age of the features at each run of the head, which uses them [ns]."""
        return tuple(span.start_ns - span.capture_ns for span in self.spans if span.name == "head")

    @property
    def overruns(self) -> int:
        """Control ticks whose command comes more than a control period later."""
        return sum(tick.overrun for tick in self.ticks)


@dataclass(frozen=True)
class Lateness:
    """What makes a command late.

    Attributes:
        period_ns: control period [ns].
        actuation_ns: from the end of a head run until its command takes effect [ns].
        dropped: when the sensors behind dropped chunks were read [ns].
    """

    period_ns: int
    actuation_ns: int = 0
    dropped: frozenset[int] = frozenset()


def control_ticks(
    instants: Sequence[int], spans: Sequence[Span], commands: Sequence[CommandRecord], late: Lateness
) -> tuple[Tick, ...]:
    """Ages, latency and misses at each control tick.

    Args:
        instants: times of the ticks [ns].
        spans: jobs in the order of their start.
        commands: in the order of their effect.
        late: what makes a command late.
    """
    encodes = [span for span in spans if span.name == "encode"]
    heads = [span for span in spans if span.name == "head"]
    exposures = [span.capture_ns for span in encodes]
    oldest = _oldest(encodes)
    finishes = [span.end_ns for span in encodes]
    starts = [span.start_ns for span in heads]
    led_to = {command.read_ns: command for command in commands if command.fresh}
    followed = [command.applied_ns for command in commands if not command.fresh]

    ticks = []
    for t_ns, following_ns in zip_longest(instants, instants[1:]):
        exposed, finished = bisect_right(exposures, t_ns), bisect_right(finishes, t_ns)
        run = bisect_left(starts, t_ns)
        idle = run == len(heads) or (following_ns is not None and starts[run] >= following_ns)
        follow = bisect_left(followed, t_ns)
        goes_on = follow < len(followed) and (following_ns is None or followed[follow] < following_ns)
        command = None if idle else led_to.get(starts[run])
        ticks.append(
            Tick(
                t_ns=t_ns,
                image_age_ns=t_ns - exposures[exposed - 1] if exposed else None,
                feature_age_ns=t_ns - encodes[finished - 1].capture_ns if finished else None,
                oldest_view_age_ns=t_ns - oldest[finished - 1] if finished else None,
                command_latency_ns=command.applied_ns - command.capture_ns if command else None,
                overrun=not idle and heads[run].end_ns - heads[run].start_ns + late.actuation_ns > late.period_ns,
                missed=(idle or starts[run] in late.dropped) and not goes_on,
            )
        )
    return tuple(ticks)


def _oldest(encodes: Sequence[Span]) -> list[int]:
    """Time of the oldest exposure behind the features of each encode [ns]."""
    exposed: dict[str, int] = {}
    oldest = []
    for span in encodes:
        exposed |= dict.fromkeys(span.views, span.capture_ns)
        oldest.append(min(exposed.values(), default=span.capture_ns))
    return oldest
