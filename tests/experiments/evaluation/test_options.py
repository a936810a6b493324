"""Options become objects once, and what is wrong with them is one line."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from vlatency.agent.realtime.execution import OpenLoop
from vlatency.agent.realtime.reuse import Every
from vlatency.agent.realtime.servers import Apart, Shared
from vlatency.envs.tasks import TASKS
from vlatency.experiments.evaluation.configuration import OPTIONS, Configuration, TaskName, parse_options
from vlatency.experiments.evaluation.setting import Setting, name_of
from vlatency.experiments.run import Args
from vlatency.experiments.shared import command
from vlatency.sim.errors import UsageError


def settings(*args: str) -> tuple[tuple[Setting, ...], str]:
    """As run.py resolves its options."""
    parsed = command.parse(Args, list(args))
    return parsed.configuration.settings(parsed.seed, parsed.episodes)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--views", "0"], "views must be 1 to 5, not 0"),
        (["--views", "6"], "views must be 1 to 5, not 6"),
        (["--cameras", "elbow"], "top, wrist, front, left, right"),
        (["--cameras", "top,top"], "top, wrist, front, left, right"),
        (["--res", "abc"], "640x360"),
        (["--res", "0"], "640x360"),
        (["--encoding", "zip"], "joint"),
        (
            ["--encoding", "streams"],
            "use encoding joint or batched or separate",
        ),
        (["--pool", "sum"], "attention"),
        (["--attention", "linear"], "flash_attention_4"),
        (["--attention", "varlen"], "use attention eager or sdpa"),
        (["--quant", "int2"], "int8-dynamic"),
        (["--compile", "cuda-graph"], "use compile none or compile"),
        (["--shortcuts", "prefix,magic"], "prefix, fused, device-views"),
        (["--preset", "slow"], "fast"),
        (["--preset", "fast"], "use attention eager or sdpa"),
        (["--reuse", "0"], "latest"),
        (["--reuse", "stagger", "--encoding", "joint"], "use encoding batched"),
        (["--latency", "fixed:-1,10"], "fixed:VL_MS,HEAD_MS"),
        (["--latency", "h300"], "insertion_vla"),
        (["--control-hz", "0"], "control-hz must be 0.1 to 500, not 0"),
        (["--control-hz", "nan"], "control-hz must be"),
        (["--episodes", "0"], "episodes must be at least 1, not 0"),
        (["--device", "tpu"], "cuda"),
        (["--task", "belt"], "conveyor"),
        (["--seed", "-1"], "seed must be 0 to"),
        (["--execution", "jump"], "hold, chunk, switch, delay-aware, ensemble, roll-forward"),
        (["--execution", "rtc"], "add --head flow"),
        (["--head", "mouth"], "regression"),
        (["--servers", "three"], "shared-priority"),
        (["--perf-factor", "0"], "perf-factor must be above 0"),
        (["--camera-hz", "-3"], "camera-hz must be 0 (on demand) or 0.1 to 500, not -3"),
        (["--late", "never"], "apply"),
        (["--model", "gpt"], "models are tiny, tiny-s, qwen2-vl-2b, qwen2.5-vl-3b, qwen2.5-vl-7b, qwen3-vl-2b"),
        (["--model", "qwen2.5-vl-2b"], "there is no model 'qwen2.5-vl-2b'"),
        (
            ["--model", "qwen2.5-vl-3b"],
            "no trained policy ships for qwen2.5-vl-3b; give the folder of one with --policy",
        ),
        (["--model", "tiny", "--policy", "elsewhere"], "give --model or --policy, not both"),
    ],
)
def test_bad_values_name_the_good_ones(args: list[str], says: str) -> None:
    with pytest.raises(UsageError) as error:
        settings(*args)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("args", "says"),
    [(["--batch", "0"], "batch must be at least 1"), (["--videos", "-1"], "videos must be at least 0")],
)
def test_how_a_run_goes_is_checked_before_anything_is_opened(args: list[str], says: str) -> None:
    from vlatency.experiments.run import main

    with pytest.raises(UsageError, match=says):
        main(command.parse(Args, args))


def test_the_tasks_of_the_help_are_those_of_the_table() -> None:
    assert get_args(TaskName) == tuple(TASKS)


def test_texts_become_objects_and_modes_settings() -> None:
    found, _ = settings("--mode", "async,pause", "--reuse", "15", "--execution", "chunk:4", "--servers", "shared")
    assert [setting.mode for setting in found] == ["pause", "async"]
    timing = found[1].timing
    assert (timing.reuse, timing.execution, str(timing.servers)) == (Every(15), OpenLoop(4), "shared")
    assert dataclasses.replace(timing, mode="pause") == found[0].timing


def test_the_options_of_a_sweep_are_parsed_as_those_of_a_command_line() -> None:
    values: dict[str, Any] = {"views": 5, "res": "640x360", "mode": "sync", "reuse": 3, "blackout": True}
    words = ["--views", "5", "--res", "640x360", "--mode", "sync", "--reuse", "3", "--blackout"]
    assert parse_options(values) == command.parse(Configuration, words)
    assert parse_options({"shortcuts": ["prefix", "fused"], "blackout": False}) == command.parse(
        Configuration, ["--shortcuts", "prefix,fused"]
    )
    assert {"task", "views", "camera_hz", "reuse"} < set(OPTIONS)


@pytest.mark.parametrize(
    "values", [{"wings": 2}, {"views": "many"}, {"blackout": "no"}, {"task": None}, {"views": True}]
)
def test_a_bad_value_of_a_sweep_is_one_line(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        parse_options(values)
    assert next(iter(values)) in str(error.value) and "\n" not in str(error.value)


def test_a_model_with_a_shipped_policy_is_that_policy() -> None:
    by_model, by_policy = (settings(*args) for args in (["--model", "tiny"], ["--policy", "tiny"]))
    assert by_model == by_policy and Path(by_model[1]).name == "tiny"


@pytest.mark.parametrize(
    "args",
    [
        ["--quant", "fp8", "--mode", "pause"],
        ["--attention", "eager"],
        ["--compile", "compile"],
        ["--encoding", "separate"],
        ["--shortcuts", "prefix"],
    ],
)
def test_options_of_the_encode_change_the_setting_and_its_name(args: list[str]) -> None:
    (usual, *_), _ = settings(*args[2:])
    found, _ = settings(*args)
    assert found[0].hash != usual.hash and f"-224-{args[1]}-" in name_of(found)


def test_the_order_of_shortcuts_does_not_count() -> None:
    both = [settings("--shortcuts", text)[0] for text in ("prefix,fused", "fused,prefix")]
    assert both[0] == both[1] and "-prefix+fused-" in name_of(both[0])


def test_a_preset_on_a_gpu_is_the_options_it_stands_for() -> None:
    options = [
        "--attention",
        "varlen",
        "--quant",
        "fp8",
        "--compile",
        "compile",
        "--shortcuts",
        "prefix,fused,device-views",
    ]
    on = ("--device", "cuda", "--latency", "fixed:50,11")
    assert settings("--preset", "fast", *on) == settings(*options, *on)


def test_a_quantization_without_a_figure_runs_only_where_no_latency_is_charged_or_one_is_stated() -> None:
    with pytest.raises(UsageError, match="insertion_vla has no figure for quant bnb-int8"):
        settings("--quant", "bnb-int8")
    (paused,), _ = settings("--quant", "bnb-int8", "--mode", "pause")
    assert paused.timing.latency.vl_ms == 0
    assert settings("--quant", "bnb-int8", "--latency", "fixed:300,11")[0][1].timing.latency.vl_ms == 300


def profile(path: Path, **more: Any) -> str:
    point = {"views": 3, "width": 224, "height": 224, "encoding": "batched", "mean_ms": 100.0}
    fields = {"device": "d", "head_ms": 10, "overhead_ms": 1, "realised_tflops": 1, "encode": [point]}
    path.write_text(json.dumps(fields | more))
    return str(path)


def test_one_gpu_is_shared_where_its_contention_is_known_and_two_are_assumed_elsewhere(tmp_path: Path) -> None:
    silent, measured = profile(tmp_path / "a.json"), profile(tmp_path / "b.json", contention=1.7)

    def servers(*args: str) -> Any:
        return settings("--mode", "async", *args)[0][0].timing.servers

    assert servers() == servers("--latency", silent) == servers("--latency", "fixed:400,11") == Apart()
    assert servers("--latency", measured) == Shared(1.7)
    assert servers("--latency", measured, "--contention", "3") == servers("--contention", "3") == Shared(3.0)
    assert servers("--latency", measured, "--servers", "two") == Apart()
    assert servers("--servers", "shared") == Shared(2.0)
    assert servers("--contention", "3", "--servers", "shared-priority") == Shared(1.0)
    with pytest.raises(UsageError, match="contention must be at least 1"):
        servers("--contention", "0.5")
