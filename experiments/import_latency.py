"""Read a log of timings, say whether it can be and whether it is normal, and write a profile that --latency charges.

python experiments/import_latency.py timings.csv --device "RTX 4090" --model pi0.5 --out my-4090.json
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from vlatency.experiments.shared import command
from vlatency.experiments.timing.imported_profile import imported_profile, write_imported
from vlatency.experiments.timing.log_checks import judge
from vlatency.experiments.timing.log_choice import Unit, choose
from vlatency.experiments.timing.log_files import read_log
from vlatency.experiments.timing.normal import Machine


@dataclass(frozen=True)
class Args:
    """Turn a log of whole calls, from images to actions, into a latency profile.

    It reads CSV, JSON and JSONL (openpi's timing fields too), LeRobot's logs, tables such as GR00T's benchmark prints,
    Chrome traces, and Nsight's summaries as CSV.
    """

    file: tyro.conf.Positional[Path]
    """The log."""
    device: str
    """What the policy ran on, such as "RTX 4090" or thor."""
    model: str = ""
    """The model, by its short name in latencies.py, such as pi0.5 or gr00t-n1.7; its figures are compared."""
    what: str = ""
    """The column, the event of a trace, or words of the row that is the latency, where there are several."""
    unit: Unit | None = None
    """Of the numbers, where the log does not say, or says it wrongly."""
    out: Path | None = None
    """Write the profile to this file; without it the log is only checked."""


def main(args: Args) -> None:
    """Check the log, say what is doubtful, and write the profile."""
    machine = Machine(args.device, args.model)
    machine.check()
    log = read_log(args.file)
    timings = choose(log, args.what, args.unit)
    judged = judge(timings, machine.floor_ms)
    profile = imported_profile(args.file, log.kind, timings, judged, machine)
    law = profile.distribution
    print(f"{args.file} ({log.kind}): {timings.what}")
    print(f"{len(judged.samples_ms) or 'no'} samples, p50 {law.p50_ms:.4g} ms, p95 {law.p95_ms:.4g} ms")
    for remark in judged.remarks:
        print(f"note: {remark}")
    print("\n".join(machine.verdict(law.p50_ms)))
    if args.out is None:
        print("nothing is written; --out NAME.json writes a profile")
    else:
        write_imported(args.out, profile)
        print(f"{args.out}  charge it: python experiments/run.py --latency {args.out}")


if __name__ == "__main__":
    command.run(main, Args)
