"""One picture and one short video of every task, five views each, with the scripted expert at work.

python experiments/gallery.py --out runs/gallery
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlatency.experiments.shared.command import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from vlatency.envs.pick import PickEnv
    from vlatency.experiments.recording.film import Film

TICK_NS = 100_000_000
HOLD_FRAMES = 12
"""The last picture stays for half a second."""
PAPER, INK, FAINT, ALERT = (18, 20, 24), (235, 238, 242), (150, 157, 168), (255, 190, 70)


@dataclass(frozen=True)
class Args:
    """Draw the tasks."""

    task: str = "all"
    """Pick task, or all."""
    seed: int = 30_000
    """Of the episode that is shown."""
    out: Path = Path("runs/gallery")
    """Folder for TASK.png and TASK.mp4."""
    pictures_only: bool = False
    """No videos."""


def main(args: Args) -> None:
    """Write the gallery."""
    from vlatency.envs.pick import PickEnv
    from vlatency.envs.tasks import TASKS, find_task
    from vlatency.experiments.recording.video import write_frames
    from vlatency.sim import gl

    gl.configure()
    names = list(TASKS) if args.task == "all" else [find_task(args.task).name]
    args.out.mkdir(parents=True, exist_ok=True)
    for name in names:
        env = PickEnv(name)
        film, told, end_ns = _act(env, args.seed, 0 if args.pictures_only else 10**18)
        path = args.out / f"{name}.png"
        _page(env, film, 0, told).save(path)
        if not args.pictures_only:
            path = path.with_suffix(".mp4")
            write_frames(path, _pages(env, film, told))
        outcome = f"picked after {end_ns / 1e9:.1f} s" if env.success else f"not picked in {end_ns / 1e9:.1f} s"
        print(f"{path}  {' -> '.join(dict.fromkeys(told))}  {outcome}", flush=True)
        env.close()


def _act(env: "PickEnv", seed: int, until_ns: int) -> "tuple[Film, list[str], int]":
    """The expert under film until it succeeds: the film, what the robot was told at each frame, when it ended."""
    from gymnasium.utils.seeding import np_random

    from vlatency.envs.expert import expert, look
    from vlatency.experiments.recording.film import FilmedPlant
    from vlatency.sim.names import CAMERA_ORDER

    env.begin(np_random(seed)[0], {})
    plant = FilmedPlant(env, CAMERA_ORDER)
    told = [env.instruction]
    while not env.done and env.now_ns < until_ns:
        plant.command(expert(look(env))[0])
        plant.advance_to(env.now_ns + TICK_NS)
        told += [env.instruction] * (len(plant.film.times_ns) - len(told))
    return plant.film, told, env.now_ns


def _pages(env: "PickEnv", film: "Film", told: list[str]) -> "Iterator[NDArray[np.uint8]]":
    import numpy as np

    last = len(film.times_ns) - 1
    for index in range(last + 1):
        page = np.asarray(_page(env, film, index, told))
        for _ in range(1 + HOLD_FRAMES * (index == last)):
            yield page


def _page(env: "PickEnv", film: "Film", index: int, told: list[str]) -> "Image.Image":
    """The five views of one frame, and in the sixth place what the task is."""
    from PIL import ImageDraw

    from vlatency.experiments.recording.film import place_of
    from vlatency.experiments.recording.video import font

    page = film.frame(index)
    draw = ImageDraw.Draw(page)
    hidden = env.script.scenery.hidden_from
    for place, camera in enumerate(film.cameras):
        x, y = place_of(place)
        label = f"{camera} (target hidden)" if camera in hidden else camera
        box = draw.textbbox((x + 8, y + 6), label, font=font(14))
        draw.rectangle((box[0] - 4, box[1] - 3, box[2] + 4, box[3] + 3), fill=PAPER)
        draw.text((x + 8, y + 6), label, font=font(14), fill=ALERT if camera in hidden else INK)
    x, y = place_of(len(film.cameras))
    task, t_ns = env.task, film.times_ns[index]
    draw.text((x + 14, y + 12), task.name, font=font(24), fill=INK)
    draw.text((x + 400, y + 18), f"t = {t_ns / 1e9:.2f} s", font=font(16), fill=INK, anchor="ra")
    draw.text((x + 14, y + 48), f'"{told[index]}"', font=font(16), fill=ALERT if told[index] != told[0] else INK)
    lines = textwrap.wrap(f"drawn: {task.randomizes}", 58) + textwrap.wrap(f"exposes: {task.exposes}", 58)
    if task.moves:
        lines.append(f"here: {abs(env.script.scenery.speed):.3f} m/s")
    for number, line in enumerate(lines):
        draw.text((x + 14, y + 82 + 19 * number), line, font=font(13), fill=FAINT)
    if env.event_ns is not None and t_ns >= env.event_ns:
        told_now = "the target is pushed" if task.event == "push" else "the instruction has changed"
        draw.text((x + 14, y + 208), f"{env.event_ns / 1e9:.2f} s: {told_now}", font=font(15), fill=ALERT)
    return page


if __name__ == "__main__":
    run(main, Args)
