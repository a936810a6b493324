"""How settings, policies and comparisons are put into words, the same in every table, page and summary."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from vlatency.agent.optimization import unusual
from vlatency.agent.realtime.reuse import Latest
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Shared
from vlatency.agent.realtime.timing import Timing
from vlatency.experiments.analysis.late_or_wrong import Split
from vlatency.experiments.analysis.paired import Interval, Paired
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.result import Policy, Result
from vlatency.experiments.shared.table import milliseconds, percent, points

NOT_MEASURED = "not measured"


def rate(success: Interval) -> str:
    """Such as "88 % [84, 91]"."""
    return f"{percent(success.estimate)} % {limits(success)}"


FIT, DASH = "fit", "\N{EM DASH}"
"""Beside a latency that was not measured in this very configuration, and in place of one that nobody knows."""


def vl_ms(result: Result) -> str:
    """Latency of an encode [ms], such as "381" or "376 fit"."""
    if result.setting.timing.latency.basis == "live" and result.mode != "pause":
        return "live"
    return milliseconds(result.vl_ms) + f" {FIT}" * result.fitted


def loop(result: Result, figure: str) -> str:
    """A figure of the control loop, which in sync rests on that latency."""
    return figure + f" {FIT}" * rate_fitted(result)


def rate_fitted(result: Result) -> bool:
    """Whether its control rate rests on a latency that was not measured in that configuration."""
    return result.fitted and result.mode == "sync"


def limits(interval: Interval) -> str:
    """The ends of an interval of a rate, such as "[84, 91]" [%]."""
    return f"[{percent(interval.low)}, {percent(interval.high)}]"


def difference(interval: Interval, unit: str = "") -> str:
    """Such as "-10 points [-31, +9]", with or without a unit."""
    return f"{points(interval.estimate)}{unit} [{points(interval.low)}, {points(interval.high)}]"


def comparison(result: Paired) -> str:
    """Difference, test and verdict."""
    p = result.p_value
    shown = "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"
    start = f"{difference(result.difference, ' points')}, McNemar p {shown}: {result.verdict}"
    if result.significant:
        return start
    if result.difference.estimate == 0:
        return f"{start} at n = {result.n} (a difference of 10 points would need about {result.needed})"
    return f"{start} at n = {result.n} (needs about {result.needed})"


def divided(split: Split) -> str:
    """The one line that answers "is it bad because it is wrong, or because it is late?"."""
    late, wrong = (
        part.verdict if part.significant else f"{part.verdict} at n = {part.n}" for part in (split.late, split.wrong)
    )
    return (
        f"{difference(split.total.difference, ' points')} = timing {difference(split.late.difference)} + "
        f"features {difference(split.wrong.difference)} + interaction {difference(split.interaction)}: "
        f"timing {late}, features {wrong}"
    )


def features(setting: Setting) -> str:
    """What the model is fed and when, such as "3 views, 224 px, batched, async"."""
    o, timing, guest = setting.optimization, setting.timing, setting.guest
    count, res = len(o.cameras), f"{o.width} px" if o.width == o.height else f"{o.width}x{o.height}"
    others = [word for name, word in unusual(asdict(o)).items() if name != "encoding"]
    words = [f"{count} view{'s' * (count != 1)}", res, o.encoding, *others, timing.mode]
    if guest:
        words = [", ".join(guest.cameras) or "no images", timing.mode]
    if timing.mode == "async" and timing.reuse != Latest():
        words.append(f"reuse {timing.reuse}")
    return ", ".join(words + surroundings(setting))


def surroundings(setting: Setting) -> list[str]:
    """What surrounds the model and is not as it is by default, in one item at most."""
    timing, usual = setting.timing, Timing(actions=setting.timing.actions)
    named = {
        "head": (setting.head, "regression"),
        "execution": (timing.execution, usual.execution),
        "servers": (timing.servers, usual.servers),
        "perf factor": (timing.latency.factor, 1.0),
    }
    said = [f"{name} {value}" for name, (value, default) in named.items() if value != default]
    said += [f"hold {timing.actions.hold}"] * bool(setting.guest)
    ideal = asdict(RobotTiming())
    said += [f"{key.replace('_', ' ')} {value}" for key, value in asdict(timing.robot).items() if value != ideal[key]]
    return ["; ".join(said)] if said else []


def encode_details(setting: Setting, feature_error: float | None) -> list[str]:
    """How views are encoded if not as by default, and how far off the features are, in one item at most."""
    said = [f"{name} {value}" for name, value in unusual(asdict(setting.optimization)).items()]
    if feature_error is not None:
        said.append(f"feature error {feature_error:.2g} of the norm, on the first look")
    return ["; ".join(said)] if said else []


def policy_line(policy: Policy) -> str:
    """The policy in a few words."""
    if policy.parameters is None:
        return f"{policy.name} ({policy.kind})"
    size = f"{policy.parameters / 1e6:.1f} M"
    return f"{Path(policy.name).name} ({size}{', stand-in for Qwen2.5-VL-3B' * policy.stand_in})"


def policy_lines(results: Iterable[Result]) -> str:
    """The policies that were evaluated, each once."""
    found = dict.fromkeys(policy_line(result.origin.policy) for result in results if result.origin)
    return ", ".join(found) or NOT_MEASURED


def latency_source(latency: str) -> str:
    """Where the latencies of an `Origin` come from, without their figures, such as "orin (Jetson Orin, measured)"."""
    source = latency.partition(": VL ")[0]
    return f"{source} (chosen, not measured)" if source.startswith("fixed") else source


def latency_sources(results: Iterable[Result]) -> str:
    """Where the latencies that were charged come from, each source once."""
    measured = [result for result in results if result.origin]
    found = dict.fromkeys(
        latency_source(result.origin.latency) for result in measured if result.origin and result.mode != "pause"
    )
    return ", ".join(found) or ("none, the world waits" if measured else NOT_MEASURED)


def servers_line(timing: Timing) -> str:
    """Which GPUs encoder and head are assumed to have."""
    servers = timing.servers
    if timing.stages == 1:
        return "one server for the whole inference"
    if not isinstance(servers, Shared):
        return "encoder and head each on its own GPU"
    if servers.contention > 1:
        return f"encoder and head on one GPU (contention {servers.contention:g})"
    return "encoder and head on one GPU, the head first"


def assumptions(results: Iterable[Result]) -> str:
    """What is taken for granted in every figure: whose success, which latency, which GPUs."""
    results = list(results)
    servers = dict.fromkeys(servers_line(result.setting.timing) for result in results if result.mode != "pause")
    holds = dict.fromkeys(result.setting.timing.actions.hold for result in results if result.setting.guest)
    said = [f"policy {policy_lines(results)}", f"latency {latency_sources(results)}", *servers]
    said += [f"hold {', '.join(holds)}"] * bool(holds)
    return " · ".join(said)
