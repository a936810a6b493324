"""What a person sees while a run goes on: a header, a bar a mode with the time that is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vlatency.experiments.reporting.run_summary import encode_lines, machinery, policy_line
from vlatency.sim.gl import is_software


def header(config: dict[str, Any]) -> list[str]:
    """The lines that say what is about to run, from the run's config.json."""
    setting = config["setting"]
    optimization = setting["optimization"]
    version = ".".join(config["versions"]["vlatency"].split(".")[:2])
    renderer = config["gl_renderer"]
    gl = f"{renderer.split()[0]} (software)" if is_software(renderer) else renderer
    count = config["machine"]["cores"]
    task = f'{setting["task"]}: "{config["instruction"]}"'
    cameras = f"{', '.join(optimization['cameras'])} @ {'x'.join(map(str, config['camera_px']))}"
    lines = [
        f"vlatency {version} · policy {policy_line(config['policy'])} · GL {gl} · {count} core{'s' * (count != 1)}",
        f"task   {task:<47} cameras  {cameras} -> {optimization['width']}x{optimization['height']}",
        f"timing {config['latency']}, {setting['control_hz']:g} Hz control",
    ]
    lines += [f"encode {line}" for line in encode_lines(config)]
    lines += [f"rig    {line}" for line in machinery(setting)]
    if setting.get("speed") is not None:
        lines.append(f"speed  {setting['speed']:g} m/s in every episode")
    if setting["blackout"]:
        lines.append("control: the policy sees black images")
    if setting["swap_instruction"]:
        lines.append("control: the policy is told another object of the scene")
    return lines


class Bars:
    """Progress bars, one a name."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def add(self, name: str, total: int, done: int = 0) -> None:
        """A bar that stands at `done` of `total`."""
        self._tasks[name] = self._progress.add_task(name, total=total, completed=done, start=False)
        self._start_next()

    def advance(self, name: str) -> None:
        """One more is done."""
        self._progress.advance(self._tasks[name])
        self._start_next()

    def _start_next(self) -> None:
        """The time of a bar runs from when those above it are full."""
        for task in self._progress.tasks:
            if not task.started:
                self._progress.start_task(task.id)
            if task.completed < (task.total or 0):
                break


@contextmanager
def bars() -> Iterator[Bars]:
    """Bars on standard output, until the block ends."""
    console = Console()
    columns = (
        TextColumn("{task.description:<6}"),
        BarColumn(bar_width=22),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, speed_estimate_period=600) as progress:
        yield Bars(progress)
