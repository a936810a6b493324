"""A policy's model card, from its training history and from runs and sweeps; nothing in it is typed by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.experiments.evaluation.policies import hash_policy
from vlatency.experiments.evaluation.run_folder import SWEEP
from vlatency.experiments.reporting.result import Result
from vlatency.experiments.reporting.study import Study
from vlatency.experiments.reporting.summary import Summary
from vlatency.experiments.reporting.summary_text import text
from vlatency.experiments.reporting.wording import surroundings
from vlatency.experiments.shared.table import markdown_table
from vlatency.sim.errors import UsageError

History = list[dict[str, Any]]
HEADS = ("task", "mode", "views, encoder input", "latency", "control", "success", "95 % interval", "time to success")
INTRODUCTION = """\
# {name}

A stand-in for Qwen2.5-VL-3B with {parameters:.2f} M parameters: transformers' Qwen2.5-VL classes in a small
configuration behind {eyes}, a sensor encoder and an action head, trained from scratch in this simulator.
**Its success rates are its own, never those of the 3B**; the latency profiles belong to the real model.

It gets camera pixels, the instruction and the robot's sensors, and gives 8 absolute set-points at 10 Hz. A scripted
expert with privileged state (`envs/expert.py`) taught it: first with demonstrations, then with corrections in the
states that the policy itself ran into (DAgger). Weights are float16 safetensors.

## Use

    from vlatency.agent.optimization import Optimization
    from vlatency.agent.vla.policy import VLAPolicy
    policy = VLAPolicy.from_pretrained("assets/policies/{name}", Optimization())
"""
PUBLISHED = """\
One part was not trained from scratch: {name} takes the place of Qwen2.5-VL's vision tower, with weights published for
ImageNet. Its last two stages were trained further; everything before them is as published (`NOTICE` names the source).
"""
FLOW = """\
Beside the head that states a chunk it has one that samples chunks by flow matching (`--head flow`), which real-time
chunking needs (`--execution rtc`).
"""


def model_card(policy: Path, studies: Sequence[Study], history_of: Callable[[Path], History]) -> str:
    """The card, as Markdown.

    Args:
        policy: its folder.
        studies: runs of this very policy, at least one, in the order of the table; and sweeps, which may also compare
            policies that were trained from it.
        history_of: reads the training history of the policy in a folder, one entry a training.

    Raises:
        UsageError: there is no run, or one of the studies is of an unrelated policy.
    """
    sha256, history = hash_policy(policy), history_of(policy)
    sweeps = [study for study in studies if (study.folder / SWEEP).is_file()]
    runs = [study for study in studies if study not in sweeps]
    for run in runs:
        if any(result.setting.policy_sha256 != sha256 for result in run.summary.results):
            raise UsageError(f"{run.folder} is a run of other weights than {policy}; run it again")
    for sweep in sweeps:
        for other in {Path(cell.policy) for cell in sweep.summary.plan.cells if cell.setting.policy_sha256 != sha256}:
            if history_of(other)[: len(history)] != history:
                raise UsageError(f"{sweep.folder} compares {other}, which was not trained from this policy")
    results = [result for run in runs for result in run.summary.results if result.n]
    if not results or not results[0].origin:
        raise UsageError("name at least one run of the policy that has episodes, such as runs/static-3v-224-7f3a")
    config = PolicyConfig.from_json((policy / "config.json").read_text(encoding="utf-8"))
    eyes = "a few convolutions" if config.stem_channels else config.vision_encoder
    parameters = (results[0].origin.policy.parameters or 0) / 1e6
    parts = [
        INTRODUCTION.format(name=policy.name, parameters=parameters, eyes=eyes),
        *[PUBLISHED.format(name=eyes)] * bool(config.vision_weights),
        *[FLOW] * bool(config.flow_width),
        *_results(results, [run.summary for run in runs]),
        *(line for sweep in sweeps for line in _sweep(sweep.summary)),
        *_training(history),
    ]
    return "\n".join(parts) + "\n"


def _results(results: Sequence[Result], runs: Sequence[Summary]) -> list[str]:
    devices = ", ".join(dict.fromkeys(result.setting.device for result in results))
    renderers = ", ".join(dict.fromkeys(run.software["gl_renderer"] for run in runs))
    return [
        "## Results",
        "",
        *markdown_table(HEADS, [_row(result) for result in results]),
        "",
        f"Policy on {devices}, images drawn by {renderers}. Commands, in the order of the table:",
        "",
        *(f"    {run.command}" for run in runs),
    ]


def _row(result: Result) -> list[str]:
    setting, o, success = result.setting, result.setting.optimization, result.success
    assert success
    seconds = result.time_to_success_s
    return [
        result.task if setting.speed is None else f"{result.task} at {setting.speed:g} m/s",
        ", ".join([result.mode, *surroundings(setting)]),
        f"{len(o.cameras)}, {o.width}x{o.height}",
        "none" if result.mode == "pause" else setting.timing.latency.name,
        "black images" if setting.blackout else "swapped instruction" if setting.swap_instruction else "-",
        f"{result.k}/{result.n}",
        f"{100 * success.low:.1f} to {100 * success.high:.1f} %",
        "-" if seconds is None else f"{seconds:.1f} s",
    ]


def _sweep(summary: Summary) -> list[str]:
    """What a sweep says, as it prints it."""
    about = summary.plan.about or summary.plan.name
    return ["", f"## {about[0].upper()}{about[1:]}", "", "```", *text(summary), "```", "", f"    {summary.command}"]


def _training(history: History) -> list[str]:
    lines = ["", "## Training", ""]
    for number, entry in enumerate(history, 1):
        # A note says what no command does.
        score = ", ".join(f"{name} {value:.3g}" for name, value in entry["score"].items())
        lines += [
            f"{number}. {entry['moments']} moments with images, seed {entry['config']['seed']}; "
            f"on validation episodes: {score}" + (f". Note: {entry['note']}" if "note" in entry else ""),
            "",
            f"       {entry['command']}",
            "",
        ]
    versions = ", ".join(f"{name} {version}" for name, version in history[-1]["versions"].items())
    return [*lines, f"Versions: {versions}.", "", "`make train` trains a policy like `tiny` from scratch."]
