"""Serve a LeRobot checkpoint over openpi's websocket protocol. Runs where LeRobot is installed, without vlatency.

.venv-lerobot/bin/python experiments/lerobot_serve.py --policy assets/policies/act-metaworld/drawer-open-v3

To take it elsewhere, copy this file and agent/policies/openpi.py, and `pip install msgpack websockets` there.
"""

import argparse
import hashlib
import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

PROMPT, ACTION = "prompt", "action"


class Checkpoint:
    """A LeRobot policy with its processors, and what clients are told on connecting."""

    def __init__(self, folder: Path, device: str, rtc: bool) -> None:
        import lerobot
        import torch
        from lerobot.configs.policies import PreTrainedConfig
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        self.rtc, self.config = rtc, PreTrainedConfig.from_pretrained(folder)
        self.config.device = device
        if hasattr(self.config, "pretrained_backbone_weights"):
            self.config.pretrained_backbone_weights = None  # the checkpoint has them: nothing to download
        if rtc:
            from lerobot.policies.rtc.configuration_rtc import RTCConfig

            if not hasattr(self.config, "rtc_config"):
                raise ValueError(f"{self.config.type} continues no plan; leave --rtc out")
            self.config.rtc_config = RTCConfig(enabled=True)
        self.policy = get_policy_class(self.config.type).from_pretrained(folder, config=self.config).eval()
        there = {"pretrained_path": str(folder), "preprocessor_overrides": {"device_processor": {"device": device}}}
        self.before, self.after = make_pre_post_processors(self.config, **there)
        self.keys = {feature.replace(".", "/"): feature for feature in self.config.input_features}
        files = sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")])
        self.metadata = {
            "name": f"lerobot {self.config.type}",
            "kind": "third-party",
            "reads": [*self.keys, PROMPT],
            "shapes": {key: list(self.config.input_features[name].shape) for key, name in self.keys.items()},
            "width": self.config.output_features[ACTION].shape[0],
            "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
            "takes_plan": rtc,
            "sha256": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
            "versions": {"lerobot": lerobot.__version__, "torch": torch.__version__},
        }


class Episode:
    """Answers the observations of one connection; what a policy remembers of them is its own."""

    def __init__(self, served: Checkpoint, seed: int, rows: int = 0) -> None:
        self.served, self.seed, self.rows, self.calls = served, seed, rows, 0
        served.policy.reset()
        self.queues = getattr(served.policy, "_queues", None)

    def __call__(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The whole chunk in the environment's units; its first row is for the instant of the observation."""
        import torch
        from lerobot.policies.utils import populate_queues

        served, policy = self.served, self.served.policy
        inputs: dict[str, Any] = {"task": str(observation.get(PROMPT, ""))}
        inputs |= {name: torch.tensor(self._array(key, name, observation)) for key, name in served.keys.items()}
        if served.rtc and observation.get("plan") is not None:
            inputs[ACTION] = torch.tensor(observation["plan"], dtype=torch.float32)  # is normalized as in training
        # Noise depends on the seed and on how many answers came before, not on who else is connected.
        torch.manual_seed(self.seed + self.calls)
        self.calls += 1
        batch = served.before(inputs)
        left = batch.pop(ACTION, None)
        options = {} if left is None else {"prev_chunk_left_over": left, "inference_delay": observation["frozen"]}
        with torch.no_grad():
            if self.queues is not None:
                policy._queues = self.queues
            if served.config.n_obs_steps > 1:  # diffusion, vqbet: it reads what `select_action` queues
                if images := served.config.image_features:
                    batch["observation.images"] = torch.stack([batch[key] for key in images], dim=-4)
                populate_queues(self.queues, batch)
            chunk = served.after(policy.predict_action_chunk(batch, **options))
        return {"actions": chunk[0, : self.rows or None].cpu().double().numpy()}

    def _array(self, key: str, name: str, observation: dict[str, Any]) -> np.ndarray:
        shape = tuple(self.served.config.input_features[name].shape)
        wanted = (*shape[1:], shape[0]) if len(shape) == 3 else shape
        array = np.asarray(observation.get(key, []), dtype=np.float32)
        if array.shape != wanted:
            raise ValueError(f"{key} must be {wanted}, channels last, not {array.shape}")
        return array.transpose(2, 0, 1) / 255 if len(shape) == 3 else array


def main() -> None:
    """Load the checkpoint, listen, and answer."""
    parser = argparse.ArgumentParser(description="Serve a LeRobot checkpoint until interrupted.")
    parser.add_argument("--policy", type=Path, required=True, help="folder that LeRobot's save_pretrained wrote")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 127.0.0.1: this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps")
    parser.add_argument("--rtc", action="store_true", help="real-time chunking (pi0, pi05, smolvla): continue a plan")
    parser.add_argument("--rows", type=int, default=0, help="end chunks after so many rows; 0: give all of them")
    parser.add_argument("--key-map", default="", help="key map to recommend to clients, such as libero or metaworld")
    parser.add_argument("--seed", type=int, default=0, help="of the noise in each episode")
    args = parser.parse_args()
    if not (args.policy / "config.json").is_file() or args.rows < 0:
        parser.error("give the folder of a LeRobot checkpoint, which has a config.json, and no negative --rows")
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "agent" / "policies"))
    try:
        openpi, served = importlib.import_module("openpi"), Checkpoint(args.policy, args.device, args.rtc)
        about = served.metadata | {"key_map": args.key_map, "rows": args.rows, "seed": args.seed}
        server = openpi.start_server(lambda: Episode(served, args.seed, args.rows), about, args.host, args.port)
    except ImportError as error:
        parser.error(f"{error.name} is not installed in {sys.prefix}: make lerobot, or pip install it there")
    except (OSError, ValueError) as error:
        parser.error(f"{args.policy} cannot be served at {args.host}:{args.port}: {error}")
    print(about["name"], f"at openpi://{args.host}:{server.socket.getsockname()[1]} reads", *about["reads"], flush=True)
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
