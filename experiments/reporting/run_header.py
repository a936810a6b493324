"""What a run prints before its first episode."""

from typing import Any

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
