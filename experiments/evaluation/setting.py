"""What one configuration is: everything that can change an episode, and nothing else."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from vlatency.agent.optimization import Head, Optimization, unusual
from vlatency.agent.policies.protocol import PolicyKind
from vlatency.agent.realtime.cost.latency import Basis, Charged, LatencyStream
from vlatency.agent.realtime.execution import parse_execution
from vlatency.agent.realtime.reuse import parse_reuse
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import Shared, make_servers
from vlatency.agent.realtime.timing import Mode, Timing
from vlatency.sim.actions import ActionSpec

FIRST_TRAINING_SEED = 1_000_000
"""Policies are trained on the seeds from here on, and evaluated on those below."""
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Guest:
    """What is not ours: a policy of others, and maybe the environment.

    Attributes:
        policy: as the command line spells it.
        kind: of the policy.
        key_map: what its server expects under which key; empty takes the one that the server names.
        cameras: the views that it gets.
        size: width and height of a view [px].
        env_sha256: of the mapping of the environment; empty for our own tasks.
        env_config: the file of that mapping; empty for one that ships.
        packages: whose versions count beside ours.
    """

    policy: str
    kind: PolicyKind
    key_map: str
    cameras: tuple[str, ...]
    size: tuple[int, int]
    env_sha256: str = ""
    env_config: str = ""
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Setting:
    """One configuration. Settings are equal if their hashes are: they have equal episodes.

    Attributes:
        task: name of the pick task, or of an environment of others, such as metaworld:reach-v3.
        optimization: what the policy is fed, and how.
        timing: mode, latency and all else that the clock needs.
        seed: of the first episode; the next ones follow by 1.
        policy_sha256: of the policy's files, or of what identifies a policy of others.
        speed: of the belt, or of the turntable's rim [m/s]; None draws one for each episode.
        head: which of the policy's heads moves the arm.
        device: of the policy; answers of a GPU equal those of a CPU up to rounding only.
        blackout: control: the policy sees black images.
        swap_instruction: control: the policy is told another object of the scene.
        guest: the policy of others, and where it acts; then `optimization` says nothing.
    """

    task: str
    optimization: Optimization
    timing: Timing
    seed: int
    policy_sha256: str
    speed: float | None = None
    head: Head = "regression"
    device: Device = "cpu"
    blackout: bool = False
    swap_instruction: bool = False
    guest: Guest | None = None

    @property
    def cameras(self) -> tuple[str, ...]:
        """The views that the policy gets."""
        return self.guest.cameras if self.guest else self.optimization.cameras

    @property
    def in_foreign_env(self) -> bool:
        """Whether the environment is not one of our tasks."""
        return self.guest is not None and bool(self.guest.env_sha256)

    @property
    def mode(self) -> Mode:
        """Pause, sync or async."""
        return self.timing.mode

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values; policies of the clock as a command line spells them, a latency by what it charges."""
        timing, latency = self.timing, self.timing.latency
        values = {field: getattr(self, field) for field in self.__dataclass_fields__}
        values["optimization"] = asdict(self.optimization)
        values["guest"] = asdict(self.guest) if self.guest else None
        values["timing"] = {
            "mode": timing.mode,
            "control_hz": timing.control_hz,
            "latency": {
                "name": latency.name,
                "basis": latency.basis,
                "factor": latency.factor,
                "vl_ms": latency.vl_ms,
                "vl_p95_ms": latency.charged.vl_p95_ms,
                "head_ms": latency.head_ms,
                "contention": latency.contention,
                "sha256": latency.sha256,
            },
            "reuse": str(timing.reuse),
            "execution": str(timing.execution),
            "servers": str(timing.servers),
            "contention": timing.servers.contention if isinstance(timing.servers, Shared) else None,
            "robot": asdict(timing.robot),
            "stages": timing.stages,
            "actions": asdict(timing.actions),
        }
        return json.loads(json.dumps(values))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Setting":
        """The setting that `as_json` gave, with the same hash; its latency is known, but cannot be drawn from.

        Raises:
            KeyError, TypeError, ValueError: these are not the values of a setting.
        """
        timing, latency = values["timing"], values["timing"]["latency"]
        optimization: dict[str, Any] = {key: _frozen(value) for key, value in values["optimization"].items()}
        read = Timing(
            mode=timing["mode"],
            control_hz=timing["control_hz"],
            latency=RecordedLatency(**latency),
            reuse=parse_reuse(timing["reuse"]),
            execution=parse_execution(timing["execution"]),
            servers=make_servers(timing["servers"], timing["contention"] or 1.0),
            robot=RobotTiming(**timing["robot"]),
            stages=timing["stages"],
            actions=ActionSpec(**{name: _frozen(value) for name, value in timing["actions"].items()}),
        )
        guest = values["guest"] and Guest(**{key: _frozen(value) for key, value in values["guest"].items()})
        return cls(**{**values, "optimization": Optimization(**optimization), "timing": read, "guest": guest})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setting) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that counts. A latency counts by what it charges, not by its name."""
        values = self.as_json()
        values["timing"]["latency"] = values["timing"]["latency"]["sha256"]
        if self.guest:  # a mapping counts by its content, a policy by its own hash
            values["guest"] |= {"env_config": "", "policy": ""}
        return _sha256(values)


@dataclass(frozen=True)
class RecordedLatency:
    """The latency of a result that was read back: its figures are known, its distribution is not."""

    name: str
    factor: float
    vl_ms: float
    vl_p95_ms: float
    head_ms: float
    contention: float
    sha256: str
    basis: Basis

    @property
    def charged(self) -> Charged:
        """Its figures."""
        return Charged(self.vl_ms, self.vl_p95_ms, self.head_ms)

    def stream(self, rng: np.random.Generator) -> LatencyStream:
        """Nothing can be drawn from it. TypeError."""
        raise TypeError(f"the latency {self.name} was read back from a result; parse it again to run episodes")

    def describe(self) -> str:
        """One line."""
        return f"{self.name}: VL {self.vl_ms:g} ms, sensor + head {self.head_ms:g} ms"


def _frozen(value: Any) -> Any:
    """Lists, as JSON has them, as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def name_of(settings: Sequence[Setting]) -> str:
    """Short name of a run of settings that differ in their mode alone, such as static-3v-224-7f3a."""
    first = settings[0]
    if first.guest:
        words = [first.task, first.guest.policy, first.timing.actions.hold, hash_of(settings)[:4]]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(words))
    o = first.optimization
    res = str(o.width) if o.width == o.height else f"{o.width}x{o.height}"
    words = [first.task] if first.speed is None else [first.task, f"{first.speed:g}"]
    words += [f"{len(o.cameras)}v", res, *unusual(asdict(o)).values()]
    words += ["blackout"] * first.blackout + ["swap"] * first.swap_instruction
    return "-".join([*words, hash_of(settings)[:4]])


def hash_of(settings: Sequence[Setting]) -> str:
    """SHA-256 of several settings in their order."""
    return _sha256([setting.hash for setting in settings])


def _sha256(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def crossed(features: Setting, timing: Setting) -> Setting:
    """What `features` feeds the policy, at the pace of `timing`: its latencies, mode, reuse policy and all the rest."""
    return replace(timing, optimization=features.optimization)


def differences(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """One "field (theirs there, ours here)" for each field in which two settings, as JSON, differ.

    Latencies are compared by what they charge: of an edited profile the line says that its content differs.
    """
    lines = []
    for key in sorted(set(theirs) | set(ours)):
        a, b = theirs.get(key), ours.get(key)
        if key == "latency" and isinstance(a, dict) and isinstance(b, dict):
            lines += _latency_difference(a, b)
        elif isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b)
        elif a != b:
            lines.append(f"{key} ({_show(a)} there, {_show(b)} here)")
    return lines


def _latency_difference(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    if theirs["sha256"] == ours["sha256"]:
        return []
    if theirs["name"] != ours["name"]:
        return [f"latency ({theirs['name']} there, {ours['name']} here)"]
    if theirs["factor"] != ours["factor"]:
        return [f"perf_factor ({theirs['factor']:g} there, {ours['factor']:g} here)"]
    return [f"latency (the content of {ours['name']} has changed)"]


def _show(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    text = f"{value:g}" if isinstance(value, float) else text
    return text if len(text) <= 40 else f"{text[:8]}..."
