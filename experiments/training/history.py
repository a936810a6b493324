"""A trained policy on disk: its weights and the history of the trainings behind them."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlatency.experiments.shared import provenance
from vlatency.experiments.shared.files import write_text

HISTORY_FILE = "training.json"
"""How a policy was trained: a list with one entry per training, beside the weights."""


def write_history(folder: Path, start_from: Path | None, options: Any, moments: int, score: dict[str, float]) -> None:
    """Write the history of the policy in `folder`.

    Args:
        folder: of the new policy.
        start_from: folder of the policy that the training started from, whose history comes first.
        options: a dataclass, the arguments of the training.
        moments: moments with images that it was trained on.
        score: on the validation episodes.
    """
    entry = {
        "command": provenance.command_line(sys.argv),
        "config": asdict(options),
        "moments": moments,
        "score": score,
        "versions": provenance.versions(),
    }
    before = start_from / HISTORY_FILE if start_from else None
    entries = [*(json.loads(before.read_text()) if before and before.exists() else []), entry]
    write_text(folder / HISTORY_FILE, json.dumps(entries, indent=2, default=str) + "\n")
