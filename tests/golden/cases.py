"""Episodes whose trajectories must not change while the code is rearranged, each as the options of run.py."""

SEEDS = (10_000, 10_001, 10_002)

TASKS = ("static", "shape", "small", "clutter", "occluded", "conveyor", "turntable", "disturbed", "switched")
MODES = ("pause", "sync", "async")
EXECUTIONS = (
    "hold",
    "chunk",
    "chunk:3",
    "switch",
    "switch:4",
    "delay-aware",
    "delay-aware:2",
    "ensemble",
    "roll-forward",
)
REUSES = ("3", "event", "event:4", "deadline", "deadline:30", "stagger", "stagger:2")
BELT = "--task conveyor --speed 0.05 --mode async"
SLOW = f"{BELT} --latency fixed:250,30"
FLOW = f"{SLOW} --policy tiny-flow --head flow"

CASES: dict[str, str] = {
    **{f"{task} {mode}": f"--task {task} --mode {mode}" for task in TASKS for mode in MODES},
    **{f"execution {name}": f"{SLOW} --execution {name}" for name in EXECUTIONS},
    **{f"paused execution {name}": f"--mode pause --execution {name}" for name in ("chunk:3", "ensemble")},
    **{f"sync execution {name}": f"--mode sync --execution {name}" for name in ("chunk", "delay-aware")},
    **{f"reuse {name}": f"{BELT} --latency fixed:180,20 --reuse {name}" for name in REUSES},
    **{f"flow head, {name}": f"{FLOW} --execution {name}" for name in ("hold", "switch", "rtc", "rtc:3")},
    **{f"encoding {name}": f"--mode async --encoding {name}" for name in ("joint", "separate")},
    **{f"pool {name}": f"--mode pause --pool {name}" for name in ("mean", "max")},
    **{f"servers {name}": f"{SLOW} --servers {name}" for name in ("shared", "shared-priority")},
    "free cameras": f"{SLOW} --camera-hz 30 --camera-phase-ms 3.3 --camera-delay-ms 33 --actuation-ms 20 --late drop",
    "roofline": "--mode async --latency roofline:orin --perf-factor 4",
    "faster control": "--mode async --control-hz 20",
    "five large views": "--views 5 --res 640x360 --mode async",
    "one small view": "--cameras wrist --res 112 --mode sync",
    "shortcuts": "--mode pause --shortcuts prefix,fused",
    "int8": "--mode pause --quant bnb-int8",
    "light encoder": "--mode pause --policy tiny-lite0",
    "black images": "--mode pause --blackout",
    "swapped instruction": "--mode pause --swap-instruction",
}
