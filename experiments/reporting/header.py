"""The lines that say what is about to run."""

from typing import Any

from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.result import Policy
from vlatency.experiments.reporting.wording import encode_details, policy_line, surroundings
from vlatency.sim.gl import is_software


def header(config: dict[str, Any]) -> list[str]:
    """From the config.json of a run."""
    setting = Setting.from_json(config["settings"][0])
    optimization, guest = setting.optimization, setting.guest
    version = ".".join(config["software"]["versions"]["vlatency"].split(".")[:2])
    renderer = config["software"]["gl_renderer"]
    gl = f"{renderer.split()[0]} (software)" if is_software(renderer) else renderer
    count = config["machine"]["cores"]
    task = f'{setting.task}: "{config["instruction"]}"'
    pixels = "x".join(map(str, config["camera_px"]))
    cameras = f"{', '.join(optimization.cameras)} @ {pixels} -> {optimization.width}x{optimization.height}"
    if guest:
        cameras = f"{', '.join(guest.cameras)} @ {pixels}" if guest.cameras else "none: the policy reads states"
    policy = policy_line(Policy(**config["policy"]))
    lines = [
        f"vlatency {version} · policy {policy} · GL {gl} · {count} core{'s' * (count != 1)}",
        f"task   {task:<47} cameras  {cameras}",
        f"timing {config['latency']}, {setting.timing.control_hz:g} Hz control",
        *(f"encode {line}" for line in encode_details(setting, config["feature_error"])),
        *(f"robot  {line}" for line in surroundings(setting)),
    ]
    if setting.speed is not None:
        lines.append(f"speed  {setting.speed:g} m/s in every episode")
    if setting.blackout:
        lines.append("control: the policy sees black images")
    if setting.swap_instruction:
        lines.append("control: the policy is told another object of the scene")
    return lines
