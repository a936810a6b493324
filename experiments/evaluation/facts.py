"""What only a worker can find out before the first episode, by opening the world and loading the policy."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vlatency.agent.optimization import plain
from vlatency.agent.policies.protocol import PolicyKind
from vlatency.agent.policies.source import find_source
from vlatency.agent.realtime.requests import Encode
from vlatency.experiments.evaluation.episodes import Job, started, worlds_and_policy
from vlatency.experiments.evaluation.setting import Device, Guest
from vlatency.experiments.evaluation.worlds import camera_px, lay_out, opened_worlds
from vlatency.experiments.parallel.engine import Engine
from vlatency.experiments.shared import provenance

if TYPE_CHECKING:
    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.envs.pick import PickEnv


@dataclass(frozen=True)
class Facts:
    """What only a worker knows, because it has opened the world and loaded the policy.

    Attributes:
        instruction: of the task, with its {placeholders}.
        camera_px: width and height of a camera image [px].
        software: of the worker, as of `provenance.software`.
        kind: of the policy.
        parameters: of the policy; None where it is not ours to count them.
        feature_error: of its first look, against the same policy with nothing approximated; None if nothing is.
        identity: of a policy of others, what it says of itself and what it depends on; empty for our own.
    """

    instruction: str
    camera_px: tuple[int, int]
    software: dict[str, Any]
    kind: PolicyKind
    parameters: int | None
    feature_error: float | None
    identity: Mapping[str, Any] = field(default_factory=dict)


def prepare(workers: Engine, job: Job, episodes: int) -> Facts:
    """What `probe` finds in one worker, while others open the same world and load the same policy.

    Args:
        workers: run it.
        job: an episode.
        episodes: how many there are to run; no more workers than that get ready.
    """
    others = min(workers.slots, episodes) - 1
    facts, *_ = workers.map(_call, [(probe, job), *[(_load, job)] * others])
    assert isinstance(facts, Facts)
    return facts


def _call(task: tuple[Callable[[Job], Facts | None], Job]) -> Facts | None:
    function, job = task
    return function(job)


def _load(job: Job) -> None:
    if not job.setting.guest:  # a policy of others may serve one episode at a time
        worlds_and_policy(job.setting, job.policy)


def probe(job: Job) -> Facts:
    """Open the world and load the policy as an episode would. UsageError for what the user can mend."""
    if job.setting.guest:
        return _probe_guest(job, job.setting.guest)
    (env, *_), policy = worlds_and_policy(job.setting, job.policy)
    from vlatency.agent.vla.model.config import TINY
    from vlatency.envs.tasks import instruct
    from vlatency.sim.gl import renderer_name
    from vlatency.sim.world import Thing

    env.reset(seed=job.seed)
    return Facts(
        instruction=instruct(Thing("{shape}", "{colour}", 0.0, 0.0, 0.0)),
        camera_px=camera_px(job.setting),
        software=provenance.software(renderer_name(), _gpu(job.setting.device)),
        kind="stand-in" if policy.model.config.backbone == TINY else "true VLA",
        parameters=policy.parameters,
        feature_error=_feature_error(job, policy, env),
    )


def _probe_guest(job: Job, guest: Guest) -> Facts:
    """The world is opened, and the policy is started as for an episode, but asked nothing."""
    (world, *_) = opened_worlds(job.setting)
    lay_out(job.setting, job.seed, world)
    # Drawn: a view that cannot be drawn is said now, and there is a renderer to name.
    dict(world.capture(guest.cameras))
    with started(job, world.instruction):
        pass
    from vlatency.sim.gl import renderer_name

    drawn = renderer_name() if guest.cameras else provenance.NOT_DRAWN
    return Facts(
        instruction=world.instruction,
        camera_px=camera_px(job.setting),
        software=provenance.software(drawn, None, guest.packages),
        kind=guest.kind,
        parameters=None,
        feature_error=None,
        identity=find_source(job.policy, guest.key_map).identity(),
    )


def _gpu(device: Device) -> str | None:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else None


def _feature_error(job: Job, policy: "VLAPolicy", env: "PickEnv") -> float | None:
    """Of the first look in `env`."""
    from vlatency.agent.vla.model.features import feature_distance
    from vlatency.agent.vla.policy import VLAPolicy

    optimization = policy.optimization
    if optimization == plain(optimization):
        return None
    reference = VLAPolicy.from_pretrained(job.policy, plain(optimization), job.setting.device)
    look = Encode(env.capture(optimization.cameras), env.instruction, env.sensors())
    return feature_distance(policy.encode([look]), reference.encode([look]))
