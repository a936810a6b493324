"""Turn the episodes of a finished run into a LeRobot dataset, with the age of what each action was based on.

python experiments/export.py runs/static-3v-224-7f3a --lerobot runs/datasets/static
"""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import tyro

from vlatency.experiments.evaluation.options import Cameras, EngineOptions, Size
from vlatency.experiments.evaluation.replay import record_episode, replays_of
from vlatency.experiments.evaluation.run_folder import EPISODES, RunFolder
from vlatency.experiments.recording.lerobot_dataset import DatasetWriter
from vlatency.experiments.shared import command
from vlatency.experiments.shared.files import check_writable
from vlatency.experiments.shared.progress import bars
from vlatency.sim.errors import UsageError


@dataclass(frozen=True)
class Args:
    """Write a LeRobotDataset (v3.0) of all episodes of a run. They are run once more, and must repeat bit for bit.

    A frame is a control tick: images, state, the action in force, and beside LeRobot's own columns sim_time,
    capture_time (when the images behind that action were exposed), latency (from then until it took effect) and
    feature_age, all in seconds of simulated time.
    """

    run: tyro.conf.Positional[Path]
    """Folder of a run, or of a cell of a sweep."""
    lerobot: Path
    """Folder for the dataset, new or empty."""
    cameras: Cameras = ()
    """Views to keep, for example top,wrist. By default those that the policy sees."""
    res: Size | None = None
    """Size of the images [px]: 96 for 96x96, or WIDTHxHEIGHT. By default that which the policy sees."""
    parallel: EngineOptions = EngineOptions()


def main(args: Args) -> None:
    """Run the episodes again and write them down as they come."""
    folder = RunFolder(args.run)
    replays = replays_of(folder, args.cameras, args.res)
    if not replays:
        raise UsageError(f"{args.run / EPISODES} holds no episode")
    setting = replays[0].job.setting
    fps = setting.timing.control_hz
    if fps != int(fps):
        raise UsageError(f"LeRobot counts whole frames a second, and this run has {fps:g} control ticks a second")
    check_writable(args.lerobot)
    if args.lerobot.exists() and any(args.lerobot.iterdir()):
        raise UsageError(f"{args.lerobot} is not empty; choose another folder")
    dataset = DatasetWriter(args.lerobot, int(fps))
    with args.parallel.open(gpu=setting.device == "cuda") as workers, bars() as progress:
        progress.add("export", len(replays))
        for episode in workers.map(record_episode, replays):
            dataset.add(episode)
            progress.advance("export")
    dataset.close({"run": str(args.run), "config": folder.config})
    print(
        f"{args.lerobot}/  {dataset.episodes} episodes, {dataset.frames} frames    next: lerobot-train "
        f"--policy.type=act --dataset.repo_id=local/{quote(args.run.name)} --dataset.root={quote(str(args.lerobot))}"
    )


if __name__ == "__main__":
    command.run(main, Args)
