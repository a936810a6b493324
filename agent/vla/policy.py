"""The policy: a model under one optimization, answering `Encode` and `Act` requests."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from vlatency.agent.optimization import Head, Optimization
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla import folder
from vlatency.agent.vla.model.encoder import PLAIN
from vlatency.agent.vla.model.features import Features, Look, earlier_looks, renewed
from vlatency.agent.vla.model.flow import absolute, guide_of, noise_of, sample
from vlatency.agent.vla.model.heads import HeadOutput, Past, SensorBatch, ViewBatch
from vlatency.agent.vla.model.views import resize, resize_on_device
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.speed.apply_optimization import apply_optimization
from vlatency.sim.errors import UsageError
from vlatency.sim.readings import Readings

R = TypeVar("R")


def _before(request: Encode) -> Features | None:
    if not (request.before is None or isinstance(request.before, Features)):
        raise TypeError(f"features before are a {type(request.before).__name__}, expected an answer of encode")
    return request.before


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
    """A `VLA` under one `Optimization`, which is applied to its encoder in place, with one of its heads.

    On a GPU all requests share one forward pass, and answers are equal to those of one alone up to rounding. On a CPU,
    where sharing saves little, they are answered one by one: what an episode gets does not depend, to the bit, on which
    others run beside it.

    Raises:
        UsageError: the model has no such head, or the optimization does not run here.
        ValueError: the model's layers were changed for another optimization.
    """

    def __init__(self, model: VLA, optimization: Optimization | None = None, head: Head = "regression") -> None:
        if head == "flow" and model.flow is None:
            raise UsageError(
                "the policy has no flow head; use regression or the policy tiny-flow, "
                "or train one with experiments/train_head.py --head flow"
            )
        self.model, self.head = model.eval(), head
        self.optimization = optimization or Optimization()
        self.device = next(model.parameters()).device
        self.parameters = sum(tensor.numel() for tensor in model.parameters())
        """How many numbers the model has learnt, however they are stored."""
        apply_optimization(model.encoder, self.optimization)
        self._view_ids = torch.tensor(model.config.view_ids(self.optimization.cameras), device=self.device)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        optimization: Optimization | None = None,
        device: str = "cpu",
        head: Head = "regression",
    ) -> VLAPolicy:
        """Policy from a folder written by `save_pretrained`; no network is needed for a tiny one.

        Raises:
            UsageError: the folder or a file in it is missing, corrupt, a pickle, or does not fit the configuration; or
                there is no such head.
        """
        return cls(folder.load(Path(path), device), optimization, head)

    @classmethod
    def from_backbone(cls, name: str, optimization: Optimization | None = None, device: str = "cpu") -> VLAPolicy:
        """Pretrained Qwen-VL (name, hub id or local folder) under an untrained head: for timing, or to train from.

        Raises:
            UsageError: there is no such model.
        """
        return cls(folder.load_backbone(name, device), optimization)

    def save_pretrained(self, path: str | Path) -> None:
        """Writes configuration, weights (float16) and tokenizer; a pretrained backbone is stored by name only.

        Raises:
            ValueError: its layers are quantized, fused or compiled.
        """
        if self.model.encoder.layers != PLAIN:
            raise ValueError(f"layers that are {self.model.encoder.layers} are not saved; save the plain policy")
        folder.save(self.model, Path(path))

    def encode(self, requests: Sequence[Encode]) -> list[Features]:
        """Features of each request; views of which it has no image stay as they were before.

        Raises:
            ValueError: not an image, or none of a configured camera, neither now nor before (under this instruction).
        """
        alike = (same for sharing in self._shared(requests) for _, same in groupby(sharing, self._cameras))
        return [features for same in alike for features in self._encode(list(same))]

    def _shared(self, requests: Sequence[R]) -> list[Sequence[R]]:
        """The requests, in their order, grouped into those that share a forward pass."""
        return [[request] for request in requests] if self.device.type == "cpu" else [requests]

    @torch.inference_mode()
    def _encode(self, requests: Sequence[Encode]) -> list[Features]:
        """Answers to requests with images of the same cameras."""
        readout = self.model.encoder(
            torch.stack([self._pixels(request) for request in requests]).to(self.device),
            [request.instruction for request in requests],
            self._cameras(requests[0]),
            self.optimization.encoding,
        )
        views = readout.features.cpu().numpy()
        return [self._features(request, each) for request, each in zip(requests, views, strict=True)]

    def _cameras(self, request: Encode) -> tuple[str, ...]:
        """Those to look at. ValueError if there is nothing to know the view of another one from."""
        chosen, before = self.optimization, _before(request)
        missing = [camera for camera in chosen.cameras if camera not in request.images]
        known = before is not None and before.newest.instruction == request.instruction
        # Views in one sequence have read each other: none of them can be renewed alone.
        apart = chosen.encoding != "joint" and len(missing) < len(chosen.cameras)
        if missing and not (known and apart):
            raise ValueError(f"no image of camera {missing[0]!r} among {', '.join(request.images)}, now or before")
        return tuple(camera for camera in chosen.cameras if camera in request.images)

    def _features(self, request: Encode, views: np.ndarray) -> Features:
        """The answer to `request`, whose views are encoded as `views` (V, F)."""
        cameras, before = self.optimization.cameras, _before(request)
        hand = np.append(request.readings.ee_pose, request.readings.gripper_pos)
        newest = Look(
            t_ns=request.t_ns,
            instruction=request.instruction,
            views=views,
            ee_at_capture=np.tile(hand, (len(views), 1)),
            lag_s=np.zeros(len(views)),
        )
        if before is not None and len(views) < len(cameras):
            newest = renewed(before.newest, newest, [cameras.index(camera) for camera in self._cameras(request)])
        return Features(cameras, newest, earlier_looks(newest, before))

    def _pixels(self, request: Encode) -> torch.Tensor:
        """(V, H, W, 3) uint8: the views to look at, resized."""
        chosen = self.optimization
        images = []
        for camera in self._cameras(request):
            image = request.images[camera]
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"image of {camera!r}: {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
            images.append(image)
        size = chosen.width, chosen.height, self.model.config
        if "device-views" in chosen.shortcuts:
            return resize_on_device(torch.from_numpy(np.stack(images)).to(self.device), *size)
        return torch.from_numpy(np.stack([resize(image, *size) for image in images]))

    def act(self, requests: Sequence[Act]) -> list[np.ndarray]:
        """Chunk (chunk, 5) float64 of absolute set-points at 10 Hz for each request.

        Raises:
            TypeError: the features of a request are not an answer of `encode`.
            ValueError: a request has a plan, and the head does not sample.
        """
        return [chunk for sharing in self._shared(requests) for chunk in self._act(sharing)]

    # Not inference mode: guidance needs gradients.
    @torch.no_grad()
    def _act(self, requests: Sequence[Act]) -> list[np.ndarray]:
        features = [_answered(request) for request in requests]
        sensors = sensor_batch([request.readings for request in requests], self.device)
        # Where a request has no past, its newest look stands in; a gap of zero says that it is to be ignored.
        pasts = [each.past or each.newest for each in features]
        gaps = [(each.newest.t_ns - past.t_ns) * 1e-9 for each, past in zip(features, pasts, strict=True)]
        inputs = (
            self._views([each.newest for each in features]),
            sensors,
            self._tensor([request.age_ns * 1e-9 for request in requests]),
            self.optimization.pool,
            Past(self._views(pasts), self._tensor(gaps)),
        )
        if self.head == "flow":
            conditions = self.model.head.condition(*inputs).inputs
            rows = zip(conditions.split(1), sensors.ee_pose.split(1), requests, strict=True)
            points = torch.cat([self._sample(*row) for row in rows])
        elif all(request.plan is None for request in requests):
            points = set_points(self.model.head(*inputs), sensors.ee_pose)
        else:
            raise ValueError("a regression head cannot continue a plan; real-time chunking needs a flow head")
        return list(points.double().cpu().numpy())

    def _sample(self, condition: torch.Tensor, ee_pose: torch.Tensor, request: Act) -> torch.Tensor:
        flow, chunk = self.model.flow, self.model.config.chunk
        assert flow is not None  # see __init__

        def velocity(noisy: torch.Tensor, time: float) -> torch.Tensor:
            rate: torch.Tensor = flow(condition, noisy, self._tensor([time]))
            return rate

        guide = None
        if request.plan is not None:
            guide = guide_of(self._tensor(request.plan), request.frozen, ee_pose[0], chunk)
        noise = noise_of(request.readings.t_ns, chunk).to(self.device)
        return absolute(sample(velocity, noise, guide), ee_pose)

    def _views(self, looks: Sequence[Look]) -> ViewBatch:
        return ViewBatch(
            self._tensor(np.stack([look.views for look in looks])),
            self._view_ids,
            self._tensor(np.stack([look.ee_at_capture for look in looks])),
            self._tensor(np.stack([look.lag_s for look in looks])),
        )

    def _tensor(self, values: np.ndarray | list[float]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)


def _answered(request: Act) -> Features:
    if not isinstance(request.features, Features):
        raise TypeError(f"features are a {type(request.features).__name__}, expected an answer of encode")
    return request.features
