"""Write a policy's model card from its training history and from finished runs.

python experiments/card.py assets/policies/tiny runs/static-3v-224-7f3a runs/sweep-controls-9c1e
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from vlatency.experiments.reporting.model_card import History, model_card
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.shared import command
from vlatency.experiments.shared.files import write_text
from vlatency.experiments.training.history import HISTORY_FILE
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Write README.md into a policy's folder."""

    policy: tyro.conf.Positional[Path]
    """The policy."""
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Finished runs of this very policy, in the order of the table, and sweeps, also of policies trained from it."""


def main(args: Args) -> None:
    """Check that the runs are of this policy, and write its card."""
    path = args.policy / "README.md"
    write_text(path, model_card(args.policy, [read_study(folder) for folder in args.runs], _history))
    print(f"{path}  {len(args.runs)} runs and sweeps")


def _history(policy: Path) -> History:
    path = policy / HISTORY_FILE
    try:
        return list(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be used ({error!r})") from None


if __name__ == "__main__":
    command.run(main, Args)
