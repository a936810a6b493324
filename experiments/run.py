"""Evaluate a policy in simulated real time: success rates, with their uncertainty, under a latency.

python experiments/run.py --views 3 --res 224 --task conveyor --latency fixed:400,11
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from shlex import quote

from vlatency.experiments.evaluation.configuration import Configuration
from vlatency.experiments.evaluation.episodes import Job, run_episode, run_together
from vlatency.experiments.evaluation.facts import prepare
from vlatency.experiments.evaluation.options import EngineOptions
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.evaluation.run_config import check_same_software, describe
from vlatency.experiments.evaluation.run_folder import (
    EPISODES,
    SUMMARY_JSON,
    SUMMARY_MD,
    TRACES,
    VIDEOS,
    RunFolder,
    find_run,
)
from vlatency.experiments.parallel.engine import Engine
from vlatency.experiments.reporting.header import header
from vlatency.experiments.reporting.study import summarize_run
from vlatency.experiments.reporting.summary_text import text, write_summary
from vlatency.experiments.shared import command, provenance
from vlatency.experiments.sweeps.filming import choose_episodes, film, film_path
from vlatency.experiments.sweeps.measuring import measure
from vlatency.experiments.sweeps.plan import run_plan
from vlatency.experiments.timing.served_profile import SERVED, write_served

RUNS = Path("runs")


@dataclass(frozen=True)
class Args:
    """Run a vision-language-action policy on a pick task in simulated real time, and say how often it succeeds.

    Results depend on the seeds and on these options, never on how fast the machine is.
    """

    configuration: Configuration = Configuration()
    episodes: int = 20
    """Episodes of each mode, on the same seeds."""
    seed: int = 10_000
    """Seed of the first episode; evaluation seeds are below 1000000."""
    batch: int = 1
    """Episodes that advance together in a worker and share forward passes, which pays on a GPU only."""
    videos: int = 2
    """Film so many episodes, successes and failures in turn."""
    trace: bool = False
    """Write a timeline of each new episode to traces/, for https://ui.perfetto.dev."""
    out: Path | None = None
    """Folder of this run; default is runs/NAME with a name made from these options."""
    resume: bool = False
    """Continue the run in that folder, or raise its --episodes."""
    parallel: EngineOptions = EngineOptions()


def main(args: Args) -> None:
    """Check everything, run what is missing, write and print the summary."""
    command.check_range("batch", args.batch, 1)
    command.check_range("videos", args.videos, 0)
    settings, policy = args.configuration.settings(args.seed, args.episodes)
    plan = run_plan(settings, policy, args.episodes)
    place = find_run(args.out, RUNS, settings, args.episodes, args.resume)
    with ExitStack() as stack:
        if isinstance(place, RunFolder):
            stack.enter_context(place.locked())
            place.check_continues(settings, args.episodes)
        workers = stack.enter_context(args.parallel.open(gpu=args.configuration.device == "cuda"))
        # A worker opens the world and loads the policy, so that what is wrong with them is said before we write.
        facts = prepare(workers, Job(settings[0], policy, args.seed), 1 if args.resume else args.episodes)
        config = describe(settings, policy, facts) | {"episodes": args.episodes}
        if isinstance(place, RunFolder):
            folder = place
        else:
            folder = stack.enter_context(RunFolder.start(place, config, numbered=args.out is None))
        check_same_software(folder.config, config)
        folder.extend(args.episodes)
        print("\n".join(header(config)), flush=True)
        measure(
            plan,
            lambda setting: folder.rows_of(setting, args.episodes),
            lambda cell, row: folder.append(row),
            lambda jobs: _batches(workers, jobs, args.batch, folder.path / TRACES if args.trace else None),
            bar=lambda cell: cell.arm,
        )
        repeats = settings[0].timing.latency.basis != "live"  # else there is nothing to film again
        rows = choose_episodes(folder.rows, args.videos * repeats)
        modes = {setting.mode: setting for setting in settings}
        film(
            {Job(modes[row["mode"]], policy, row["seed"], film_path(folder.path, row)): row for row in rows},
            lambda jobs: workers.map(run_episode, jobs),
        )
        summary = summarize_run(folder)
        write_summary(summary, folder.path)
        write_served(folder.path, folder.rows, policy, folder.config["identity"])
    print("\n" + "\n".join([*text(summary), _closing(folder)]))


def _batches(workers: Engine, jobs: Sequence[Job], size: int, traces: Path | None) -> Iterator[Row]:
    """The rows of jobs that run `size` at a time in a worker, each traced if there is a folder for that."""
    if traces:
        jobs = [replace(job, trace=str(traces / f"{job.setting.mode}-{job.seed}.json")) for job in jobs]
    rest = iter(jobs)
    return chain.from_iterable(workers.map(run_together, iter(lambda: list(islice(rest, size)), [])))


def _closing(folder: RunFolder) -> str:
    """Where the results are, and what to type next."""
    counts = {name: len(list((folder.path / name).glob("[!.]*"))) for name in (VIDEOS, TRACES)}
    found = [f"{name}/ ({count})" for name, count in counts.items() if count]
    found += [f"{SERVED} (a profile of what the server took)"] * (folder.path / SERVED).is_file()
    more = provenance.with_episodes(sys.argv, 10 * folder.config["episodes"])
    return (
        f"{folder.path}/  {' · '.join([SUMMARY_MD, SUMMARY_JSON, EPISODES, *found])}\n"
        f"next: {more}     python experiments/report.py {quote(str(folder.path))}"
    )


if __name__ == "__main__":
    command.run(main, Args)
