"""The command that measures a configuration at a device's own latencies, where no cell says enough of it."""

import json
import shlex
from dataclasses import asdict
from typing import Any

from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.experiments.analysis.choosing import needed
from vlatency.experiments.evaluation.configuration import Configuration, parse_options
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.candidates import Candidate
from vlatency.experiments.reporting.question import Question

FILE = "measure.yaml"


def measuring(candidate: Candidate, question: Question) -> str:
    """A command to copy: it writes a sweep of one cell and runs it."""
    success = candidate.interpolated.success.estimate if candidate.interpolated else None
    if success is None or success <= question.min_success:
        success = (1 + question.min_success) / 2
    episodes = needed(success, question.min_success, candidate.options) or 1000
    options = options_of(candidate.results[0].setting, question)
    sweep = {"episodes": episodes, "arms": {candidate.name: options}}
    text = shlex.quote(json.dumps(sweep, ensure_ascii=False))
    return f"echo {text} > {FILE} && python experiments/sweep.py {FILE}"


def options_of(setting: Setting, question: Question) -> dict[str, Any]:
    """The options of run.py, as a sweep spells them, that give this configuration on the device of the question."""
    o, timing, usual = setting.optimization, setting.timing, parse_options({})
    robot, ideal = asdict(timing.robot), asdict(RobotTiming())
    chosen: dict[str, Any] = {
        "task": setting.task,
        "speed": setting.speed,
        "policy": question.policy,
        "head": setting.head,
        "pool": o.pool,
        "device": setting.device,
        "cameras": ",".join(o.cameras),
        "res": f"{o.width}x{o.height}",
        "encoding": o.encoding,
        "attention": o.attention,
        "quant": o.quant,
        "compile": o.compile,
        "shortcuts": ",".join(o.shortcuts),
        "mode": timing.mode,
        "latency": question.on_device().name,
        "servers": question.servers,
        "contention": question.contention,
        "reuse": str(timing.reuse),
        "execution": str(timing.execution),
        "control_hz": timing.control_hz,
        **{name: value for name, value in robot.items() if value != ideal[name]},
    }
    guest = setting.guest
    if guest:
        sizes = {"res": f"{guest.size[0]}x{guest.size[1]}", "key_map": guest.key_map, "hold": timing.actions.hold}
        clock = ("speed", "policy", "mode", "latency", "reuse", "execution", "control_hz", *robot)
        chosen = {"task": setting.task, **{name: chosen[name] for name in clock if name in chosen}, **sizes}
        if setting.in_foreign_env:
            chosen |= {"env": chosen.pop("task"), "env_config": guest.env_config}
    always = ("env", "task", "cameras", "res", "mode", "latency", "hold")
    return {name: value for name, value in chosen.items() if name in always or value not in (None, _usual(usual, name))}


def _usual(configuration: Configuration, name: str) -> Any:
    """Default of an option, as it is spelt."""
    for part in (configuration, configuration.encode, configuration.clock):
        if hasattr(part, name):
            value = getattr(part, name)
            return ",".join(value) if isinstance(value, tuple) else value if isinstance(value, float) else str(value)
    return None
