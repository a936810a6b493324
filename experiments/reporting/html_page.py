"""The report as one HTML file that needs no server and no network: style, script, charts and films are in it."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vlatency.experiments.reporting.figures import Figure, figures
from vlatency.experiments.reporting.headline import Answer
from vlatency.experiments.reporting.study import Film, Study
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.svg import strip
from vlatency.experiments.reporting.tables import Line, heads, lines, notes
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


@dataclass(frozen=True)
class Part:
    """What the page says of one study.

    Attributes:
        summary, answer: see there.
        figures, heads, lines, notes: of its charts and of its table.
        films: what the script needs of each: place, arm, seed, outcome, src.
        left_out: films that there was no room for.
    """

    summary: Summary
    answer: Answer
    figures: list[Figure]
    heads: list[str]
    lines: list[Line]
    notes: list[str]
    films: list[dict[str, object]]
    left_out: int

    @property
    def kinds(self) -> set[str]:
        """Which figures it has."""
        return {figure.kind for figure in self.figures} | ({"films"} if self.films else set())


def html(studies: Sequence[tuple[Study, Answer]], command: str) -> str:
    """The page.

    Args:
        studies: with their answers, the most important one first.
        command: that writes this page.
    """
    import jinja2

    parts: list[Part] = []
    room = FILM_BYTES
    for study, answer in studies:
        summary, films = study.summary, _that_fit(study.films, room)
        room -= sum(film.path.stat().st_size for film in films)
        parts.append(
            Part(
                summary=summary,
                answer=answer,
                figures=figures(summary),
                heads=heads(summary),
                lines=lines(summary),
                notes=notes(summary),
                films=[_inline(film) for film in films],
                left_out=len(study.films) - len(films),
            )
        )
    found = set().union(*(part.kinds for part in parts))
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    words = (show, strip, comparison, difference, limits, percent, policy_lines, assumptions)
    environment.globals.update({function.__name__: function for function in words})
    origins = [result.origin for part in parts for result in part.summary.results if result.origin]
    return environment.get_template("report.html.j2").render(
        parts=parts,
        command=command,
        missing=[what for kind, what in MISSING.items() if kind not in found],
        stand_in=any(origin.policy.stand_in for origin in origins),
    )


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
