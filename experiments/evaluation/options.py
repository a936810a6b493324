"""The options that say what is evaluated: one set for run.py, for the arms of a sweep, for measure.py and agree.py."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from tyro.constructors import PrimitiveConstructorSpec

from vlatency.agent.optimization import (
    Attention,
    Compile,
    Encoding,
    Optimization,
    Pool,
    Preset,
    Quant,
    Shortcut,
    parse_res,
    with_preset,
)
from vlatency.agent.realtime.cost.latency import NoLatency
from vlatency.agent.realtime.cost.live import MEASURED, LiveLatency
from vlatency.agent.realtime.cost.named import NoFigure, parse_latency
from vlatency.agent.realtime.execution import Execution, Hold, parse_execution
from vlatency.agent.realtime.reuse import Latest, Reuse, Stagger, parse_reuse
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.realtime.servers import ServersName, make_servers
from vlatency.agent.realtime.timing import MODES, Latency, Mode, Timing
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.parallel.engine import Engine
from vlatency.experiments.parallel.open_engine import EngineName, open_engine
from vlatency.experiments.shared.command import check_range
from vlatency.sim.actions import ActionSpec
from vlatency.sim.clock import NS_PER_S
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

MIN_CONTROL_HZ, MAX_CONTROL_HZ = 0.1, 500.0
"""The upper one is the rate of the physics: a command cannot take effect between two steps."""


def _spelt(
    parse: Callable[[str], Any], metavar: str, spell: Callable[[Any], str] = str
) -> PrimitiveConstructorSpec[Any]:
    """An option whose text `parse` turns into an object."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: parse(words[0]),
        is_instance=lambda value: not isinstance(value, str),
        str_from_instance=lambda value: [spell(value)],
    )


def parse_modes(text: str) -> tuple[Mode, ...]:
    """`all`, one mode, or several joined by commas, in the order of `MODES`. UsageError for anything else."""
    names = MODES if text == "all" else tuple(text.split(","))
    for name in names:
        if name not in MODES:
            raise UsageError(f"unknown mode '{name}'; modes are {', '.join(MODES)}, all")
    return tuple(mode for mode in MODES if mode in names)


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _spell_modes(modes: tuple[Mode, ...]) -> str:
    return "all" if modes == MODES else ",".join(modes)


def _spell_size(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


Size = Annotated[tuple[int, int], _spelt(parse_res, "SIDE|WIDTHxHEIGHT", _spell_size)]
Cameras = Annotated[tuple[str, ...], _spelt(_parse_list, "NAME,NAME", ",".join)]
Shortcuts = Annotated[tuple[Shortcut, ...], _spelt(_parse_list, f"{{{','.join(get_args(Shortcut))}}}", ",".join)]
Modes = Annotated[tuple[Mode, ...], _spelt(parse_modes, "pause|sync|async|all", _spell_modes)]
ReuseOption = Annotated[Reuse, _spelt(parse_reuse, "latest|TICKS|event|deadline|stagger")]
ExecutionOption = Annotated[
    Execution, _spelt(parse_execution, "hold|chunk|switch|delay-aware|ensemble|roll-forward|rtc")
]


@dataclass(frozen=True)
class EngineOptions:
    """Where episodes run. Results depend on --portable alone."""

    workers: int = 0
    """Processes; 0 takes one a CPU core."""
    engine: EngineName = "local"
    """Processes of this machine, or a Ray cluster. Each of its nodes needs this checkout at the same path, installed,
    and for --videos and --trace the folder of the run (docs/usage.md)."""
    address: str = ""
    """--engine ray: HOST:PORT of the cluster; left out, the cluster is this machine alone."""
    portable: bool = False
    """Use AVX2 in all libraries and nothing wider, so that x86 processors with and without AVX-512 give the same
    episodes."""

    def open(self, gpu: bool) -> Engine:
        """The engine, as a context manager. UsageError if it cannot be had."""
        return open_engine(self.engine, self.address, self.workers, gpu, self.portable)


@dataclass(frozen=True)
class EncodeOptions:
    """What the encoder gets, and how it computes."""

    views: int = 3
    """Use the first N of the cameras top, wrist, front, left, right."""
    cameras: Cameras = ()
    """Use these cameras instead, for example top,front."""
    res: Size = (224, 224)
    """Size to which each 640x360 view is resized [px]: 224 for 224x224, or WIDTHxHEIGHT."""
    encoding: Encoding = "batched"
    """joint: all views in one sequence; batched: one sequence a view, side by side; separate: one call a view;
    streams: one call a view, each on its own CUDA stream."""
    attention: Attention = "sdpa"
    """Attention kernel. The last three need CUDA."""
    quant: Quant = "none"
    """Precision of the linear layers."""
    compile: Compile = "none"
    """How the encode is launched: kernel by kernel (none), recorded once (cuda-graph), or with kernels that
    torch.compile writes."""
    shortcuts: Shortcuts = ()
    """Work that is saved without changing what is computed. prefix: the text before the views is read once; fused:
    projections of the same input are one product; device-views: views are resized where the policy runs."""
    preset: Preset | None = None
    """Values for the options that are left at their defaults. fast: attention varlen, quant fp8, compile compile and
    all shortcuts; expected to be the fastest on an H100, not measured."""

    def optimization(self, pool: Pool = "attention") -> Optimization:
        """The optimization that these options ask for. UsageError if it is impossible."""
        if not self.cameras and not 1 <= self.views <= len(CAMERA_ORDER):
            names = ", ".join(CAMERA_ORDER)
            raise UsageError(f"views must be 1 to {len(CAMERA_ORDER)}, not {self.views}; cameras are {names}")
        chosen = Optimization(
            cameras=self.cameras or CAMERA_ORDER[: self.views],
            width=self.res[0],
            height=self.res[1],
            encoding=self.encoding,
            pool=pool,
            attention=self.attention,
            quant=self.quant,
            compile=self.compile,
            shortcuts=self.shortcuts,
        )
        return with_preset(chosen, self.preset) if self.preset else chosen


@dataclass(frozen=True)
class ClockOptions:
    """What the clock charges, and what happens meanwhile."""

    mode: Modes = MODES
    """pause: the world stops while the model thinks; sync: the arm holds its set-point meanwhile; async: the encoder
    runs beside the control loop. Several are joined by commas."""
    latency: str = "insertion_vla"
    """none; fixed:VL_MS,HEAD_MS, or fixed:MS for a policy of one stage; a profile (a name in assets/latency or a path);
    a published figure (MODEL/DEVICE/SOFTWARE, see latencies.py); what a device needs at least, modelled
    (roofline:DEVICE); or, for a server of others, what every answer really takes (measured), which no other run
    repeats."""
    perf_factor: float = 1.0
    """Multiply every latency: 0.5 is a device twice as fast."""
    servers: Literal["auto", ServersName] = "auto"
    """Encoder and head: each on its own GPU (two), both on one (shared), or both on one with priority for the head.
    auto: shared where a contention is measured in the profile or given here, else two; every table says which."""
    contention: float | None = None
    """How many times as long as alone the head takes beside an encode on the same GPU; default is the profile's figure,
    or 2, an even share."""
    reuse: ReuseOption = Latest()
    """async: when to encode again. latest: as soon as the last encode is done; TICKS: every so many control ticks;
    event[:TICKS]: when the fingers stop, the force jumps or the instruction changes; deadline[:MARGIN_MS]: just in time
    for the control tick that it serves; stagger[:N]: as latest, but each static view only at every N-th encode."""
    execution: ExecutionOption = Hold()
    """What becomes of a chunk. hold: its first set-point is held; chunk[:N]: N set-points are carried out, then the
    head runs again; switch, delay-aware, ensemble, roll-forward, rtc, each with [:N]: the chunk is followed until the
    next one arrives, and the head runs at every N-th control tick (docs/clock.md; rtc needs --head flow)."""
    control_hz: float | None = None
    """Control ticks a second of simulated time [Hz]; default is one a row of the policy's chunk: 10 for our own, one a
    step of the environment for others."""
    hold: Literal["auto", "repeat", "zero", "noop"] = "auto"
    """What is in force when an action is over and no other follows. repeat: the same again; zero: no motion, the
    gripper stays; noop: the environment's own action for nothing. auto: as the environment's mapping says."""
    robot: RobotTiming = RobotTiming()

    def timings(
        self, optimization: Optimization, actions: ActionSpec = SETPOINTS, stages: Literal[1, 2] = 2
    ) -> tuple[Timing, ...]:
        """One a mode. UsageError if an option is wrong or unknown.

        Args:
            optimization: what the latency is looked up for.
            actions: what the rows of the policy's chunks mean.
            stages: of the policy.
        """
        control_hz = NS_PER_S / actions.row_ns if self.control_hz is None else self.control_hz
        check_range("control-hz", control_hz, MIN_CONTROL_HZ, MAX_CONTROL_HZ)
        if self.hold != "auto":
            actions = dataclasses.replace(actions, hold=self.hold)
        if isinstance(self.reuse, Stagger) and optimization.encoding == "joint":
            raise UsageError("reuse stagger encodes views apart, which encoding joint cannot; use encoding batched")
        latency: Latency
        try:
            live = self.latency == MEASURED and stages == 1
            if live and self.perf_factor != 1:
                raise UsageError("latency measured is what it is: leave --perf-factor out, or charge the run's profile")
            latency = LiveLatency() if live else parse_latency(self.latency, optimization, self.perf_factor, stages)
        except NoFigure:
            if self.mode != ("pause",):
                raise
            latency = NoLatency()  # a world that waits is charged none
        if self.contention is not None:
            check_range("contention", self.contention, 1)
        contention = self.contention or latency.contention
        known = self.contention is not None or latency.contention_measured
        auto: ServersName = "shared" if known and stages == 2 else "two"
        servers = make_servers(auto if self.servers == "auto" else self.servers, contention)
        common = Timing(
            MODES[0], control_hz, latency, self.reuse, self.execution, servers, self.robot, stages, actions=actions
        )
        return tuple(dataclasses.replace(common, mode=mode) for mode in self.mode)
