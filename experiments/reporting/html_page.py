"""The report as one HTML file that needs no server and no network: style, script, charts and films are in it."""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlatency.experiments.reporting.figures import figures
from vlatency.experiments.reporting.headline import Answer
from vlatency.experiments.reporting.study import Film, Study
from vlatency.experiments.reporting.svg import strip
from vlatency.experiments.reporting.tables import caption, heads, lines
from vlatency.experiments.reporting.wording import assumptions, comparison, difference, limits, policy_lines
from vlatency.experiments.shared.table import percent
from vlatency.experiments.sweeps.plan import Place, show

FILM_BYTES = 12_000_000
"""Films that a page holds at most [bytes]; base64 makes them a third larger."""
MISSING = {
    "latency": ("Success against latency", "python experiments/sweep.py budgets"),
    "pareto": ("Success and control rate", "python experiments/sweep.py note"),
    "split": ("Late or wrong", "python experiments/sweep.py views-res"),
    "break-even": ("Break-even speed", "python experiments/sweep.py speed"),
    "films": ("Films", "python experiments/sweep.py SWEEP --videos 1"),
}
"""What a page may lack, and the command that measures it."""


def html(studies: Sequence[tuple[Study, Answer]], command: str) -> str:
    """The page.

    Args:
        studies: with their answers, the most important one first.
        command: that writes this page.
    """
    import jinja2

    parts: list[dict[str, Any]] = []
    room = FILM_BYTES
    for study, answer in studies:
        summary, films = study.summary, _that_fit(study.films, room)
        room -= sum(film.path.stat().st_size for film in films)
        inline, left_out = [_inline(film) for film in films], len(study.films) - len(films)
        drawn = figures(summary)
        parts.append({"summary": summary, "answer": answer, "figures": drawn, "films": inline, "left_out": left_out})
    found = {figure.kind for part in parts for figure in part["figures"]} | {"films" for part in parts if part["films"]}
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    words = (assumptions, caption, comparison, difference, heads, limits, lines, percent, policy_lines, show, strip)
    environment.globals.update({function.__name__: function for function in words})
    missing = [what for kind, what in MISSING.items() if kind not in found]
    return environment.get_template("report.html.j2").render(parts=parts, command=command, missing=missing)


def _that_fit(films: Sequence[Film], room: int) -> list[Film]:
    """Those that fit: first the scenes that most arms were filmed in, and among them those that end differently."""
    scenes: dict[tuple[Place, int], list[Film]] = {}
    for film in films:
        scenes.setdefault((film.place, film.seed), []).append(film)
    taken: list[Film] = []
    for scene in sorted(scenes.values(), key=lambda scene: (-len(scene), -len({film.outcome for film in scene}))):
        size = sum(film.path.stat().st_size for film in scene)
        if size <= room:
            room -= size
            taken += scene
    return taken


def _inline(film: Film) -> dict[str, object]:
    src = "data:video/mp4;base64," + base64.b64encode(film.path.read_bytes()).decode()
    return {**asdict(film), "place": show(film.place), "path": film.path.name, "src": src}
