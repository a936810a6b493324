"""The pages of the task gallery: five views of an expert's episode, and in the sixth tile what the task is."""

import textwrap
from collections.abc import Iterator

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vlatency.envs.expert import expert, scene_of
from vlatency.envs.pick import PickEnv
from vlatency.experiments.recording.film import FAINT, INK, Film, FilmedPlant, corner_of, font, label_tile
from vlatency.sim.clock import CHUNK_STEP_NS, ns_to_s
from vlatency.sim.names import CAMERA_ORDER

HOLD_FRAMES = 12
"""The last page is held for half a second."""
ALERT = (255, 190, 70)


def film_expert(env: PickEnv, seed: int) -> Film:
    """Film the expert in an episode of `env` until it succeeds or its time is up."""
    env.begin(np_random(seed)[0], {})
    plant = FilmedPlant(env, CAMERA_ORDER)
    while not env.done:
        plant.command(expert(scene_of(env))[0])
        plant.advance_to(env.now_ns + CHUNK_STEP_NS)
    return plant.film


def pages(env: PickEnv, film: Film) -> Iterator[NDArray[np.uint8]]:
    """The pages (H, W, 3) of a whole film."""
    for index in range(len(film.times_ns)):
        yield np.asarray(page(env, film, index))
    yield from [np.asarray(page(env, film, index))] * HOLD_FRAMES


def page(env: PickEnv, film: Film, index: int) -> Image.Image:
    """The page of frame `index` of the episode that `env` has just run."""
    image = film.frame(index)
    draw = ImageDraw.Draw(image)
    hidden = env.script.scenery.hidden_from
    for tile, camera in enumerate(film.cameras):
        if camera in hidden:
            label_tile(draw, tile, f"{camera} (target hidden)", ALERT)
        else:
            label_tile(draw, tile, camera, INK)
    x, y = corner_of(len(film.cameras))
    task, t_ns, told = env.task, film.times_ns[index], film.instructions[index]
    draw.text((x + 14, y + 12), task.name, font=font(24), fill=INK)
    draw.text((x + 400, y + 18), f"t = {ns_to_s(t_ns):.2f} s", font=font(16), fill=INK, anchor="ra")
    draw.text((x + 14, y + 48), f'"{told}"', font=font(16), fill=INK if told == film.instructions[0] else ALERT)
    lines = textwrap.wrap(f"randomized: {task.randomizes}", 58) + textwrap.wrap(f"tests: {task.exposes}", 58)
    if task.moves:
        lines.append(f"speed: {abs(env.script.scenery.speed):.3f} m/s")
    for number, line in enumerate(lines):
        draw.text((x + 14, y + 82 + 19 * number), line, font=font(13), fill=FAINT)
    if env.event_ns is not None and t_ns >= env.event_ns:
        event = "the target is pushed" if task.event == "push" else "the instruction changes"
        draw.text((x + 14, y + 208), f"{ns_to_s(env.event_ns):.2f} s: {event}", font=font(15), fill=ALERT)
    return image
