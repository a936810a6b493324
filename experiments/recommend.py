"""Which configuration to ship on a device, from the cells that sweeps have measured; "cannot tell" when they cannot."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import cli

if TYPE_CHECKING:
    from experiments.belief import Believed, Measured

MOST_EPISODES = 1_000_000


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
    cells: str = "runs/cells"
    """Folder of the measured cells."""


@dataclass(frozen=True)
class Option:
    """A configuration on the device.

    Attributes:
        name: what the model is fed and when.
        cells: where it was measured on this task, at any latency.
        vl_p95_ms: of an encode on the device [ms].
        rate_hz: control ticks a second it serves, at that percentile [Hz].
        head_ms: of the device [ms].
        provenance: of the latency.
        believed: success at that latency; None if only shorter ones were measured.
    """

    name: str
    cells: tuple["Measured", ...]
    vl_p95_ms: float
    rate_hz: float
    head_ms: float
    provenance: str
    believed: "Believed | None"

    def describe(self) -> str:
        """Name and success."""
        assert self.believed
        from experiments.answer import rate

        return f"{self.name} ({rate(self.believed.success)}, n = {self.believed.n})"


def main(args: Args) -> None:
    """Print the options, the answer, the margin, what would flip it, and the commands."""
    from rich.console import Console
    from rich.text import Text

    from envs.tasks import check_speed, find_task
    from experiments import provenance
    from experiments.belief import read_cells
    from experiments.setting import MAX_CONTROL_HZ, MIN_CONTROL_HZ, check_range
    from sim.errors import UsageError

    check_range("control-hz", args.control_hz, MIN_CONTROL_HZ, MAX_CONTROL_HZ)
    if not 0 < args.min_success < 1:
        raise UsageError(f"min-success must be above 0 and below 1, not {args.min_success:g}")
    check_speed(find_task(args.task), args.speed)
    device = find_device(args.device)
    cells, others = read_cells(Path(args.cells))
    mine = [cell for cell in cells if _suits(cell.setting, args)]
    options = rank(make_options(mine, device), args.control_hz)
    console = Console(highlight=False, soft_wrap=True)
    place = f"{args.task} at {args.speed:g} m/s" if args.speed is not None else args.task
    asked = f"{place}, {args.control_hz:g} Hz, success of at least {args.min_success:.0%}; device {device}"
    console.print(Text(asked))
    if others:
        console.print(f"note: {others} cells come from other software and are not used")
    for option, beaten in zip(options, dominated(options), strict=True):
        line = _line(option, args, options, beaten)
        console.print(Text(line, style="strike" if beaten is not None else ""))
    console.print()
    for title, text in advice(options, [cell for cell in cells if _suits(cell.setting, args, False)], args):
        console.print(Text(f"{title:<8}{text}", style="bold" if title == "answer" else ""))
    console.print(Text(f"{'again':<8}{provenance.command_line(sys.argv)}"))


def find_device(name: str) -> str:
    """The latency model of that name, or of roofline:NAME. UsageError, naming what there is, otherwise."""
    from experiments.belief import latency
    from sim.errors import UsageError

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


def make_options(cells: Sequence["Measured"], device: str) -> list[Option]:
    """One a configuration, with the latency of the device and what the cells say of that."""
    from experiments.belief import believe, latency, vl_p95_ms
    from experiments.summary import features

    groups: dict[str, list[Measured]] = {}
    for cell in cells:
        groups.setdefault(cell.configuration, []).append(cell)
    policies = {cell.setting["policy_sha256"] for cell in cells}
    options = []
    for group in groups.values():
        setting, (mode,) = group[0].setting, group[0].setting["modes"]
        model = latency(device, setting["optimization"])
        p95 = vl_p95_ms(model)
        head = model.head_ms * (1 if setting["servers"] == "two" else model.contention)
        loop = head + (p95 if mode == "sync" else 0.0)
        name = features(setting, mode)
        if len(policies) > 1:
            name += f", policy {Path(group[0].policy['folder']).name} {setting['policy_sha256'][:4]}"
        options.append(
            Option(
                name=name,
                cells=tuple(group),
                vl_p95_ms=p95,
                rate_hz=1000 / loop if loop else math.inf,
                head_ms=model.head_ms,
                provenance=model.describe().partition(":")[0],
                believed=believe(group, p95),
            )
        )
    return options


def rank(options: Sequence[Option], control_hz: float) -> list[Option]:
    """Those that keep up first, then by success, then by rate, then by latency."""

    def merit(option: Option) -> tuple[bool, float, float, float]:
        success = option.believed.success.estimate if option.believed else -1.0
        return option.rate_hz >= control_hz, success, option.rate_hz, -option.vl_p95_ms

    return sorted(options, key=merit, reverse=True)


def dominated(options: Sequence[Option]) -> list[int | None]:
    """Of each option, the first one that has no less success at no less a rate, and more of one of them.

    An option of which only a lower bound is known is beaten by none.
    """

    def beats(one: Option, two: Option) -> bool:
        if not one.believed or not two.believed or two.believed.how == "at least":
            return False
        a = one.believed.success.estimate, round(one.rate_hz, 6)
        b = two.believed.success.estimate, round(two.rate_hz, 6)
        return a != b and a[0] >= b[0] and a[1] >= b[1]

    return [next((i for i, one in enumerate(options) if beats(one, two)), None) for two in options]


def _line(option: Option, args: Args, options: Sequence[Option], beaten: int | None) -> str:
    from experiments.answer import rate

    width = max(len(each.name) for each in options)
    head = f"  {options.index(option) + 1:>2}  {option.name:<{width}}  VL p95 {option.vl_p95_ms:5.0f} ms"
    head += f"  {option.rate_hz:6.1f} Hz {'keeps up' if option.rate_hz >= args.control_hz else 'too slow':<8}"
    if option.believed is None:
        ms = sorted(cell.vl_p95_ms for cell in option.cells)
        where = f"from {ms[0]:.0f} to {ms[-1]:.0f}" if ms[0] < ms[-1] else f"at {ms[0]:.0f}"
        return f"{head}  not measured at this latency, only {where} ms"
    success = f"{rate(option.believed.success)} {_meets(option, args)} ({option.believed.describe()})"
    return f"{head}  {success}" + (f"; dominated by {beaten + 1}" if beaten is not None else "")


def _meets(option: Option, args: Args) -> str:
    assert option.believed
    success = option.believed.success
    if success.low >= args.min_success:
        return "enough"
    return "too little" if success.high < args.min_success else "cannot tell"


def advice(options: Sequence[Option], everywhere: Sequence["Measured"], args: Args) -> list[tuple[str, str]]:
    """Titles and sentences.

    Args:
        options: in the order of `rank`.
        everywhere: cells of the task at any speed.
    """
    able = [option for option in options if option.believed and option.rate_hz >= args.control_hz]
    enough = [option for option in able if _meets(option, args) == "enough"]
    maybe = [option for option in able if _meets(option, args) == "cannot tell"]
    wanted = f"{args.min_success:.0%}"
    if enough:
        best = enough[0]
        ship = f"ship {best.describe()}: the whole interval is at or above {wanted}"
        return [("answer", ship), ("margin", margin(best, args)), *flips(best, everywhere, args), *_behind(best)]
    if maybe:
        best = maybe[0]
        assert best.believed
        said = f"cannot tell: {best.describe()} may be above or below {wanted}"
        more = needed(best.believed.success.estimate, args.min_success)
        how = f"; about {more} episodes would tell" if more else "; no number of episodes tells so close a rate"
        if best.believed.how != "at":
            how = "; only other latencies were measured: measure it at this one"
        return [("answer", said + how), ("margin", margin(best, args)), *_behind(best)]
    if able:
        return [("answer", f"none: the best that keeps up is {able[0].describe()}, below {wanted}"), *_behind(able[0])]
    if any(option.believed for option in options):
        best = max(options, key=lambda option: option.rate_hz)
        return [("answer", f"none: no measured configuration keeps {args.control_hz:g} Hz; {best.name} is the fastest")]
    return [("answer", _nothing(options, everywhere, args))]


def _nothing(options: Sequence[Option], everywhere: Sequence["Measured"], args: Args) -> str:
    speeds = sorted({cell.setting["speed"] for cell in everywhere if cell.setting["speed"] is not None})
    there = f" (its measured speeds are {', '.join(f'{speed:g}' for speed in speeds)})" if speeds else ""
    if options:
        return "cannot tell: every configuration was measured at shorter latencies than this device's only"
    where = args.task if args.speed is None else f"{args.task} at {args.speed:g} m/s"
    return f"cannot tell: nothing is measured on {where} at {args.control_hz:g} Hz in {args.cells}{there}"


def margin(option: Option, args: Args) -> str:
    """How far the option is from where its success falls below what is asked for."""
    from experiments.belief import cliff

    fall = cliff(option.cells, args.min_success)
    if fall is None:
        return "not measured: this configuration has cells at one latency only"
    here = f"this device takes {option.vl_p95_ms:.0f} ms"
    if fall.low is None and fall.high is None:
        return f"cannot tell where success falls below {args.min_success:.0%}; {here}"
    if fall.estimate is None:
        return f"{'holds' if fall.above else 'fails'} at all tested VL p95, up to {fall.fastest:.0f} ms; {here}"
    low = f"{fall.slowest:.0f} or less" if fall.low is None else f"{fall.low:.0f}"
    high = f"{fall.fastest:.0f} or more" if fall.high is None else f"{fall.high:.0f}"
    return f"holds until VL p95 is {fall.estimate:.0f} ms [{low}, {high}]; {here}"


def flips(option: Option, everywhere: Sequence["Measured"], args: Args) -> list[tuple[str, str]]:
    """What would change the answer, as far as it is measured."""
    from experiments.answer import rate
    from experiments.belief import believe, cliff

    assert option.believed
    found = []
    fall = cliff(option.cells, args.min_success)
    if fall and fall.low is not None and fall.low < fall.fastest:
        found.append(f"a VL p95 above {fall.low:.0f} ms")
    found.append(f"--min-success above {math.floor(100 * option.believed.success.low) / 100:.2f}")
    if math.isfinite(option.rate_hz):
        found.append(f"--control-hz above {option.rate_hz:.3g}")
    same = [cell for cell in everywhere if cell.configuration == option.cells[0].configuration]
    for speed in sorted({cell.setting["speed"] for cell in same} - {None, args.speed}):
        there = believe([cell for cell in same if cell.setting["speed"] == speed], option.vl_p95_ms)
        if there and there.success.high < args.min_success:
            found.append(f"--speed {speed:g}, where success is {rate(there.success)}")
            break
    return [("flips", "; ".join(found))]


def _behind(option: Option) -> list[tuple[str, str]]:
    """Where the figures come from."""
    from experiments.summary import policy_line

    assert option.believed
    cells = option.believed.cells
    policies = ", ".join(dict.fromkeys(policy_line(cell.policy) for cell in cells))
    said = f"success is that of {policies}; latency is {option.provenance}"
    heads = sorted({cell.setting["head_ms"] for cell in cells})
    if any(not math.isclose(head, option.head_ms, rel_tol=0.1) for head in heads):
        measured = " and ".join(f"{head:g}" for head in heads)
        said += f"; measured with a head of {measured} ms, this device takes {option.head_ms:.3g}"
    commands = " and ".join(dict.fromkeys(cell.command for cell in cells))
    return [("behind", said), ("cells", f"measured by {commands}")]


def needed(estimate: float, least: float) -> int | None:
    """Episodes after which Wilson's interval around a rate no longer holds `least`; None if no number does."""
    from experiments.stats import wilson

    def clear(n: int) -> bool:
        interval = wilson(round(estimate * n), n)
        return not interval.low < least <= interval.high

    n = 8
    while n <= MOST_EPISODES and not clear(n):
        n *= 2
    if n > MOST_EPISODES:
        return None
    low, high = n // 2, n
    while high - low > max(1, high // 50):  # an estimate: 2 % is enough
        middle = (low + high) // 2
        low, high = (low, middle) if clear(middle) else (middle, high)
    return high


if __name__ == "__main__":
    cli.run(main, Args)
