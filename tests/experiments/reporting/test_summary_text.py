"""The table a person reads, letter by letter, and the header above it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders.studies import RUN, RUN_ROWS, run_config, run_row, write_run
from tests.builders.sweeps import SETTING
from vlatency.agent.realtime.cost.latency import FixedLatency
from vlatency.agent.realtime.execution import OpenLoop
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import ServersName, make_servers
from vlatency.experiments.evaluation.rows_file import Row
from vlatency.experiments.reporting.header import header
from vlatency.experiments.reporting.study import summarize_run
from vlatency.experiments.reporting.summary_text import markdown, text, write_summary
from vlatency.experiments.reporting.wording import servers_line, surroundings


def lines(folder: Path, rows: list[Row]) -> list[str]:
    return text(summarize_run(write_run(folder, rows)))


def test_the_table_of_a_run_has_a_line_a_mode(tmp_path: Path) -> None:
    said = [line.split() for line in lines(tmp_path / "run", RUN_ROWS)]
    assert ["pause", "19/20", "95%", "[76,", "99]", "0", "0/0", "0/0", "0", "4.0", "s"] in said
    assert ["sync", "0/20", "0%", "[0,", "16]", "50.0", "1503/3006", "1503/1503", "97.5%", "-"] in said
    assert ["async", "17/20", "85%", "[64,", "95]", "50.0", "96.3/193", "96.3/96.3", "2.5%", "4.1", "s"] in said


def test_heads_stand_above_their_columns(tmp_path: Path) -> None:
    heads, names, pause = lines(tmp_path / "run", RUN_ROWS)[:3]
    assert heads.index("success") + len("success") == names.index("rate") + len("rate") == pause.index("95%") + 3
    assert len(heads) <= 80


def test_markdown_has_the_same_figures(tmp_path: Path) -> None:
    said = markdown(summarize_run(write_run(tmp_path / "run")))
    assert "| async | 17/20 | 85% | [64, 95] | 50.0 | 96.3/193 | 96.3/96.3 | 2.5% | 4.1 s |" in said
    assert "Qwen2.5-VL-3B itself was not run" in said and "    python experiments/run.py" in said


def test_modes_without_episodes_are_not_measured(tmp_path: Path) -> None:
    said = lines(tmp_path / "run", RUN_ROWS[20:])
    assert any(line.split()[:3] == ["pause", "-", "not"] for line in said)
    assert not any(" against " in line for line in said) and "not all cells are measured yet" in said


def test_ages_may_be_missing(tmp_path: Path) -> None:
    said = lines(tmp_path / "run", [run_row("async", 10_000, False, None, 40)])
    assert ["-/-", "-/-", "100.0%", "-"] in [line.split()[-4:] for line in said]


def test_failures_whose_target_is_gone_are_counted_apart(tmp_path: Path) -> None:
    rows = [
        row | {"target_gone": row["seed"] % 2 == 0, "looks_in_reach": 1 if row["seed"] % 4 == 0 else 2}
        for row in RUN_ROWS
        if row["mode"] != "pause"
    ]
    (said,) = [line for line in lines(tmp_path / "run", rows) if "target gone" in line]
    assert "sync 10 of 20 (5 early)" in said  # all seeds fail
    assert "async 1 of 3 (1 early)" in said  # seeds 3, 4 and 5 fail
    assert not any("gone" in line for line in lines(tmp_path / "other", RUN_ROWS))


def test_a_verdict_has_its_difference_test_and_n(tmp_path: Path) -> None:
    found = {line.split()[0]: line for line in lines(tmp_path / "run", RUN_ROWS) if " against pause" in line}
    assert "-10 points [-31, +9]" in found["async"] and "cannot tell at n = 20" in found["async"]
    assert "McNemar p < 0.001" in found["sync"] and found["sync"].endswith("worse")


def test_equal_arms_ask_for_seeds_all_the_same(tmp_path: Path) -> None:
    rows = [run_row(mode, 10_000, True, 0.0, 0) for mode in ("pause", "async")]
    (said,) = [line for line in lines(tmp_path / "run", rows) if "async against" in line]
    assert "0 points" in said and "cannot tell at n = 1 " in said and "78" in said


def test_only_seeds_without_a_gap_are_compared(tmp_path: Path) -> None:
    (said,) = [line for line in lines(tmp_path / "run", RUN_ROWS[:20] + RUN_ROWS[40:55]) if "async against" in line]
    assert "at n = 15" in said


def test_swapped_instructions_are_counted(tmp_path: Path) -> None:
    setting = replace(SETTING, swap_instruction=True)
    rows = [
        run_row("async", 10_000 + seed, False, 90.0, 0) | {"instructed_lifted": True, "former_target_lifted": False}
        for seed in range(3)
    ]
    said = text(summarize_run(write_run(tmp_path / "run", rows, [setting])))
    assert any("3/3" in line and "0/3" in line for line in said)


@pytest.mark.parametrize("name", ["two", "shared", "shared-priority"])
def test_what_is_assumed_is_said_under_the_table(name: ServersName, tmp_path: Path) -> None:
    servers = make_servers(name, 2.0)
    setting = replace(SETTING, timing=replace(SETTING.timing, servers=servers))
    said = text(summarize_run(write_run(tmp_path / "run", [run_row("async", 10_000, True, 90.0, 0)], [setting])))[-1]
    for part in (servers_line(setting.timing), "stand-in for Qwen2.5-VL-3B", "chosen, not measured"):
        assert part in said


def test_the_header_names_policy_renderer_task_cameras_and_latency() -> None:
    first, task, timing = header(run_config(RUN))
    assert first.split(" · ") == [
        "vlatency 0.1",
        "policy tiny (2.4 M, stand-in for Qwen2.5-VL-3B)",
        "GL llvmpipe (software)",
        "2 cores",
    ]
    assert '"Pick up the {colour} {shape}"' in task and task.endswith("top, wrist, front @ 640x360 -> 224x224")
    assert " ".join(timing.split()) == "timing fixed: VL 50 ms, sensor + head 10 ms, 10 Hz control"


def test_controls_and_real_gpus_are_named() -> None:
    software = {"versions": {"vlatency": "0.1.0"}, "gl_renderer": "NVIDIA H100 80GB HBM3/PCIe/SSE2"}
    config = run_config([replace(SETTING, blackout=True)], software=software)
    assert "black images" in header(config)[-1] and "GL NVIDIA H100 80GB HBM3/PCIe/SSE2 ·" in header(config)[0]


def test_only_surroundings_that_are_not_as_usual_are_named() -> None:
    assert surroundings(SETTING) == []
    timing = replace(
        SETTING.timing,
        execution=OpenLoop(4),
        latency=FixedLatency(50, 10, factor=0.5),
        robot=RobotTiming(camera_hz=30.0),
    )
    (said,) = surroundings(replace(SETTING, timing=timing))
    assert said.split("; ") == ["execution chunk:4", "perf factor 0.5", "camera hz 30.0"]


def test_summary_json_has_the_results_and_where_they_come_from(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_summary(summarize_run(run), run.path)
    content = json.loads((run.path / "summary.json").read_text())
    result = content["results"][2]
    assert (result["arm"], result["k"], result["n"], result["success"]["estimate"]) == ("async", 17, 20, 0.85)
    assert result["against"]["n"] == 20 and result["origin"]["policy"]["kind"] == "stand-in"
    assert content["schema"] == run.config["schema"] and result["origin"]["latency"] == run.config["latency"]
