"""What config.json says of a run or a cell, beside its number of episodes."""

import platform
import sys
from collections.abc import Sequence
from typing import Any

from vlatency.experiments.evaluation.facts import Facts
from vlatency.experiments.evaluation.run_folder import SCHEMA
from vlatency.experiments.evaluation.setting import Setting, hash_of, name_of
from vlatency.experiments.shared import provenance
from vlatency.sim.errors import UsageError


def describe(settings: Sequence[Setting], policy: str, facts: Facts) -> dict[str, Any]:
    """The whole resolved configuration, and where and with what it was run.

    Args:
        settings: one a mode.
        policy: its folder, or the source of a policy of others.
        facts: what a worker found out.
    """
    latency = settings[0].timing.latency
    return {
        "schema": SCHEMA,
        "name": name_of(settings),
        "hash": hash_of(settings),
        "settings": [setting.as_json() for setting in settings],
        "command": provenance.command_line(sys.argv),
        "instruction": facts.instruction,
        "camera_px": facts.camera_px,
        "policy": {"name": policy, "kind": facts.kind, "parameters": facts.parameters},
        "identity": dict(facts.identity),
        "feature_error": facts.feature_error,
        "latency": latency.describe(),
        "machine": {"cores": provenance.cores(), "platform": platform.platform()},
        "software": facts.software,
        "git_revision": provenance.git_revision(),
    }


def check_same_software(then: dict[str, Any], now: dict[str, Any]) -> None:
    """UsageError if a run began with other software than there is now: its episodes would not repeat."""
    changed = provenance.differences(then["software"], now["software"])
    if changed:
        raise UsageError(
            f"this run began with other software ({'; '.join(changed)}), and rows of both never share a rate; "
            "go back to that software, or start another run with --out"
        )
