"""The policy: VL encoder and action head, loaded from a folder, answering `Encode` and `Act` requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn

from agent.config import Head, Optimization
from agent.vla.backbones import config_for_backbone, pretrained_backbone, tiny_backbone
from agent.vla.config import TINY, PolicyConfig
from agent.vla.encoder import VLEncoder
from agent.vla.flow import FlowHead, absolute, guide_of, noise_of, sample
from agent.vla.heads import ActionHead, HeadOutput, Past, SensorBatch, ViewBatch
from agent.vla.text import Prompts, instruction_corpus, train_tokenizer
from agent.vla.views import resize
from sim.errors import UsageError

if TYPE_CHECKING:
    from transformers import Qwen2_5_VLModel

    from agent.realtime.requests import Act, Encode
    from sim.sensors import Readings

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"
_BACKBONE = "encoder.backbone."
GAP_NS, SHORTEST_GAP_NS = 600_000_000, 300_000_000
"""Time between two looks that motion is read from, and the least: over less, errors of a few millimetres are fast."""


class VLA(nn.Module):
    """Vision-language-action model: `encoder` (slow) and `head` (fast)."""

    def __init__(self, config: PolicyConfig, tokenizer: Tokenizer, backbone: Qwen2_5_VLModel | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer
        backbone = tiny_backbone(config, tokenizer) if backbone is None else backbone
        self.encoder = VLEncoder(config, backbone, Prompts(tokenizer, config))
        self.head = ActionHead(config, self.encoder.feature_width)
        self.flow = FlowHead(config, self.head.condition_width) if config.flow_width else None

    @classmethod
    def tiny(cls, config: PolicyConfig | None = None) -> VLA:
        """Untrained tiny model with a tokenizer trained on the instructions."""
        return cls(config or PolicyConfig(), train_tokenizer(instruction_corpus()))

    def add_flow(self, width: int = 288) -> FlowHead:
        """Gives the model a flow head, untrained; what it had of that kind is lost."""
        self.config = replace(self.config, flow_width=width)
        self.flow = FlowHead(self.config, self.head.condition_width)
        return self.flow


@dataclass(frozen=True)
class Look:
    """One set of encoded views."""

    t_ns: int
    """When the newest of them were taken."""
    instruction: str
    views: np.ndarray
    """(V, F) float32, see `ViewReadout.features`."""
    ee_at_capture: np.ndarray
    """(V, 5) x, y, z [m], yaw [rad] and gripper position when each view was taken."""
    lag_s: np.ndarray
    """(V,) how much older each view is than the newest [s]."""


@dataclass(frozen=True)
class Features:
    """Answer to `Encode`: all that `act` later needs from the images."""

    cameras: tuple[str, ...]
    newest: Look
    earlier: tuple[Look, ...]
    """Under the same instruction, newest first, as far back as motion needs."""

    @property
    def past(self) -> Look | None:
        """The look that motion is read from: the newest one that is old enough, if any."""
        oldest = self.earlier[-1] if self.earlier else None
        return oldest if oldest and self.newest.t_ns - oldest.t_ns >= SHORTEST_GAP_NS else None


def _earlier(newest: Look, before: Features | None) -> tuple[Look, ...]:
    """What of the looks before `newest` is worth keeping beside it."""
    if before is None or before.newest.instruction != newest.instruction:
        return ()
    looks = (before.newest, *before.earlier)
    for number, look in enumerate(looks):
        if newest.t_ns - look.t_ns >= GAP_NS:
            return looks[: number + 1]
    return looks


def sensor_batch(readings: Sequence[Readings], device: torch.device | str = "cpu") -> SensorBatch:
    """Stacks readings into float32 tensors."""

    def stack(name: str) -> torch.Tensor:
        values = np.stack([np.asarray(getattr(reading, name), dtype=np.float32) for reading in readings])
        return torch.from_numpy(values).to(device)

    return SensorBatch(
        ee_pose=stack("ee_pose"),
        gripper_pos=stack("gripper_pos"),
        gripper_vel=stack("gripper_vel"),
        joint_pos=stack("joint_pos"),
        joint_vel=stack("joint_vel"),
        wrench=stack("wrench"),
    )


def set_points(output: HeadOutput, ee_pose: torch.Tensor) -> torch.Tensor:
    """Absolute set-points (B, chunk, 5) [m, rad, 0 open or 1 closed] given the pose (B, 4) that `output` refers to."""
    xyz = ee_pose[:, None, :3] + output.chunk_xyz
    yaw = ee_pose[:, None, 3] + torch.atan2(output.chunk_yaw[..., 1], output.chunk_yaw[..., 0])
    gripper = (output.gripper > 0).to(xyz.dtype)
    return torch.cat([xyz, yaw.unsqueeze(-1), gripper.unsqueeze(-1)], dim=-1)


class VLAPolicy:
    """A `VLA` under one `Optimization`, with one of its heads.

    Requests are answered one by one: what an episode gets never depends on which others run beside it.

    Raises:
        UsageError: the model has no such head.
    """

    def __init__(self, model: VLA, optimization: Optimization | None = None, head: Head = "regression") -> None:
        if head == "flow" and model.flow is None:
            raise UsageError("the policy has no flow head; use regression, or train one with experiments/train_flow.py")
        self.model, self.head = model.eval(), head
        self.optimization = optimization or Optimization()
        self.device = next(model.parameters()).device
        self._view_ids = torch.tensor(model.config.view_ids(self.optimization.cameras), device=self.device)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        optimization: Optimization | None = None,
        device: str = "cpu",
        head: Head = "regression",
    ) -> VLAPolicy:
        """Policy from a folder written by `save_pretrained`; no network is needed for a tiny one.

        Raises:
            UsageError: the folder or a file in it is missing, corrupt, a pickle, or does not fit the configuration; or
                there is no such head.
        """
        folder = Path(folder)
        config = PolicyConfig.from_json(_read(folder, CONFIG_FILE))
        state = _load_weights(folder)
        if config.backbone == TINY:
            model = VLA(config, _load_tokenizer(folder))
        else:
            backbone, tokenizer = pretrained_backbone(config.backbone, _backbone_dtype(device))
            model = VLA(config, tokenizer, backbone)
        _fill(model, state, folder)
        return cls(model.to(device), optimization, head)

    @classmethod
    def from_backbone(cls, name: str, optimization: Optimization | None = None, device: str = "cpu") -> VLAPolicy:
        """Pretrained Qwen2.5-VL (hub id or local folder) under an untrained head: for timing, or to train from.

        Raises:
            UsageError: there is no such model.
        """
        backbone, tokenizer = pretrained_backbone(name, _backbone_dtype(device))
        model = VLA(config_for_backbone(name, backbone), tokenizer, backbone)
        return cls(model.to(device), optimization)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes configuration, weights (float16) and tokenizer; a pretrained backbone is stored by name only."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tiny = self.model.config.backbone == TINY
        state = {
            name: tensor.detach().to("cpu", torch.float16).contiguous()
            for name, tensor in self.model.state_dict().items()
            if tiny or not name.startswith(_BACKBONE)
        }
        save_file(state, folder / WEIGHTS_FILE)
        (folder / CONFIG_FILE).write_text(self.model.config.to_json())
        (folder / TOKENIZER_FILE).write_text(self.model.tokenizer.to_str(pretty=True) + "\n")

    @torch.inference_mode()
    def encode(self, requests: Sequence[Encode]) -> list[Features]:
        """Features of each request. Raises `ValueError` if a configured camera's image is missing or not an image."""
        return [self._encode(request) for request in requests]

    def _encode(self, request: Encode) -> Features:
        chosen = self.optimization
        pixels = []
        for camera in chosen.cameras:
            image = request.images.get(camera)
            if image is None:
                raise ValueError(f"no image of camera {camera!r} among {', '.join(request.images)}")
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"image of {camera!r}: {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
            pixels.append(resize(image, chosen.width, chosen.height, self.model.config))
        readout = self.model.encoder(
            torch.from_numpy(np.stack(pixels))[None].to(self.device),
            [request.instruction],
            chosen.cameras,
            chosen.encoding,
        )
        before = request.before
        if before is not None and not isinstance(before, Features):
            raise TypeError(f"features before are a {type(before).__name__}, expected an answer of encode")
        hand = np.append(request.readings.ee_pose, request.readings.gripper_pos)
        count = len(chosen.cameras)
        newest = Look(
            t_ns=request.t_ns,
            instruction=request.instruction,
            views=readout.features[0].cpu().numpy(),
            ee_at_capture=np.tile(hand, (count, 1)),
            lag_s=np.zeros(count),
        )
        return Features(chosen.cameras, newest, _earlier(newest, before))

    # Not inference mode: guidance needs gradients.
    @torch.no_grad()
    def act(self, requests: Sequence[Act]) -> list[np.ndarray]:
        """Chunk (chunk, 5) float64 of absolute set-points at 10 Hz for each request.

        Raises:
            TypeError: the features of a request are not an answer of `encode`.
            ValueError: a request has a plan, and the head does not sample.
        """
        return [self._act(request) for request in requests]

    def _act(self, request: Act) -> np.ndarray:
        features = request.features
        if not isinstance(features, Features):
            raise TypeError(f"features are a {type(features).__name__}, expected an answer of encode")
        sensors = sensor_batch([request.readings], self.device)
        look, past = features.past, None
        if look is not None:
            past = Past(self._views(look), self._tensor([(features.newest.t_ns - look.t_ns) * 1e-9]))
        age_s = self._tensor([request.age_ns * 1e-9])
        inputs = (self._views(features.newest), sensors, age_s, self.optimization.pool, past)
        if self.head == "flow":
            points = self._sample(self.model.head.condition(*inputs).inputs, sensors.ee_pose, request)
        elif request.plan is None:
            points = set_points(self.model.head(*inputs), sensors.ee_pose)
        else:
            raise ValueError("a regression head cannot continue a plan; real-time chunking needs a flow head")
        return points[0].double().cpu().numpy()

    def _sample(self, condition: torch.Tensor, ee_pose: torch.Tensor, request: Act) -> torch.Tensor:
        flow, chunk = self.model.flow, self.model.config.chunk
        assert flow is not None  # see __init__

        def velocity(noisy: torch.Tensor, time: float) -> torch.Tensor:
            return flow(condition, noisy, self._tensor([time]))

        guide = None
        if request.plan is not None:
            guide = guide_of(self._tensor(request.plan), request.frozen, ee_pose[0], chunk)
        noise = noise_of(request.readings.t_ns, chunk).to(self.device)
        return absolute(sample(velocity, noise, guide), ee_pose)

    def _views(self, look: Look) -> ViewBatch:
        return ViewBatch(
            self._tensor(look.views)[None],
            self._view_ids,
            self._tensor(look.ee_at_capture)[None],
            self._tensor(look.lag_s)[None],
        )

    def _tensor(self, values: np.ndarray | list[float]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)


def _backbone_dtype(device: str) -> torch.dtype:
    return torch.float32 if device == "cpu" else torch.bfloat16


def _read(folder: Path, name: str) -> str:
    if not folder.is_dir():
        raise UsageError(
            f"no policy folder {folder}: give one that holds {CONFIG_FILE}, {WEIGHTS_FILE}, {TOKENIZER_FILE}"
        )
    try:
        return (folder / name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"policy {folder}: cannot read {name} ({error})") from error


def _load_tokenizer(folder: Path) -> Tokenizer:
    text = _read(folder, TOKENIZER_FILE)
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # tokenizers raises bare Exception
        raise UsageError(f"policy {folder}: {TOKENIZER_FILE} is not a tokenizer ({error})") from error


def _load_weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        pickles = sorted(file.name for suffix in ("bin", "pt", "pth", "pkl") for file in folder.glob(f"*.{suffix}"))
        found = f"; {', '.join(pickles)} is a pickle and is never loaded" if pickles else ""
        raise UsageError(f"policy {folder}: {WEIGHTS_FILE} is missing{found}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"policy {folder}: {WEIGHTS_FILE} is not a readable safetensors file ({error})") from error


def _fill(model: VLA, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Loads `state` as far as the model's parameters go, at the model's precision."""
    expected = model.state_dict()
    if model.config.backbone != TINY:
        expected = {name: tensor for name, tensor in expected.items() if not name.startswith(_BACKBONE)}
    wrong = sorted(set(expected) ^ set(state)) or [
        name for name, tensor in expected.items() if tensor.shape != state[name].shape
    ]
    if wrong:
        raise UsageError(
            f"policy {folder}: {WEIGHTS_FILE} does not fit {CONFIG_FILE} in {len(wrong)} tensors ({wrong[0]})"
        )
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in state.items()}, strict=False)
