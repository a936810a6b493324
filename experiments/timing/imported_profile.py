"""From an imported log to a latency profile of whole calls."""

from __future__ import annotations

import datetime
import hashlib
import json
import sys
from pathlib import Path

from vlatency.agent.realtime.cost.whole_call import WholeCall
from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.timing.log_checks import Judged
from vlatency.experiments.timing.log_choice import Timings
from vlatency.experiments.timing.normal import Machine

MOST = 20_000
"""Samples in a file; the first ones, as they replay in order."""


def imported_profile(path: Path, kind: str, timings: Timings, judged: Judged, machine: Machine) -> WholeCall:
    """The profile, which names the file that it comes from and all that is doubtful.

    Args:
        path: of the log.
        kind: of the log, in words.
        timings: what was chosen in it.
        judged: what of that is charged.
        machine: what the policy ran on.
    """
    samples = tuple(round(ms, 4) for ms in judged.samples_ms[:MOST])
    found, remarks = timings.statistics, list(judged.remarks)
    quantiles = not samples and {"p50", "p95", "p99"} <= found.keys()
    if len(judged.samples_ms) > MOST:
        remarks.append(f"the first {MOST:,} of {len(judged.samples_ms):,} calls")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    note = [f"{timings.what} of {path.name} ({kind}, sha256 {sha256})", f"{timings.count or 'unknown'} calls", *remarks]
    return WholeCall(
        covers="whole call",
        device=machine.device,
        source=machine.model or path.name,
        samples_ms=samples or None,
        p50_ms=found["p50"] if quantiles else None,
        p95_ms=found["p95"] if quantiles else None,
        p99_ms=found["p99"] if quantiles else None,
        mean_ms=None if samples or quantiles else found.get("mean", found.get("p50")),
        note="; ".join(note),
        date=datetime.date.today().isoformat(),
        command=provenance.command_line(sys.argv),
    )


def write_imported(path: Path, profile: WholeCall) -> None:
    """Write it for `--latency FILE.json` to read."""
    write_text(path, json.dumps(profile.model_dump(mode="json", exclude_none=True), indent=1) + "\n")
