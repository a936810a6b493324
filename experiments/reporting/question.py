"""The question that a recommendation answers: a device, a task, and how much success is good enough."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from vlatency.agent.policies.source import find_source, is_source
from vlatency.agent.realtime.servers import ServersName
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.analysis.choosing import Enough, enough
from vlatency.experiments.evaluation.configuration import OURS, TaskName, find_mapping
from vlatency.experiments.evaluation.options import MAX_CONTROL_HZ, MIN_CONTROL_HZ
from vlatency.experiments.evaluation.policies import find_policy, hash_policy, hash_source
from vlatency.experiments.evaluation.setting import Setting
from vlatency.experiments.reporting.candidates import Candidate, Device, find_device
from vlatency.experiments.shared.command import check_range
from vlatency.sim.clock import NS_PER_S
from vlatency.sim.errors import UsageError

CELLS = Path("runs/cells")


@dataclass(frozen=True)
class Question:
    """What is asked for."""

    device: str
    """What charges the clock: a latency profile (name or path), a device of the roofline, or fixed:VL_MS,HEAD_MS."""
    servers: Literal["auto", ServersName] = "auto"
    """Which GPUs encoder and head have there: two, one (shared), or one with priority for the head (shared-priority).
    auto: shared where a contention is measured in the profile or given here, else two."""
    contention: float | None = None
    """How many times as long as alone the head takes beside an encode on the same GPU; default is the profile's figure,
    or 2, an even share."""
    control_hz: float | None = None
    """Control ticks per second that the configuration has to serve [Hz]; default is 10 in our tasks, and one a step in
    other environments."""
    min_success: float = 0.9
    """The lowest success rate that is good enough, between 0 and 1."""
    env: str = OURS
    """vlatency: our pick tasks, see --task; or another environment, as run.py takes it."""
    env_config: str = ""
    """The YAML file of that environment."""
    task: TaskName = "static"
    """Pick task."""
    speed: float | None = None
    """conveyor, turntable: speed of the belt or of the rim [m/s]; cells of drawn speeds if left out."""
    policy: str = "tiny"
    """A policy in assets/policies, the folder of another one, or the source of a policy of others, such as
    script:metaworld; cells of other policies are not used."""
    cells: Path = CELLS
    """Folder of the measured cells."""

    def check(self) -> None:
        """Raise UsageError if it cannot be asked."""
        from vlatency.envs.tasks import check_speed, find_task  # MuJoCo, which a help text must not wait for

        check_range("control-hz", self.rate_hz, MIN_CONTROL_HZ, MAX_CONTROL_HZ)
        if not 0 < self.min_success < 1:
            raise UsageError(f"min-success must be above 0 and below 1, not {self.min_success:g}")
        check_speed(find_task(self.task), self.speed)
        if self.cells != CELLS and not self.cells.is_dir():
            raise UsageError(f"--cells: there is no folder {self.cells}; sweeps write to {CELLS}")

    @cached_property
    def rate_hz(self) -> float:
        """Control ticks per second [Hz]. UsageError if there is no such environment."""
        if self.control_hz is not None:
            return self.control_hz
        return NS_PER_S / (SETPOINTS if self.env == OURS else find_mapping(self.env, self.env_config).actions).row_ns

    @property
    def policy_sha256(self) -> str:
        """Of the policy. UsageError if there is none of that name."""
        if is_source(self.policy):
            return hash_source(find_source(self.policy))
        return hash_policy(find_policy(self.policy))

    @property
    def wanted(self) -> str:
        """The lowest success that is good enough, in words."""
        return f"{self.min_success:.0%}"

    @property
    def place(self) -> str:
        """Task and speed, in words."""
        where = self.task if self.env == OURS else self.env
        return where if self.speed is None else f"{where} at {self.speed:g} m/s"

    def is_there(self, setting: Setting) -> bool:
        """Whether a setting is of this environment, whichever of our tasks it has."""
        if self.env == OURS:
            return not setting.in_foreign_env
        return setting.in_foreign_env and setting.task == self.env

    def suits(self, setting: Setting, at_speed: bool = True) -> bool:
        """Whether a setting answers the question. Pause is no way to run a robot, and controls are no policies."""
        return (
            self.is_there(setting)
            and (self.env != OURS or setting.task == self.task)
            and setting.timing.control_hz == self.rate_hz
            and (not at_speed or setting.speed == self.speed)
            and setting.mode != "pause"
            and not setting.blackout
            and not setting.swap_instruction
        )

    def on_device(self) -> Device:
        """The device that is asked about. UsageError if there is none of that name."""
        return Device(find_device(self.device), self.servers, self.contention)

    def meets(self, candidate: Candidate) -> Enough:
        """Whether its success is enough."""
        assert candidate.interpolated
        return enough(candidate.interpolated.success, self.min_success)
