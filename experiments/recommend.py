"""Which configuration to ship on a device, from the cells that sweeps have measured; "cannot tell" when they cannot."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlatency.experiments.shared import command

if TYPE_CHECKING:
    from vlatency.experiments.reporting.candidates import Option


@dataclass(frozen=True)
class Args:
    """Say which configuration to ship on a device, how far it is from the cliff, and what would flip that.

    Nothing is run: success is looked up in measured cells, taken between two of them, or at least that of a slower one.
    """

    device: str
    """What charges the clock: a latency profile (name or path), a device of the roofline, or fixed:VL_MS,HEAD_MS."""
    control_hz: float = 10.0
    """Control ticks a second that the configuration has to serve [Hz]."""
    min_success: float = 0.9
    """The least success that is good enough, between 0 and 1."""
    task: str = "static"
    """Pick task."""
    speed: float | None = None
    """conveyor, turntable: speed of the belt or of the rim [m/s]; cells of drawn speeds if left out."""
    policy: str = "tiny"
    """A policy in assets/policies, or the folder of another one; cells of others are not used."""
    cells: str = "runs/cells"
    """Folder of the measured cells."""


def main(args: Args) -> None:
    """Print the options, the answer, the margin, what would flip it, and the commands."""
    from rich.console import Console
    from rich.text import Text

    from vlatency.envs.tasks import check_speed, find_task
    from vlatency.experiments.evaluation.setting import MAX_CONTROL_HZ, MIN_CONTROL_HZ, find_policy, hash_policy
    from vlatency.experiments.reporting.candidates import dominated, make_options, rank
    from vlatency.experiments.reporting.interpolation import read_cells
    from vlatency.experiments.reporting.recommendation import advice
    from vlatency.experiments.shared import provenance
    from vlatency.sim.errors import UsageError

    command.check_range("control-hz", args.control_hz, MIN_CONTROL_HZ, MAX_CONTROL_HZ)
    if not 0 < args.min_success < 1:
        raise UsageError(f"min-success must be above 0 and below 1, not {args.min_success:g}")
    check_speed(find_task(args.task), args.speed)
    device = find_device(args.device)
    if args.cells != Args.cells and not Path(args.cells).is_dir():
        raise UsageError(f"--cells: there is no folder {args.cells}; sweeps write to {Args.cells}")
    policy = hash_policy(find_policy(args.policy))
    found, others = read_cells(Path(args.cells))
    cells = [cell for cell in found if cell.setting["policy_sha256"] == policy]
    mine = [cell for cell in cells if _suits(cell.setting, args)]
    options = rank(make_options(mine, device), args.control_hz)
    console = Console(highlight=False, soft_wrap=True)
    place = f"{args.task} at {args.speed:g} m/s" if args.speed is not None else args.task
    asked = f"{place}, {args.control_hz:g} Hz, success of at least {args.min_success:.0%}; device {device}"
    console.print(Text(asked))
    if others:
        console.print(f"note: {others} cells come from other software and are not used")
    if len(cells) < len(found):
        console.print(f"note: {len(found) - len(cells)} cells are of other policies than {args.policy} and not used")
    for option, beaten in zip(options, dominated(options), strict=True):
        line = _line(option, args, options, beaten)
        console.print(Text(line, style="strike" if beaten is not None else ""))
    console.print()
    for title, text in advice(options, [cell for cell in cells if _suits(cell.setting, args, False)], args):
        console.print(Text(f"{title:<8}{text}", style="bold" if title == "answer" else ""))
    if not options:
        console.print(Text(f"{'next':<8}{_measure(args)}"))
    console.print(Text(f"{'again':<8}{provenance.command_line(sys.argv)}"))


def find_device(name: str) -> str:
    """The latency model of that name, or of roofline:NAME. UsageError, naming what there is, otherwise."""
    from vlatency.experiments.reporting.interpolation import latency
    from vlatency.sim.errors import UsageError

    complaint = None
    for found in (name, f"roofline:{name}"):
        try:
            latency(found, {})
            return found
        except UsageError as error:
            complaint = complaint or error
    raise UsageError(f"--device: {complaint}")


def _suits(setting: dict[str, Any], args: Args, at_speed: bool = True) -> bool:
    """Measured where the question is asked; pause is no way to run a robot, and controls are no policies."""
    return (
        (setting["task"], setting["control_hz"]) == (args.task, args.control_hz)
        and (not at_speed or setting["speed"] == args.speed)
        and setting["modes"] != ["pause"]
        and not setting["blackout"]
        and not setting["swap_instruction"]
    )


def _measure(args: Args) -> str:
    """What to type where nothing is measured."""
    from vlatency.experiments.sweeps.plan import presets, read_plan

    asked = [name for name in presets() if any(_suits(setting.as_json(), args) for setting in read_plan(name).settings)]
    if not asked:
        return "no sweep that ships measures this; write one for python experiments/sweep.py (see sweeps/plan.py)"
    return f"python experiments/sweep.py {asked[0]}" + (f" (or {', '.join(asked[1:])})" if asked[1:] else "")


def _line(option: "Option", args: Args, options: Sequence["Option"], beaten: int | None) -> str:
    from vlatency.experiments.reporting.headline import rate
    from vlatency.experiments.reporting.recommendation import meets

    width = max(len(each.name) for each in options)
    least = " at least" * option.at_best
    head = f"  {options.index(option) + 1:>2}  {option.name:<{width}}  VL p95{least} {option.charged.vl_p95_ms:5.0f} ms"
    head += f"  {option.rate_hz:6.1f} Hz {'keeps up' if option.rate_hz >= args.control_hz else 'too slow':<8}"
    if option.believed is None:
        ms = sorted(cell.charged.vl_p95_ms for cell in option.cells)
        where = f"from {ms[0]:.0f} to {ms[-1]:.0f}" if ms[0] < ms[-1] else f"at {ms[0]:.0f}"
        return f"{head}  not measured at this latency, only {where} ms"
    verdict = meets(option, args) + " at best" * (option.at_best and meets(option, args) == "enough")
    success = f"{rate(option.believed.success)} {verdict} ({option.believed.describe()})"
    return f"{head}  {success}" + (f"; dominated by {beaten + 1}" if beaten is not None else "")


if __name__ == "__main__":
    command.run(main, Args)
