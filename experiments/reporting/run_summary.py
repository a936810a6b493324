"""What a run says: summary.json, summary.md and the table that is printed, from config.json and episodes.jsonl."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlatency.agent.optimization import unusual


def summary(config: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What summary.json holds: provenance, one cell a mode, and the comparisons on shared seeds.

    Args:
        config: config.json of the run.
        rows: its episodes.jsonl.
    """
    from vlatency.experiments.evaluation import feature_ages
    from vlatency.experiments.reporting.mode_table import compare, summarize

    return {
        **{key: config[key] for key in ("name", "hash", "setting", "policy", "latency", "command", "gl_renderer")},
        "cells": summarize(rows, config["setting"]["vl_ms"]),
        "against_pause": {mode: asdict(result) for mode, result in compare(rows).items()},
        "feature_age": {
            "bins_ms": [feature_ages.label(place) for place in range(len(feature_ages.EDGES_MS))],
            **_histograms(rows),
        },
        "success_against_age": feature_ages.success_against_age(rows),
    }


def _histograms(rows: list[dict[str, Any]]) -> dict[str, list[int]]:
    from vlatency.agent.realtime.episode import MODES
    from vlatency.experiments.evaluation.feature_ages import total

    return {mode: total(mine) for mode in MODES if (mine := [row for row in rows if row["mode"] == mode])}


def conclusions(config: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """The sentences under the table."""
    from vlatency.experiments.reporting.mode_table import compare, swap_line, verdict

    against = compare(rows)
    lines = [verdict(mode, result) for mode, result in against.items()]
    if len(against) > 1:
        lines.append(f"p-values are exact McNemar on shared seeds, adjusted by Holm over {len(against)} comparisons")
    if config["setting"]["swap_instruction"] and rows:
        lines.append(swap_line(rows))
    return lines


def markdown(config: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """What summary.md holds."""
    from vlatency.agent.realtime.episode import MODES
    from vlatency.experiments.evaluation import feature_ages
    from vlatency.experiments.reporting.mode_table import markdown_table, summarize

    setting, optimization = config["setting"], config["setting"]["optimization"]
    lines = [f"# {config['name']}", "", *markdown_table(summarize(rows, setting["vl_ms"])), ""]
    lines += [f"- {line}" for line in conclusions(config, rows)]
    lines += [
        f"- task {setting['task']}; cameras {', '.join(optimization['cameras'])} at "
        f"{optimization['width']}x{optimization['height']}, {optimization['encoding']}, pool {optimization['pool']}; "
        f"seeds from {setting['seed']}; {setting['control_hz']:g} Hz control; reuse {setting['reuse']}",
        *(f"- {line}" for line in [*encode_lines(config), *machinery(setting)]),
        f"- policy {policy_line(config['policy'])}. {_meaning(config['policy'])}",
        f"- latency {config['latency']}",
        f"- drawn by {config['gl_renderer']}; revision {config['git_revision'] or 'unknown'}; "
        + ", ".join(f"{name} {version}" for name, version in config["versions"].items()),
    ]
    if setting["blackout"]:
        lines.append("- control: the policy saw black images")
    lines += ["", *feature_ages.markdown(rows, MODES), f"    {config['command']}", ""]
    return "\n".join(lines)


def encode_lines(config: dict[str, Any]) -> list[str]:
    """How views are encoded and how far off the features are, one line at most: only if not as it is by default."""
    said = [f"{name} {value}" for name, value in unusual(config["setting"]["optimization"]).items()]
    if config.get("feature_error") is not None:
        said.append(f"feature error {config['feature_error']:.2g} of the norm, on the first look")
    return ["; ".join(said)] if said else []


def machinery(setting: dict[str, Any]) -> list[str]:
    """What surrounds the model, one line at most: only what is not as it is by default, or nothing at all."""
    from vlatency.agent.realtime.robot_timing import Rig

    usual = {"head": "regression", "execution": "hold", "servers": "two", "perf_factor": 1.0}
    said = [f"{key.replace('_', ' ')} {setting[key]}" for key in usual if setting.get(key, usual[key]) != usual[key]]
    ideal, rig = asdict(Rig()), setting.get("rig", {})
    said += [f"{key.replace('_', ' ')} {rig[key]}" for key in ideal if rig.get(key, ideal[key]) != ideal[key]]
    return ["; ".join(said)] if said else []


def features(setting: dict[str, Any], mode: str) -> str:
    """What the model is fed and when, such as "3 views, 224 px, batched, async"."""
    o = setting["optimization"]
    count, res = len(o["cameras"]), f"{o['width']} px" if o["width"] == o["height"] else f"{o['width']}x{o['height']}"
    others = [word for name, word in unusual(o).items() if name != "encoding"]
    words = [f"{count} view{'s' * (count != 1)}", res, o["encoding"], *others, mode]
    if mode == "async" and setting["reuse"] != "latest":
        words.append(f"reuse {setting['reuse']}")
    return ", ".join(words + machinery(setting))


def policy_line(policy: dict[str, Any]) -> str:
    """The policy in a few words."""
    size = f"{policy['parameters'] / 1e6:.1f} M"
    return f"{Path(policy['folder']).name} ({size}{', stand-in for Qwen2.5-VL-3B' * policy['stand_in']})"


def _meaning(policy: dict[str, Any]) -> str:
    if policy["stand_in"]:
        return "Success is the tiny stand-in's; Qwen2.5-VL-3B itself was not run"
    return "Success is this policy's own"


def write_summary(folder: Path, config: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write summary.json and summary.md."""
    from vlatency.experiments.evaluation.run_folder import SUMMARY_JSON, SUMMARY_MD
    from vlatency.experiments.shared.files import write_text

    write_text(folder / SUMMARY_JSON, json.dumps(summary(config, rows), indent=2, ensure_ascii=False) + "\n")
    write_text(folder / SUMMARY_MD, markdown(config, rows))


def text(config: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The table and the sentences under it, for a terminal."""
    from vlatency.experiments.reporting.mode_table import summarize, text_table

    lines = text_table(summarize(rows, config["setting"]["vl_ms"])) + conclusions(config, rows)
    return "\n".join(f"  {line}" for line in lines)
