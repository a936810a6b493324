"""Draw a picture and a short video of each task, with five views and the scripted expert at work.

python experiments/gallery.py --out runs/gallery
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vlatency.experiments.evaluation.configuration import TaskName
from vlatency.experiments.shared.command import check_range, run
from vlatency.sim.clock import ns_to_s


@dataclass(frozen=True)
class Args:
    """Draw the tasks."""

    task: TaskName | Literal["all"] = "all"
    """Pick task, or all."""
    seed: int = 30_000
    """Seed of the episode."""
    out: Path = Path("runs/gallery")
    """Folder for TASK.png and TASK.mp4."""
    pictures_only: bool = False
    """Draw no videos."""


def main(args: Args) -> None:
    """Write the gallery."""
    # Imported here so that --help answers at once.
    from vlatency.envs.pick import PickEnv
    from vlatency.envs.tasks import TASKS
    from vlatency.experiments.recording.gallery_page import film_expert, page, pages
    from vlatency.experiments.recording.video import write_frames
    from vlatency.sim import gl

    check_range("seed", args.seed, 0)
    gl.configure()
    args.out.mkdir(parents=True, exist_ok=True)
    for task in TASKS if args.task == "all" else [args.task]:
        env = PickEnv(task)
        film = film_expert(env, args.seed)
        path = args.out / f"{task}.png"
        page(env, film, 0).save(path)
        if not args.pictures_only:
            path = path.with_suffix(".mp4")
            write_frames(path, pages(env, film))
        outcome = f"{'picked' if env.success else 'not picked'} after {ns_to_s(env.now_ns):.1f} s"
        print(f"{path}  {' -> '.join(dict.fromkeys(film.instructions))}  {outcome}", flush=True)
        env.close()


if __name__ == "__main__":
    run(main, Args)
