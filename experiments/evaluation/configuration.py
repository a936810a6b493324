"""What is evaluated, as a command line or a sweep's YAML spells it, and the settings that follow from it."""

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vlatency.agent.optimization import Head, Optimization, Pool, check_device
from vlatency.agent.policies.source import find_source, is_source
from vlatency.agent.realtime.execution import RealTimeChunking
from vlatency.agent.realtime.reuse import OnEvent
from vlatency.agent.realtime.robot_timing import RobotTiming
from vlatency.agent.vla.setpoints import SETPOINTS
from vlatency.experiments.evaluation.options import ClockOptions, EncodeOptions
from vlatency.experiments.evaluation.policies import find_policy, find_policy_of, hash_policy, hash_source
from vlatency.experiments.evaluation.setting import FIRST_TRAINING_SEED, Device, Guest, Setting
from vlatency.experiments.shared.command import check_range, parse
from vlatency.sim.errors import UsageError

if TYPE_CHECKING:
    from vlatency.envs.mapping import Mapping as EnvMapping

OURS = "vlatency"
"""The environment that is ours."""
TaskName = Literal["static", "shape", "small", "clutter", "occluded", "conveyor", "turntable", "disturbed", "switched"]
"""The names of `envs.tasks.TASKS`, which a test holds against these; that table needs MuJoCo, a help text must not."""


@dataclass(frozen=True)
class Configuration:
    """What is evaluated: environment, policy, encode and clock. A sweep's arms choose among these options."""

    env: str = OURS
    """vlatency: our pick tasks, see --task. Or metaworld:NAME, robotics:NAME, pusht, aloha:NAME, robosuite:NAME, gym:ID
    with --env-config, or MODULE:CALLABLE (docs/your-environment.md)."""
    env_config: str = ""
    """The YAML file that says what the environment's steps, actions and cameras mean."""
    task: TaskName = "static"
    """Pick task."""
    speed: float | None = None
    """conveyor, turntable: speed of the belt or of the rim [m/s]; drawn anew in each episode if left out."""
    policy: str = "tiny"
    """A policy in assets/policies, or the folder of another one. Or a policy of others: openpi://HOST:PORT,
    script:metaworld, script:MODULE:CALLABLE (docs/your-policy.md)."""
    key_map: str = ""
    """openpi://: what the server expects under which key: libero, droid, aloha, FILE.yaml; default is what it names."""
    model: str = ""
    """Instead of --policy: the policy that ships for this model (tiny, tiny-s)."""
    head: Head = "regression"
    """What turns features into chunks: the head that states one (regression) or the one that samples (flow)."""
    pool: Pool = "attention"
    """How the features of the views are combined."""
    device: Device = "cpu"
    """Where the policy runs. On a CPU results are the same on every batch size."""
    blackout: bool = False
    """Control: the policy sees black images."""
    swap_instruction: bool = False
    """Control: the policy is told another object of the scene; the row says which one it lifted."""
    encode: EncodeOptions = EncodeOptions()
    clock: ClockOptions = ClockOptions()

    def settings(self, seed: int, episodes: int) -> tuple[tuple[Setting, ...], str]:
        """One setting a mode, and the policy's folder or source.

        Args:
            seed: of the first episode.
            episodes: of each mode; their seeds must be evaluation seeds.

        Raises:
            UsageError: an option is wrong, or two of them do not go together.
        """
        check_range("episodes", episodes, 1)
        check_range("seed", seed, 0, FIRST_TRAINING_SEED - episodes)
        if self.env != OURS or is_source(self.policy):
            return self._guest_settings(seed), self.policy
        for option in ("env_config", "key_map"):
            if getattr(self, option):
                raise UsageError(f"{option} is for an environment or a server of others; leave it out")
        if self.head == "regression" and isinstance(self.clock.execution, RealTimeChunking):
            raise UsageError(
                "execution rtc guides a head that samples chunks, and regression does not: add --head flow"
            )
        if self.model and self.policy != Configuration.policy:
            raise UsageError("give --model or --policy, not both: the folder of a policy says which model it has")
        optimization = self.encode.optimization(self.pool)
        check_device(optimization, self.device)
        policy = find_policy_of(self.model) if self.model else find_policy(self.policy)
        settings = tuple(
            Setting(
                task=self.task,
                optimization=optimization,
                timing=timing,
                seed=seed,
                policy_sha256=hash_policy(policy),
                speed=self.speed,
                head=self.head,
                device=self.device,
                blackout=self.blackout,
                swap_instruction=self.swap_instruction,
            )
            for timing in self.clock.timings(optimization)
        )
        return settings, str(policy)

    def _guest_settings(self, seed: int) -> tuple[Setting, ...]:
        """One a mode, for a policy of others."""
        if not is_source(self.policy):
            raise UsageError(
                f"policy {self.policy} reads the cameras and sensors of our own tasks, and {self.env} has others; "
                "give --policy openpi://HOST:PORT, script:metaworld or script:MODULE:CALLABLE"
            )
        self._check_for_guests()
        source, actions = find_source(self.policy, self.key_map), SETPOINTS
        guest = Guest(source.name, source.kind, self.key_map, source.cameras, self.encode.res)
        if self.env != OURS:
            mapping = find_mapping(self.env, self.env_config)
            actions = mapping.actions
            if missing := [camera for camera in source.cameras if camera not in mapping.cameras]:
                has = ", ".join(mapping.cameras) or "none"
                raise UsageError(f"{source.name} wants the view {missing[0]}, and the cameras of {self.env} are {has}")
            guest = dataclasses.replace(
                guest,
                env_sha256=hashlib.sha256(mapping.model_dump_json().encode()).hexdigest(),
                env_config=self.env_config and str(Path(self.env_config).resolve()),
                packages=mapping.packages,
            )
        sha256 = hash_source(source)
        return tuple(
            Setting(
                task=self.task if self.env == OURS else self.env,
                optimization=Optimization(),
                timing=timing,
                seed=seed,
                policy_sha256=sha256,
                speed=self.speed,
                guest=guest,
            )
            for timing in self.clock.timings(Optimization(), actions, stages=1)
        )

    def _check_for_guests(self) -> None:
        """UsageError for an option that only our own policy has, or that only our own tasks have."""
        usual, encode = Configuration(), dataclasses.replace(self.encode, res=EncodeOptions.res)
        ours = ["model", "head", "pool", "device", "blackout", *["task", "speed"] * (self.env != OURS)]
        for option in [*ours, "swap_instruction"]:
            if getattr(self, option) != getattr(usual, option):
                raise UsageError(f"{option} is for our own policy or tasks, and this is another; leave it out")
        if encode != usual.encode:
            raise UsageError("only res of the encode's options is for policies of others; leave the rest out")
        if self.clock.latency == ClockOptions.latency and self.clock.mode != ("pause",):
            raise UsageError(
                f"{ClockOptions.latency} is the latency of another model; say what this policy is charged with "
                "--latency fixed:MS, none, or a profile of it"
            )
        if isinstance(self.clock.reuse, OnEvent) and self.env != OURS:
            raise UsageError("reuse event reads our own sensors; use latest or a number of control ticks")


def find_mapping(env: str, config: str = "") -> "EnvMapping":
    """What the clock has to know of an environment of others. UsageError if there is none, or its file is wrong."""
    from vlatency.envs.suites import open_mapping

    return open_mapping(env, Path(config) if config else None)


def _leaves(kind: type) -> dict[str, Any]:
    """Name and type of every option below a dataclass of options."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if isinstance(field.default, EncodeOptions | ClockOptions | RobotTiming):
            found |= _leaves(type(field.default))
        else:
            found[field.name] = field.type
    return found


OPTIONS = _leaves(Configuration)
"""The names of a configuration's options, as a sweep's YAML spells them."""


def parse_options(options: Mapping[str, Any]) -> Configuration:
    """A configuration from names and values, with the checks and the errors of a command line.

    Args:
        options: values by option name, as YAML gives them; a list is the same as its items joined by commas.

    Raises:
        UsageError: an unknown name, or a value that the option cannot have.

    Example:
        >>> parse_options({"views": 5, "mode": "sync", "reuse": "event"}).encode.views
        5
    """
    words: list[str] = []
    for name, value in options.items():
        if name not in OPTIONS:
            raise UsageError(f"unknown '{name}'; options are {', '.join(OPTIONS)}")
        flag = f"--{name.replace('_', '-')}"
        if OPTIONS[name] is bool:
            if not isinstance(value, bool):
                raise UsageError(f"{name} must be true or false, not {value!r}")
            words += [flag] * value
        else:
            words += [flag, ",".join(map(str, value)) if isinstance(value, list) else str(value)]
    return parse(Configuration, words)
