"""Logs of other tools become profiles; what cannot be is refused in one line."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.experiments.import_latency import Args, main
from vlatency.experiments.shared.command import parse
from vlatency.experiments.timing.log_checks import judge, two_modes
from vlatency.experiments.timing.log_choice import Timings, Unit, choose
from vlatency.experiments.timing.log_files import read_log
from vlatency.experiments.timing.normal import Machine, core
from vlatency.sim.errors import UsageError

RNG = random.Random(4)
MS = [round(RNG.gauss(100, 3), 2) for _ in range(40)]
"""Forty calls of about 100 ms."""


def chosen(tmp_path: Path, content: str | bytes, what: str = "", unit: Unit | None = None) -> Timings:
    path = tmp_path / "log"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return choose(read_log(path), what, unit)


def column(name: str, values: list[Any] | list[float] = MS) -> str:
    return "\n".join([f"step,{name}", *(f"{step},{value}" for step, value in enumerate(values))])


def jsonl(*records: dict[str, Any]) -> str:
    return "\n".join(map(json.dumps, records))


def trace(*events: dict[str, Any]) -> str:
    return json.dumps({"traceEvents": [{"pid": 1, "tid": 1, **event} for event in events]})


GR00T = """
GR00T N1.7 Inference Timing (4 denoising steps, 1 camera):

| Device | Mode | Data Processing | Backbone | Action Head | E2E | Frequency |
|--------|------|-----------------|----------|-------------|-----|-----------|
| **dGPU** | | | | | | |
| H100 80GB HBM3 | PyTorch Eager | 6.2 ms | 31.3 ms | 48.2 ms | 85.8 ms | 11.7 Hz |
| | **TensorRT (Full Pipeline)** | **6.2 ms** | **8.8 ms** | **12.3 ms** | **27.9 ms** | **35.9 Hz** |
"""
OPENPI = """
┏━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━┳━━━━━━━┳━━━━━━━━┳━━━━━━━━┳━━━━━━━━┓
┃ Metric               ┃   Mean ┃   Std ┃    P50 ┃    P95 ┃    P99 ┃
┡━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━╇━━━━━━━╇━━━━━━━━╇━━━━━━━━╇━━━━━━━━┩
│ client_infer_ms      │ 1530.0 │ 165.1 │ 1528.7 │ 1724.0 │ 1801.4 │
│ policy_infer_ms      │ 1264.9 │ 115.1 │ 1236.4 │ 1417.1 │ 1491.4 │
└──────────────────────┴────────┴───────┴────────┴────────┴────────┘
"""
NVTX = """Processing [report.sqlite] with [nvtx_sum.py]...

Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Style,Range
70.0,4000000000,40,100000000.0,99000000.0,95000000,120000000,2000000.0,PushPop,:infer
30.0,1000000000,40,25000000.0,24000000.0,20000000,30000000,2000000.0,PushPop,:encode
"""
NVTX_TRACE = "Start (ns),End (ns),Duration (ns),DurChild (ns),DurNonChild (ns),Name,PID\n" + "\n".join(
    f"{start},{start + 1},{ms * 1e6:.0f},0,0,:infer,5" for start, ms in enumerate(MS)
)
LEROBOT = "\n".join(
    f"INFO 2026-01-01 12:00:{step:02d} policy_server.py:310 Action chunk #{step} generated | Total time: {ms:.2f}ms"
    for step, ms in enumerate(MS)
)
RTC = "\n".join(f"DEBUG 2026-01-01 rtc.py:400 RTC inference latency={ms / 1e3:.4f}s, queue=5" for ms in MS)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (column("latency_ms"), ""),
        (column("latency_s", [ms / 1e3 for ms in MS]), ""),
        (column("infer (us)", [ms * 1e3 for ms in MS]), ""),
        (column("Duration (ns)", [ms * 1e6 for ms in MS]), ""),
        (column("latency", [f"{ms} ms" for ms in MS]), ""),
        (column("latency", [f"{ms / 1e3:.5f}s" for ms in MS]), ""),
        (column("latency_ms").replace(",", ";").replace(".", ","), ""),
        (column("latency_ms").replace(",", "\t"), ""),
        ("a line of a tool\n" + column("latency_ms"), ""),
        ("\ufeff" + column("latency_ms").replace("\n", "\r\n"), ""),
        ("\n".join(f"{ms} ms" for ms in MS), ""),
        (json.dumps({"latency_ms": MS}), ""),
        (json.dumps([{"latency_ms": ms} for ms in MS]), ""),
        (jsonl(*({"server_timing": {"infer_ms": ms, "prev_total_ms": ms + 1}} for ms in MS)), ""),
        (jsonl(*({"policy_timing": {"infer_ms": 4.0}, "client_infer_ms": ms} for ms in MS)), ""),
        (jsonl(*({"client_infer_ms": ms, "server_infer_ms": ms - 5} for ms in MS)), ""),
        (jsonl(*({"queue_ms": 1.0, "infer_ms": ms} for ms in MS)), "infer_ms"),
        (trace(*({"ph": "X", "name": "infer", "ts": 0, "dur": ms * 1e3} for ms in MS)), ""),
        (trace(*({"ph": "X", "name": name, "dur": ms * 1e3} for ms in MS for name in ("infer", "draw"))), "infer"),
        (
            trace(
                *(
                    {"ph": phase, "name": "infer", "ts": step * 1e6 + (ms * 1e3 if phase == "E" else 0)}
                    for step, ms in enumerate(MS)
                    for phase in "BE"
                )
            ),
            "",
        ),
        (NVTX_TRACE, ""),
        (LEROBOT, ""),
        (RTC, ""),
    ],
    ids=range(23),
)
def test_samples_are_read_in_milliseconds_and_in_their_order(content: str, what: str, tmp_path: Path) -> None:
    assert chosen(tmp_path, content, what).samples_ms == pytest.approx(MS, abs=0.051)


def test_statistics_are_read_where_there_are_no_samples(tmp_path: Path) -> None:
    assert chosen(tmp_path, GR00T, "eager").statistics == {"p50": 85.8}
    assert chosen(tmp_path, GR00T, "h100 tensorrt").statistics == {"p50": 27.9}
    found = chosen(tmp_path, OPENPI, "client_infer_ms").statistics
    assert found == {"mean": 1530.0, "p50": 1528.7, "p95": 1724.0, "p99": 1801.4, "std": 165.1}
    nvtx = chosen(tmp_path, NVTX, "infer")
    assert (nvtx.statistics["mean"], nvtx.statistics["max"], nvtx.count) == (100, 120, 40)
    assert any("launch" in remark for remark in nvtx.remarks)


def test_a_loops_period_is_said_to_be_one(tmp_path: Path) -> None:
    dt = "\n".join(f"INFO ep:1 dt:{ms:.2f} ({1e3 / ms:.1f}hz)" for ms in MS)
    slow = "\n".join(
        f"WARN Record loop is running slower ({1e3 / ms:.3f} Hz) than the target FPS (30 Hz)." for ms in MS
    )
    for content in (dt, slow):
        found = chosen(tmp_path, content)
        assert found.samples_ms == pytest.approx(MS, rel=0.001)
        assert any("period" in remark for remark in found.remarks)


def test_cpu_time_in_a_trace_with_kernels_is_doubted(tmp_path: Path) -> None:
    events = [{"ph": "X", "name": "infer", "dur": ms * 1e3, "cat": "cpu_op"} for ms in MS]
    kernels = [{"ph": "X", "name": "gemm", "dur": 5.0, "cat": "kernel"}]
    assert any("launch" in remark for remark in chosen(tmp_path, trace(*events, *kernels), "infer").remarks)
    assert not chosen(tmp_path, trace(*events)).remarks


MALFORMED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", ""),
    "blank lines": ("\n \n\n", ""),
    "binary": (b"\x00\x01\x02", ""),
    "not UTF-8": (b"latency_ms\n\xff\xfe\n", ""),
    "head only": ("step,latency_ms\n", ""),
    "no times": ("hello\nthis is a log\n", ""),
    "a short row": (column("latency_ms") + "\n41", ""),
    "a long row": (column("latency_ms") + "\n41,5,6", ""),
    "a column twice": ("latency_ms,latency_ms\n1,2\n", ""),
    "a word": (column("latency_ms", [*MS, "fast"]), ""),
    "a sum below": (column("latency_ms") + "\ntotal,n/a", ""),
    "not a number": (column("latency_ms", [*MS, "nan"]), ""),
    "infinite": (column("latency_ms", [*MS, "inf"]), ""),
    "negative": (column("latency_ms", [*MS, -1]), ""),
    "no values": ("step,latency_ms\n1,\n2,\n", ""),
    "no unit": (column("latency"), ""),
    "another unit": (column("latency", [f"{ms} Hz" for ms in MS]), ""),
    "1,234": ("step;latency_ms\n" + "\n".join(f"{step};1,234" for step in range(20)), ""),
    "two columns": ("a_ms,b_ms\n1,2\n", ""),
    "no such column": (column("latency_ms"), "speed"),
    "broken JSON": ('{"latency_ms": [1, 2', ""),
    "a broken line": (jsonl({"latency_ms": 5.0}, {"latency_ms": 5.0}) + "\n{", ""),
    "a line without an object": (jsonl({"latency_ms": 5.0}, {"latency_ms": 5.0}) + "\n[1]", ""),
    "a truth": (jsonl({"latency_ms": True}, {"latency_ms": False}), ""),
    "a list inside": (jsonl({"latency_ms": [1]}, {"latency_ms": [2]}), ""),
    "nested too deeply": ("[" * 100_000, ""),
    "an empty list": ("[]", ""),
    "openpi's launch": (jsonl(*({"policy_timing": {"infer_ms": ms}} for ms in MS)), ""),
    "openpi's launch by name": (jsonl(*({"policy_infer_ms": ms, "infer_ms": ms} for ms in MS)), "policy_infer_ms"),
    "openpi's launch in a table": (OPENPI, "policy_infer_ms"),
    "two rows": (GR00T, ""),
    "no such row": (GR00T, "a100"),
    "a torn table": (GR00T + "| H100 | x |\n", ""),
    "two events": (trace({"ph": "X", "name": "a", "dur": 1}, {"ph": "X", "name": "b", "dur": 2}), ""),
    "no such event": (trace({"ph": "X", "name": "a", "dur": 1}), "b"),
    "an end without begin": (trace({"ph": "E", "name": "a", "ts": 1}), ""),
    "no time stamp": (trace({"ph": "B", "name": "a"}, {"ph": "E", "name": "a"}), ""),
    "no duration": (trace({"ph": "X", "name": "a"}), ""),
    "seconds for milliseconds": (column("latency_ms", [ms / 1e3 for ms in MS]), ""),
    "microseconds for milliseconds": (column("latency_ms", [ms * 1e3 for ms in MS]), ""),
    "p99 below p50": ("name,p50_ms,p95_ms,p99_ms\ncall,100,110,90\n", ""),
    "p95 above p99": ("name,p50_ms,p95_ms,p99_ms\ncall,100,150,120\n", ""),
    "a mean above the maximum": ("name,mean_ms,min_ms,max_ms\ncall,100,80,90\n", ""),
    "more than an hour": (column("latency_ms", [*MS, 4e6]), ""),
    "a launch alone": (column("latency_ms", [1.2 + ms / 1e4 for ms in MS]), ""),
}


@pytest.mark.parametrize(("content", "what"), MALFORMED.values(), ids=MALFORMED)
def test_what_cannot_be_is_one_clear_line(content: str | bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "timings.log"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as error:
        main(Args(path, "RTX 4090", "pi0.5", what, out=tmp_path / "out.json"))
    assert "\n" not in str(error.value)
    assert 15 < len(str(error.value)) < 500
    assert not (tmp_path / "out.json").exists()


WORDS = ('"', "{", "}", "|", ",", "\n", "nan", "-", "1e999", "\t", ":", "=", "null", "[]", "é", "0")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_anywhere_a_log_is_one_line_or_a_profile(seed: int, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "timings.log"
    whole = [GR00T, OPENPI, NVTX, NVTX_TRACE, LEROBOT, RTC, column("latency_ms")]
    whole += [content for content, _ in MALFORMED.values() if isinstance(content, str) and len(content) < 9_000]
    for content in whole:
        text = content
        for _ in range(rng.randint(0, 4)):
            first = rng.randrange(len(text) + 1)
            last = first + rng.randint(0, 20)
            text = rng.choice(
                [text[:first] + text[last:], text[:first] + rng.choice(WORDS) + text[first:], text[:first]]
            )
        path.write_text(text, encoding="utf-8")
        try:
            main(
                Args(path, "thor", "pi0.5", rng.choice(["", "infer", "eager", "latency_ms"]), out=tmp_path / "out.json")
            )
        except UsageError as error:
            said = str(error)
        else:
            said = parse_latency(str(tmp_path / "out.json"), Optimization()).describe()
        assert "\n" not in said


def test_a_row_without_a_name_is_read(tmp_path: Path) -> None:
    assert chosen(tmp_path, "p50_ms,p95_ms,p99_ms\n100,110,120\n").statistics == {"p50": 100, "p95": 110, "p99": 120}


def test_at_least_forty_malformed_logs_are_tried() -> None:
    assert len(MALFORMED) >= 40


@pytest.mark.parametrize(
    ("case", "named"),
    [
        ("seconds for milliseconds", "--unit s"),
        ("microseconds for milliseconds", "--unit us"),
        ("no unit", "--unit ms"),
        ("p99 below p50", "p99"),
        ("a launch alone", "synchronisation"),
        ("openpi's launch", "983"),
        ("two rows", "TensorRT"),
        ("two events", "a .1., b"),
        ("a word", "record 41"),
        ("a broken line", "line 3"),
    ],
)
def test_the_line_says_what_would_work(case: str, named: str, tmp_path: Path) -> None:
    content, what = MALFORMED[case]
    path = tmp_path / "timings.log"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match=named):
        main(Args(path, "RTX 4090", "pi0.5", what))


def test_a_missing_file_and_an_unknown_model_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        main(Args(tmp_path / "nowhere", "thor"))
    with pytest.raises(UsageError, match="gr00t"):
        main(Args(tmp_path / "nowhere", "thor", "pi7"))


def judged(samples: list[float]) -> tuple[str, ...]:
    return judge(Timings("x", tuple(samples), {}, len(samples), ())).remarks


def test_warm_up_is_left_out_and_a_stall_that_comes_again_is_not() -> None:
    found = judge(Timings("x", (3825.5, 4483.4, *MS), {}, 42, ()))
    assert (found.samples_ms, found.warm_up_ms) == (tuple(MS), (3825.5, 4483.4))
    assert "warm-up" in found.remarks[0]
    stalls = [600.0, *MS[:20], 620.0, *MS[20:]]
    assert judge(Timings("x", tuple(stalls), {}, 42, ())).samples_ms == tuple(stalls)


@pytest.mark.parametrize(
    ("samples", "word"),
    [
        ([39.0 + ms / 100 if step % 2 else ms for step, ms in enumerate(MS)], "two modes"),
        ([100.0] * 30, "constant"),
        (sorted(MS), "sorted"),
        ([round(ms, -1) for ms in MS], "rounds"),
        (MS[:4], "too few"),
        ([4.0 + ms / 100 for ms in MS[:6]] + MS, "synchronise"),
    ],
)
def test_what_is_doubtful_is_said(samples: list[float], word: str) -> None:
    assert any(word in remark for remark in judged(samples))


def test_good_samples_are_not_doubted() -> None:
    assert judged(MS) == ()
    rng = np.random.default_rng(0)
    wrong = sum(two_modes(list(50 * np.exp(0.3 * rng.standard_normal(60)))) is not None for _ in range(200))
    assert wrong <= 2


def test_an_imported_profile_is_charged_and_says_where_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "timings.csv", tmp_path / "profile.json"
    path.write_text(column("latency_ms", [900.0, *MS]))
    main(parse(Args, [str(path), "--device", "RTX 4090", "--model", "pi0", "--out", str(out)]))
    said = capsys.readouterr().out
    assert "is it normal? yes" in said
    assert "pi0/rtx4090/lerobot" in said
    profile = json.loads(out.read_text())
    assert profile["samples_ms"] == MS
    assert (profile["device"], profile["source"]) == ("RTX 4090", "pi0")
    assert all(word in profile["note"] for word in ("timings.csv", "latency_ms", "sha256", "warm-up"))
    model = parse_latency(str(out), Optimization())
    assert model.basis == "measured"
    assert model.vl_ms == pytest.approx(np.median(MS))


def test_three_quantiles_become_a_distribution_and_a_mean_a_constant(tmp_path: Path) -> None:
    path, out = tmp_path / "table.txt", tmp_path / "profile.json"
    path.write_text(OPENPI)
    main(Args(path, "my robot", what="client_infer_ms", out=out))
    charged = parse_latency(str(out), Optimization()).charged
    assert charged.vl_p50_ms == 1528.7
    assert charged.vl_p95_ms > 1600
    path.write_text(GR00T)
    main(Args(path, "H100", what="eager", out=out))
    assert parse_latency(str(out), Optimization()).vl_ms == 85.8


@pytest.mark.parametrize(
    ("device", "model", "ms", "word"),
    [
        ("Jetson AGX Thor", "pi0.5", 60, "yes"),
        ("thor", "pi0.5", 2000, "slower"),
        ("NVIDIA GeForce RTX 4090", "pi0.5", 5, "synchronised"),
        ("rtx4090", "pi0.5", 20, "nearly"),
        ("a toaster", "pi0.5", 60, "nothing is published"),
        ("orin", "", 300, "yes"),
    ],
)
def test_is_this_normal_on_my_device(device: str, model: str, ms: float, word: str) -> None:
    assert word in Machine(device, model).verdict(ms)[0]


def test_names_of_one_device_are_one() -> None:
    assert core("NVIDIA H100 80GB HBM3") == core("h100") == core("H100 80GB SXM")
    assert core("Jetson AGX Orin 64GB") == core("orin") != core("Jetson Orin Nano 8GB")
    assert core("rtx4090") == core("RTX 4090") != core("RTX 4090D")


def test_no_published_call_is_below_the_floor_of_its_device() -> None:
    for name in {record.name for record in Machine("thor").published}:
        model, device, _ = name.split("/")
        machine = Machine(device, model)
        assert all((record.total_ms or 0) >= machine.floor_ms for record in machine.published)
