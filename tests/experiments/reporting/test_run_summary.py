"""A summary is a function of config.json and episodes.jsonl."""

import json
from dataclasses import replace
from typing import Any

from tests.experiments.evaluation.test_setting import SETTING
from tests.experiments.reporting.test_mode_table import ROWS
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.experiments.reporting.run_header import header
from vlatency.experiments.reporting.run_summary import machinery, summary

CONFIG: dict[str, Any] = {
    "name": "static-3v-224-7f3a",
    "hash": "7f3a",
    "setting": SETTING.as_json(),
    "episodes": 20,
    "command": "python experiments/run.py --views 3 --res 224",
    "instruction": "Pick up the {colour} {shape}",
    "camera_px": [640, 360],
    "policy": {"folder": "assets/policies/tiny", "parameters": 2_400_000, "stand_in": True},
    "latency": "fixed: VL 50 ms, sensor + head 10 ms",
    "gl_renderer": "llvmpipe (LLVM 15.0.6, 256 bits)",
    "machine": {"cores": 2, "platform": "Linux"},
    "versions": {"python": "3.11.7", "vlatency": "0.1.0"},
    "git_revision": None,
}


def test_the_header_looks_like_this() -> None:
    assert header(CONFIG) == [
        "vlatency 0.1 · policy tiny (2.4 M, stand-in for Qwen2.5-VL-3B) · GL llvmpipe (software) · 2 cores",
        'task   static: "Pick up the {colour} {shape}"          cameras  top, wrist, front @ 640x360 -> 224x224',
        "timing fixed: VL 50 ms, sensor + head 10 ms, 10 Hz control",
    ]


def test_controls_and_real_gpus_are_named() -> None:
    setting = CONFIG["setting"] | {"blackout": True}
    lines = header(CONFIG | {"setting": setting, "gl_renderer": "NVIDIA H100 80GB HBM3/PCIe/SSE2"})
    assert lines[-1] == "control: the policy sees black images"
    assert "GL NVIDIA H100 80GB HBM3/PCIe/SSE2 ·" in lines[0]


def test_only_machinery_that_is_not_as_usual_is_named() -> None:
    assert machinery(CONFIG["setting"]) == []
    assert machinery({}) == []  # a run from before there was any
    unusual = replace(SETTING, execution="chunk:4", perf_factor=0.5, robot=RobotTiming(camera_hz=30.0))
    assert machinery(unusual.as_json()) == ["execution chunk:4; perf factor 0.5; camera hz 30.0"]


def test_summary_json_has_the_cells_and_where_they_come_from() -> None:
    content = json.loads(json.dumps(summary(CONFIG, ROWS), allow_nan=False))
    cell = content["cells"][2]
    assert (cell["mode"], cell["k"], cell["n"], cell["success"], cell["vl_ms"]) == ("async", 17, 20, 0.85, 50.0)
    assert cell["ci_low"] < cell["success"] < cell["ci_high"]
    assert content["against_pause"]["async"]["n"] == 20
    assert content["latency"] == CONFIG["latency"] and content["policy"]["stand_in"]
