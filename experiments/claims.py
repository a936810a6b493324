"""Write docs/claims.md: each claim of the optimization note beside the figures in assets/latency. Measures nothing.

python experiments/claims.py
"""

from dataclasses import dataclass

from vlatency.experiments.shared import command
from vlatency.experiments.timing import claims


@dataclass(frozen=True)
class Args:
    """Renew docs/claims.md from assets/latency and from arithmetic. It has no options."""


def main(args: Args) -> None:
    """Write the page and say where it is."""
    print(claims.write())


if __name__ == "__main__":
    command.run(main, Args)
