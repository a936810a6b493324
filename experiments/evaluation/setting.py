"""What one run measures: everything that can change a result, and nothing else."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from vlatency import assets
from vlatency.agent.optimization import Head, Optimization, unusual
from vlatency.agent.realtime.cost.latency import LatencyModel, parse_latency
from vlatency.agent.realtime.episode import MODES
from vlatency.agent.realtime.execution import Execution, RealTimeChunking
from vlatency.agent.realtime.reuse import Reuse, Stagger
from vlatency.agent.realtime.robot_timing import Rig
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

FIRST_TRAINING_SEED = 1_000_000
"""Policies are trained on the seeds from here on, and evaluated on those below."""
DEVICES = ("cpu", "cuda")
MIN_CONTROL_HZ, MAX_CONTROL_HZ = 0.1, 500.0
"""The upper one is the rate of the physics: a command cannot take effect between two steps."""


@dataclass(frozen=True)
class Setting:
    """The scientific configuration of a run; equal settings have equal episodes.

    Attributes:
        task: name of the pick task.
        optimization: what the policy is fed, and how.
        modes: ways of running it in simulated time, in the order of `agent.realtime.episode.MODES`.
        reuse: when to encode again.
        latency: as named on the command line.
        vl_ms, head_ms: what that charges nominally [ms].
        control_hz: control ticks a second [Hz].
        seed: of the first episode; the next ones follow by 1.
        policy_sha256: of the policy's files.
        blackout: control: the policy sees black images.
        swap_instruction: control: the policy is told another object of the scene.
        execution: what becomes of a chunk.
        servers: who computes.
        perf_factor: every latency is multiplied by it.
        rig: cameras, actuators and what happens to late commands.
        speed: of the belt, or of the turntable's rim [m/s]; None draws one for each episode.
        device: of the policy; answers of a GPU are equal to those of a CPU up to rounding only.
        head: which of the policy's heads moves the arm.
        latency_of: the clock charges what this configuration takes; None: what `optimization` takes.
    """

    task: str
    optimization: Optimization
    modes: tuple[str, ...]
    reuse: str
    latency: str
    vl_ms: float
    head_ms: float
    control_hz: float
    seed: int
    policy_sha256: str
    blackout: bool = False
    swap_instruction: bool = False
    execution: str = "hold"
    servers: str = "two"
    perf_factor: float = 1.0
    rig: Rig = Rig()
    speed: float | None = None
    device: str = "cpu"
    head: Head = "regression"
    latency_of: Optimization | None = None

    @property
    def latency_model(self) -> LatencyModel:
        """What the clock charges. UsageError if it is not valid."""
        return parse_latency(self.latency, self.latency_of or self.optimization, self.perf_factor)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return json.loads(json.dumps(asdict(self)))

    @property
    def hash(self) -> str:
        """SHA-256 of all fields."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Short name of the run, such as static-3v-224-7f3a."""
        o = self.optimization
        res = str(o.width) if o.width == o.height else f"{o.width}x{o.height}"
        words = [self.task] if self.speed is None else [self.task, f"{self.speed:g}"]
        words += [f"{len(o.cameras)}v", res, *unusual(asdict(o)).values()]
        words += ["blackout"] * self.blackout + ["swap"] * self.swap_instruction
        return "-".join([*words, self.hash[:4]])


def crossed(features: Setting, timing: Setting) -> Setting:
    """What `features` feeds the policy, at the pace of `timing`: its latencies, mode, reuse and all the rest."""
    took = timing.latency_of or timing.optimization
    alike = took == features.optimization
    return replace(timing, optimization=features.optimization, latency_of=None if alike else took)


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """One "field (theirs there, ours here)" for each field in which two settings, as JSON, differ."""
    lines = []
    for key in sorted(set(theirs) | set(ours)):
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b)
        elif a != b:
            lines.append(f"{key} ({_show(a)} there, {_show(b)} here)")
    return lines


def _show(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    text = f"{value:g}" if isinstance(value, float) else text
    return text if len(text) <= 40 else f"{text[:8]}..."


def parse_modes(text: str) -> tuple[str, ...]:
    """`all`, one mode, or several joined by commas. UsageError for anything else."""
    names = MODES if text == "all" else tuple(text.split(","))
    for name in names:
        if name not in MODES:
            raise UsageError(f"unknown mode '{name}'; modes are {', '.join(MODES)}, all")
    return tuple(mode for mode in MODES if mode in names)


def parse_head(text: str, execution: Execution) -> Head:
    """`regression` or `flow`. UsageError for anything else, or if the head cannot do what the execution asks of it."""
    if text == "flow":
        return "flow"
    if text != "regression":
        raise UsageError(f"unknown head '{text}'; heads are {', '.join(get_args(Head))}")
    if isinstance(execution, RealTimeChunking):
        raise UsageError("execution rtc guides the sampling of chunks, which a regression head cannot: add --head flow")
    return "regression"


def parse_cameras(cameras: str, views: int) -> tuple[str, ...]:
    """The cameras named, joined by commas, or else the first `views` of them all. UsageError for views outside 1..5."""
    if cameras:
        return tuple(name.strip() for name in cameras.split(","))
    if not 1 <= views <= len(CAMERA_ORDER):
        raise UsageError(f"views must be 1 to {len(CAMERA_ORDER)}, not {views}; cameras are {', '.join(CAMERA_ORDER)}")
    return CAMERA_ORDER[:views]


def check_device(name: str) -> None:
    """UsageError unless `name` is one of DEVICES."""
    if name not in DEVICES:
        raise UsageError(f"unknown device '{name}'; devices are {', '.join(DEVICES)}")


def check_reuse(reuse: Reuse, optimization: Optimization) -> None:
    """UsageError if views are to be encoded in turn that are one sequence."""
    if isinstance(reuse, Stagger) and optimization.encoding == "joint":
        raise UsageError("reuse stagger encodes views apart, which encoding joint cannot; use encoding batched")


def find_policy(text: str) -> Path:
    """The folder a user names: a path, or the name of a policy that ships here. UsageError if there is none."""
    shipped = assets.FOLDER / "policies"
    for folder in (Path(text), shipped / text):
        if text and folder.is_dir():
            return folder
    names = sorted(path.name for path in shipped.glob("*") if path.is_dir())
    raise UsageError(f"no policy folder '{text}'; give a folder, or one that ships here: {', '.join(names) or 'none'}")


def find_policy_of(model: str) -> Path:
    """The folder of the policy that ships for a model. UsageError if there is no such model, or no policy for it."""
    from vlatency.agent.vla.model.zoo import find_model

    name = find_model(model).name
    folder = assets.FOLDER / "policies" / name
    if not folder.is_dir():
        raise UsageError(f"no trained policy ships for {name}; give the folder of one with --policy instead of --model")
    return folder


def hash_policy(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that make a policy (JSON and safetensors)."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
