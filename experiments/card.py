"""A policy's model card, written from its training history and from finished runs; nothing in it is typed by hand.

python experiments/card.py assets/policies/tiny runs/static-3v-224-7f3a runs/sweep-controls-9c1e runs/...
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from vlatency.experiments.shared.command import run
from vlatency.sim.errors import UsageError

INTRODUCTION = """\
# {name}

A stand-in for Qwen2.5-VL-3B of {parameters:.2f} M parameters: transformers' Qwen2.5-VL classes with a small
configuration behind {eyes}, a sensor encoder and an action head, trained from scratch in this simulator.
**Its success rates are its own, never those of the 3B**; what the latency profiles charge belongs to the real model.

It sees camera pixels, the instruction and the robot's sensors, and emits 8 absolute set-points at 10 Hz. It was taught
by a scripted expert with privileged state (`envs/expert.py`): first on demonstrations, then on the states that it ran
into itself (DAgger). Weights are float16 safetensors.

## Use

    from vlatency.agent.optimization import Optimization
    from vlatency.agent.vla.policy import VLAPolicy
    policy = VLAPolicy.from_pretrained("assets/policies/{name}", Optimization())
"""


PUBLISHED = """\
One part did not begin from scratch: {name} stands where Qwen2.5-VL has its vision tower,
with weights published for ImageNet. Its last two stages were trained further, all before them is as published
(`NOTICE` names the source).
"""


FLOW = """\
Beside the head that states a chunk it has one that samples chunks by flow matching (`--head flow`), which real-time
chunking needs (`--execution rtc`).
"""


@dataclass(frozen=True)
class Args:
    """Write README.md into a policy's folder."""

    policy: tyro.conf.Positional[Path]
    """The policy."""
    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Finished runs of this very policy, in the order of the table, and sweeps, also of policies trained from it."""


def main(args: Args) -> None:
    """Check that the runs are of this policy, and write its card."""
    from vlatency.experiments.evaluation.run_folder import CONFIG, SUMMARY_JSON, SWEEP
    from vlatency.experiments.evaluation.setting import hash_policy
    from vlatency.experiments.training.history import HISTORY_FILE

    sha256 = hash_policy(args.policy)
    history = json.loads(_read(args.policy / HISTORY_FILE))
    results, sweeps = [], []
    for folder in args.runs:
        if (folder / SWEEP).exists():
            sweeps += _sweep(folder, sha256, history)
            continue
        config, summary = json.loads(_read(folder / CONFIG)), json.loads(_read(folder / SUMMARY_JSON))
        if config["setting"]["policy_sha256"] != sha256:
            raise UsageError(f"{folder} is a run of other weights than {args.policy}; run it again")
        results.append((config, summary))
    if not results:
        raise UsageError("name at least one run of the policy, such as runs/static-3v-224-7f3a")
    parameters = results[0][0]["policy"]["parameters"] / 1e6
    policy = json.loads(_read(args.policy / "config.json"))
    eyes = "a few convolutions" if policy["stem_channels"] else policy["vision_encoder"]
    parts = [
        INTRODUCTION.format(name=args.policy.name, parameters=parameters, eyes=eyes),
        *([PUBLISHED.format(name=eyes)] if policy["vision_weights"] else []),
        *([FLOW] if policy.get("flow_width") else []),
        *_results(results),
        *sweeps,
        *_training(history),
    ]
    path = args.policy / "README.md"
    path.write_text("\n".join(parts) + "\n")
    print(f"{path}  {len(results)} runs")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _results(results: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    from vlatency.experiments.reporting.run_summary import machinery

    lines = [
        "## Results",
        "",
        "| task | mode | views, encoder input | latency | control | success | 95 % interval | time to success |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for config, summary in results:
        setting, o = config["setting"], config["setting"]["optimization"]
        control = "black images" if setting["blackout"] else "swapped instruction" * setting["swap_instruction"]
        speed = "" if setting["speed"] is None else f" at {setting['speed']:g} m/s"
        for cell in summary["cells"]:
            seconds = cell["time_to_success_s"]
            how = ", ".join([cell["mode"], *machinery(setting)])
            lines.append(
                f"| {setting['task']}{speed} | {how} | {len(o['cameras'])}, {o['width']}x{o['height']} "
                f"| {'none' if cell['mode'] == 'pause' else setting['latency']} | {control or '-'} "
                f"| {cell['k']}/{cell['n']} | {100 * cell['ci_low']:.1f} to {100 * cell['ci_high']:.1f} % "
                f"| {'-' if seconds is None else f'{seconds:.1f} s'} |"
            )
    machine = {(c["machine"]["cores"], c["gl_renderer"]) for c, _ in results}
    where = "; ".join(f"{cores} cores, no GPU used by the policy, drawn by {gl}" for cores, gl in sorted(machine))
    return [*lines, "", f"Machine: {where}. Commands, in the order of the table:", ""] + [
        f"    {config['command']}" for config, _ in results
    ]


def _sweep(folder: Path, sha256: str, history: list[dict[str, Any]]) -> list[str]:
    """What a sweep says, as it said it. UsageError if a cell of it is of a policy that has nothing to do with ours."""
    from vlatency.experiments.evaluation.run_folder import CONFIG, SWEEP
    from vlatency.experiments.reporting.study import printed
    from vlatency.experiments.training.history import HISTORY_FILE

    sweep = json.loads(_read(folder / SWEEP))
    for cell in sweep["cells"]:
        if cell["setting"]["policy_sha256"] != sha256:
            config = json.loads(_read(folder.parent / "cells" / cell["folder"] / CONFIG))
            theirs = Path(config["policy"]["folder"])
            if json.loads(_read(theirs / HISTORY_FILE))[: len(history)] != history:
                raise UsageError(f"{folder} compares {theirs}, which was not trained from this policy")
    about = sweep["about"][0].upper() + sweep["about"][1:]
    return ["", f"## {about}", "", "```", printed(folder), "```", "", f"    {sweep['command']}"]


def _training(history: list[dict[str, Any]]) -> list[str]:
    lines = ["", "## Training", ""]
    for number, entry in enumerate(history, 1):
        # A note tells what no command does.
        score = ", ".join(f"{name} {value:.3g}" for name, value in entry["score"].items())
        lines += [
            f"{number}. {entry['moments']} pictured moments, seed {entry['config']['seed']}; "
            f"afterwards on episodes kept aside: {score}" + (f". Note: {entry['note']}" if "note" in entry else ""),
            "",
            f"       {entry['command']}",
            "",
        ]
    versions = ", ".join(f"{name} {version}" for name, version in history[-1]["versions"].items())
    return [
        *lines,
        f"Versions: {versions}.",
        "",
        "`make train` makes a policy like `tiny` from nothing; how that one does stands in the project's README.",
    ]


if __name__ == "__main__":
    run(main, Args)
