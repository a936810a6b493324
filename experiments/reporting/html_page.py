"""The report as one HTML file that needs no server and no network: style, script, charts and films are in it."""

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vlatency.experiments.reporting.figures import figures
from vlatency.experiments.reporting.headline import Answer
from vlatency.experiments.reporting.study import Film, Study
from vlatency.experiments.reporting.svg import strip
from vlatency.experiments.reporting.tables import changed, falls, heads, lines, notes, said, verdict
from vlatency.experiments.sweeps.plan import show

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
class Reel:
    """The films of a study that the page holds.

    Attributes:
        films: what the script needs of each: where, arm, seed, outcome, src.
        left_out: films that there was no room for.
    """

    films: tuple[dict[str, object], ...]
    left_out: int


def html(studies: Sequence[tuple[Study, Answer]], command: str) -> str:
    """The page.

    Args:
        studies: with their answers, the most important one first.
        command: that writes this page.
    """
    import jinja2

    found = [(study, answer, figures(study)) for study, answer in studies]
    room = FILM_BYTES
    parts = []
    for study, answer, drawn in found:
        reel = _reel(study.films, room)
        room -= sum(len(str(film["src"])) * 3 // 4 for film in reel.films)
        parts.append(
            {
                "study": study,
                "answer": answer,
                "figures": drawn,
                "heads": heads(study),
                "lines": lines(study),
                "notes": notes(study),
                "reel": reel,
            }
        )
    there = {figure.kind for _, _, drawn in found for figure in drawn}
    there |= {"films"} if any(part["reel"].films for part in parts) else set()  # type: ignore[attr-defined]
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.globals.update(
        show=show, strip=strip, said=said, changed=changed, verdict=verdict, falls=falls, policies=_policies
    )
    return environment.get_template("report.html.j2").render(
        parts=parts,
        command=command,
        missing=[what for kind, what in MISSING.items() if kind not in there],
        stand_in=any(policy["stand_in"] for study, _ in studies for policy in study.policies),
    )


def _policies(study: Study) -> str:
    from vlatency.experiments.reporting.run_summary import policy_line

    return ", ".join(map(policy_line, study.policies)) or "not measured"


def _reel(films: Sequence[Film], room: int) -> Reel:
    """Those that fit: first the scenes that most arms were filmed in, and among them those that end differently."""
    scenes: dict[tuple[object, int], list[Film]] = {}
    for film in films:
        scenes.setdefault((film.where, film.seed), []).append(film)
    order = sorted(scenes.values(), key=lambda scene: (-len(scene), -len({film.outcome for film in scene})))
    taken: list[dict[str, object]] = []
    for scene in order:
        data = [film.path.read_bytes() for film in scene]
        if sum(map(len, data)) > room:
            continue
        room -= sum(map(len, data))
        for film, content in zip(scene, data, strict=True):
            src = "data:video/mp4;base64," + base64.b64encode(content).decode()
            taken.append({**asdict(film), "where": show(film.where), "path": film.path.name, "src": src})
    return Reel(tuple(taken), len(films) - len(taken))
