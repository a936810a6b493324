"""What to ship, in words: the answer, how far it is from the cliff, what would flip it, and where that comes from."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlatency.experiments.analysis.paired import POWER, wilson
from vlatency.experiments.reporting.candidates import Option
from vlatency.experiments.reporting.headline import rate
from vlatency.experiments.reporting.interpolation import Measured, believe, cliff
from vlatency.experiments.reporting.run_summary import policy_line

if TYPE_CHECKING:
    from vlatency.experiments.recommend import Args

MOST_EPISODES = 1_000_000


def advice(options: Sequence[Option], everywhere: Sequence[Measured], args: "Args") -> list[tuple[str, str]]:
    """Titles and sentences.

    Args:
        options: in the order of `rank`.
        everywhere: cells of the task at any speed.
    """
    able = [option for option in options if option.rate_hz >= args.control_hz]
    known = [option for option in able if option.believed]
    enough = [option for option in known if meets(option, args) == "enough"]
    maybe = [option for option in known if meets(option, args) == "cannot tell"]
    wanted = f"{args.min_success:.0%}"
    if enough:
        best = enough[0]
        ship = f"ship {best.describe()}: the whole interval is at or above {wanted}"
        if best.at_best:
            ship += f", if its real VL p95 stays below {_holds_until(best, args):.0f} ms: no device beats its roofline"
        return [("answer", ship), ("margin", margin(best, args)), *flips(best, everywhere, args), *_behind(best)]
    if maybe:
        best = maybe[0]
        assert best.believed
        said = f"cannot tell: {best.describe()} may be above or below {wanted}"
        more = needed(best.believed.success.estimate, args.min_success)
        how = "; no number of episodes tells so close a rate"
        if best.believed.how != "at":
            how = "; only other latencies were measured: measure it at this one"
        elif more:
            how = f"; about {more} episodes would tell with a chance of {POWER:.0%}, if that is its rate"
        return [("answer", said + how), ("margin", margin(best, args)), *_behind(best)]
    if not options or not any(option.believed for option in options):
        return [("answer", _nothing(options, everywhere, args))]
    if not able:
        best = max(options, key=lambda option: option.rate_hz)
        return [("answer", f"none: no measured configuration keeps {args.control_hz:g} Hz; {best.name} is the fastest")]
    unknown = [option.name for option in able if not option.believed]
    below = f"the best that keeps up is {known[0].describe()}, below {wanted}" if known else "nothing else keeps up"
    if unknown:
        said = f"cannot tell: {below}, but {'; '.join(unknown)} was measured at shorter latencies only"
        return [("answer", said), *(_behind(known[0]) if known else ())]
    return [("answer", f"none: {below}"), *_behind(known[0])]


def _holds_until(option: Option, args: "Args") -> float:
    """The greatest VL p95 [ms] at which the option is known to be good enough."""
    assert option.believed
    fall = cliff(option.cells, args.min_success)
    return max(option.believed.cells[-1].charged.vl_p95_ms, (fall.low if fall else None) or 0.0)


def _nothing(options: Sequence[Option], everywhere: Sequence[Measured], args: "Args") -> str:
    speeds = sorted({cell.setting["speed"] for cell in everywhere if cell.setting["speed"] is not None})
    there = f" (its measured speeds are {', '.join(f'{speed:g}' for speed in speeds)})" if speeds else ""
    if options:
        return "cannot tell: every configuration was measured at shorter latencies than this device's only"
    where = args.task if args.speed is None else f"{args.task} at {args.speed:g} m/s"
    return f"cannot tell: nothing is measured on {where} at {args.control_hz:g} Hz in {args.cells}{there}"


def meets(option: Option, args: "Args") -> str:
    """Whether its success is enough: enough, too little, cannot tell."""
    assert option.believed
    success = option.believed.success
    if success.low >= args.min_success:
        return "enough"
    return "too little" if success.high < args.min_success else "cannot tell"


def margin(option: Option, args: "Args") -> str:
    """How far the option is from where its success falls below what is asked for."""
    fall = cliff(option.cells, args.min_success)
    if fall is None:
        return "not measured: this configuration has cells at one latency only"
    here = f"this device takes {option.charged.vl_p95_ms:.0f} ms{' at best' * option.at_best}"
    if fall.low is None and fall.high is None:
        return f"cannot tell where success falls below {args.min_success:.0%}; {here}"
    if fall.low == fall.fastest:
        return f"holds at all tested VL p95, up to {fall.fastest:.0f} ms; {here}"
    if fall.high == fall.slowest:
        return f"fails at all tested VL p95, from {fall.slowest:.0f} ms on; {here}"
    holds = f"holds until VL p95 is {fall.low:.0f} ms" if fall.low is not None else "cannot tell until where it holds"
    fails = f"fails from {fall.high:.0f} ms on" if fall.high is not None else "cannot tell from where on it fails"
    return f"{holds}, {fails}; {here}"


def flips(option: Option, everywhere: Sequence[Measured], args: "Args") -> list[tuple[str, str]]:
    """What would change the answer, as far as it is measured."""
    assert option.believed
    found = []
    fall = cliff(option.cells, args.min_success)
    if fall and fall.low is not None and fall.low < fall.fastest:
        found.append(f"a VL p95 above {fall.low:.0f} ms")
    found.append(f"--min-success above {math.floor(100 * option.believed.success.low) / 100:.2f}")
    if math.isfinite(option.rate_hz):
        found.append(f"--control-hz above {option.rate_hz:.3g}, which it does not keep")
    same = [cell for cell in everywhere if cell.configuration == option.cells[0].configuration]
    for speed in sorted({cell.setting["speed"] for cell in same} - {None, args.speed}):
        there = believe([cell for cell in same if cell.setting["speed"] == speed], option.charged)
        if there and there.success.high < args.min_success:
            found.append(f"--speed {speed:g}, where success is {rate(there.success)}")
            break
    return [("flips", "; ".join(found))]


def _behind(option: Option) -> list[tuple[str, str]]:
    """Where the figures come from."""
    assert option.believed
    cells = option.believed.cells
    policies = ", ".join(dict.fromkeys(policy_line(cell.policy) for cell in cells))
    said = f"success is that of {policies}; latency is {option.provenance}"
    heads = sorted({cell.charged.head_ms for cell in cells})
    if any(not math.isclose(head, option.charged.head_ms, rel_tol=0.1) for head in heads):
        measured = " and ".join(f"{head:g}" for head in heads)
        said += f"; measured with a head of {measured} ms, this device takes {option.charged.head_ms:.3g}"
    commands = " and ".join(dict.fromkeys(cell.command for cell in cells))
    return [("behind", said), ("cells", f"measured by {commands}")]


def needed(estimate: float, least: float) -> int | None:
    """Episodes after which Wilson's interval no longer holds `least`, with a power of 80 %, if the rate is `estimate`.

    None if a million are too few.
    """
    from scipy.stats import binom

    def clears(n: int) -> bool:
        if estimate >= least:
            successes = bisect_left(range(n + 1), True, key=lambda k: wilson(k, n).low >= least)
            return bool(binom.sf(successes - 1, n, estimate) >= POWER)
        too_many = bisect_left(range(n + 1), True, key=lambda k: wilson(k, n).high >= least)
        return bool(binom.cdf(too_many - 1, n, estimate) >= POWER)

    n = 8
    while n <= MOST_EPISODES and not clears(n):
        n *= 2
    if n > MOST_EPISODES:
        return None
    low, high = n // 2, n
    while high - low > max(1, high // 50):  # an estimate: 2 % is enough
        middle = (low + high) // 2
        low, high = (low, middle) if clears(middle) else (middle, high)
    return high
