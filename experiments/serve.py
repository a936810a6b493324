"""Serve a policy over openpi's websocket protocol, so that other tools can drive it.

python experiments/serve.py --policy tiny --port 8000
"""

from contextlib import suppress
from dataclasses import asdict, dataclass

from vlatency.agent.optimization import Head, Pool, check_device
from vlatency.experiments.evaluation.options import EncodeOptions
from vlatency.experiments.evaluation.policies import find_policy, hash_policy
from vlatency.experiments.evaluation.setting import Device
from vlatency.experiments.shared.command import check_range, run
from vlatency.sim.errors import UsageError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Args:
    """Answer observations with chunks of actions until interrupted. The client learns on connecting which keys to send.

    A connection is an episode: the policy keeps its last look from one observation to the next.
    """

    policy: str = "tiny"
    """A policy in assets/policies, or the folder of another one."""
    host: str = "127.0.0.1"
    """Address to listen at. 127.0.0.1 is reached from this machine alone; nobody is asked for a password."""
    port: int = 8000
    """Port to listen at; 0 takes a free one."""
    head: Head = "regression"
    """What turns features into chunks: the head that states one (regression) or the one that samples (flow)."""
    pool: Pool = "attention"
    """How the features of the views are combined."""
    device: Device = "cpu"
    """Where the policy runs."""
    encode: EncodeOptions = EncodeOptions()


def main(args: Args) -> None:
    """Load the policy, listen, and answer."""
    check_range("port", args.port, 0, 65535)
    optimization = args.encode.optimization(args.pool)
    check_device(optimization, args.device)
    folder = find_policy(args.policy)
    # Imported here so that --help answers at once.
    import torch

    from vlatency.agent.policies.openpi import start_server
    from vlatency.agent.policies.served import ServedEpisode, described
    from vlatency.agent.vla.model.config import TINY
    from vlatency.agent.vla.policy import VLAPolicy
    from vlatency.experiments.timing.profile_file import device_name

    if args.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch finds no GPU here; leave --device out to run on the CPU")
    torch.set_num_threads(1)  # as in a run, whose answers these equal bit for bit
    policy = VLAPolicy.from_pretrained(folder, optimization, args.device, args.head)
    about = described(optimization.cameras) | {
        "name": f"vlatency {folder.name}",
        "kind": "stand-in" if policy.model.config.backbone == TINY else "true VLA",
        "sha256": hash_policy(folder),
        "device": device_name(policy.device),
        "takes_plan": args.head == "flow",
        "head": args.head,
        "optimization": asdict(optimization),
        "rows": policy.model.config.chunk,
    }
    try:
        server = start_server(lambda: ServedEpisode(policy, optimization.cameras), about, args.host, args.port)
    except OSError as error:
        where = f"{args.host}:{args.port}"
        raise UsageError(f"cannot listen at {where} ({error.strerror}); choose another --host or --port") from None
    port = server.socket.getsockname()[1]
    print(f"{about['name']} answers at openpi://{args.host}:{port}; it reads {', '.join(about['reads'])}")
    if args.host not in LOOPBACK:
        print("anybody who reaches this address can use it: there is no password and no encryption")
    print("stop it with Ctrl-C", flush=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    run(main, Args)
