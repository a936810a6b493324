"""From the calls of a run to a latency profile: what a policy server really took."""

from __future__ import annotations

import datetime
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlatency.agent.realtime.cost.schema import Duration
from vlatency.agent.realtime.cost.whole_call import WholeCall
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.files import write_text

SERVED = "served.json"
"""In the folder of a run."""
MOST = 2_000
"""Samples in a file; of more, these are taken evenly."""


def served_profile(rows: Iterable[Mapping[str, Any]], source: str, identity: Mapping[str, Any]) -> WholeCall | None:
    """The profile of a run's calls, the first of each episode apart; None if there were none.

    Args:
        rows: of the episodes; `calls_ms` are the round trips of one, and `server_ms` what the server stated.
        source: the policy, as the command line spells it.
        identity: of the policy; `metadata` is what its server says of itself.
    """
    rows, server = list(rows), dict(identity.get("metadata", {}))
    calls = [row["calls_ms"] for row in rows if row.get("calls_ms")]
    first, later = [each[0] for each in calls], [ms for each in calls for ms in each[1:]]
    if not first:
        return None
    stated = [ms for row in rows for ms in row.get("server_ms", ())[1:] if ms is not None]
    later = later or first
    return WholeCall(
        covers="whole call",
        device=str(server.get("device") or f"the server at {source}"),
        source=source,
        samples_ms=_chosen(later),
        cold_start_ms=max(0.0, round(statistics.median(first) - statistics.median(later), 3)),
        server_ms=Duration(samples_ms=_chosen(stated)) if stated else None,
        server=server,
        note=f"{len(first) + len(later)} calls in {len(first)} episodes, measured where they ran",
        date=datetime.date.today().isoformat(),
        command=provenance.command_line(sys.argv),
    )


def write_served(folder: Path, rows: Iterable[Mapping[str, Any]], source: str, identity: Mapping[str, Any]) -> None:
    """Write the profile of a run's calls into its folder, for `--latency FOLDER/served.json`; nothing without calls."""
    profile = served_profile(rows, source, identity)
    if profile:
        content = profile.model_dump(mode="json", exclude_none=True)
        fields = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in content.items()]
        write_text(folder / SERVED, "{\n" + ",\n".join(fields) + "\n}\n")


def _chosen(samples: Sequence[float]) -> tuple[float, ...]:
    """At most `MOST` samples [ms], evenly from the shortest to the longest."""
    ordered = sorted(round(float(sample), 3) for sample in samples)
    if len(ordered) <= MOST:
        return tuple(ordered)
    return tuple(ordered[round(place * (len(ordered) - 1) / (MOST - 1))] for place in range(MOST))
