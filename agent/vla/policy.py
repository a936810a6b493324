"""The policy: a model with one optimization, which answers `Encode` and `Act` requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from vlatency.agent.optimization import Head, Optimization
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla import folder
from vlatency.agent.vla.model.encoder import PLAIN
from vlatency.agent.vla.model.features import Features, ForwardPass, Look, earlier_looks, renewed
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
    """Stack readings into float32 tensors on `device`."""

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
    """Absolute set-points (B, chunk, 5) [m, rad, 0 open or 1 closed] of an `output` relative to a pose (B, 4)."""
    xyz = ee_pose[:, None, :3] + output.chunk_xyz
    yaw = ee_pose[:, None, 3] + torch.atan2(output.chunk_yaw[..., 1], output.chunk_yaw[..., 0])
    gripper = (output.gripper > 0).to(xyz.dtype)
    return torch.cat([xyz, yaw.unsqueeze(-1), gripper.unsqueeze(-1)], dim=-1)


class VLAPolicy:
    """A `VLA` with one `Optimization` and one of its heads.

    On a GPU all requests share one forward pass, and each answer equals that of a request alone up to rounding. On a
    CPU, where sharing saves little, requests are answered one by one. So the answers to an episode do not depend, to
    the last bit, on which other episodes run beside it.

    Example:
        One encode and one chunk of set-points, from images of an environment:

            policy = VLAPolicy.from_pretrained("assets/policies/tiny", Optimization(cameras=("top", "wrist")))
            env = PickEnv("static")
            env.reset(seed=0)
            images = env.capture(policy.optimization.cameras)
            (features,) = policy.encode([Encode(images, env.instruction, env.sensors())])
            (chunk,) = policy.act([Act(features, env.sensors(), age_ns=0)])
            env.command(chunk[0])

    Args:
        model: The model. Its encoder is changed in place.
        optimization: How to encode; by default `Optimization()`.
        head: The head that answers `Act`.

    Raises:
        UsageError: The model has no such head, or the optimization does not run here.
        ValueError: The layers of the model were already changed for another optimization.
    """

    def __init__(self, model: VLA, optimization: Optimization | None = None, head: Head = "regression") -> None:
        if head == "flow" and model.flow is None:
            raise UsageError(
                "the policy has no flow head; use head regression or policy tiny-flow, "
                "or train one with experiments/train_head.py --head flow"
            )
        self.model, self.head = model.eval(), head
        self.optimization = optimization or Optimization()
        self.device = next(model.parameters()).device
        self.parameters = sum(tensor.numel() for tensor in model.parameters())
        """Number of learnt parameters, however they are stored."""
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
        """Load a policy that `save_pretrained` wrote. A tiny one needs no network.

        Args:
            path: Folder of the policy.
            optimization: How to encode; by default `Optimization()`.
            device: Device of the model, cpu or cuda.
            head: The head that answers `Act`.

        Raises:
            UsageError: The folder or a file in it is missing, corrupt, a pickle, or does not fit the configuration; or
                the model has no such head.
        """
        return cls(folder.load(Path(path), device), optimization, head)

    @classmethod
    def from_backbone(cls, name: str, optimization: Optimization | None = None, device: str = "cpu") -> VLAPolicy:
        """Load a pretrained Qwen-VL with an untrained head, to time it or to train from it.

        Args:
            name: Name in `zoo.MODELS`, hub id or local folder.
            optimization: How to encode; by default `Optimization()`.
            device: Device of the model, cpu or cuda.

        Raises:
            UsageError: There is no such model.
        """
        return cls(folder.load_backbone(name, device), optimization)

    def save_pretrained(self, path: str | Path) -> None:
        """Write configuration, weights (float16) and tokenizer. Of a pretrained backbone only the name is stored.

        Raises:
            ValueError: The layers are quantized, fused or compiled.
        """
        if self.model.encoder.layers != PLAIN:
            raise ValueError(f"layers that are {self.model.encoder.layers} are not saved; save the plain policy")
        folder.save(self.model, Path(path))

    def encode(self, requests: Sequence[Encode]) -> list[Features]:
        """Features for each request. Views without an image in the request keep their features from `before`.

        Where a request is deferrable the encoder runs only when `act` reads the answer, which then raises what is wrong
        with the images.

        Raises:
            ValueError: An image has the wrong type or shape, or a configured camera has no image, neither now nor
                before under the same instruction.
        """
        answers = [self._answer(request) for request in requests]
        self._finish(answer.newest for request, answer in zip(requests, answers, strict=True) if not request.deferrable)
        return answers

    def _shared(self, requests: Sequence[R]) -> list[Sequence[R]]:
        """The requests in their order, grouped by forward pass."""
        return [[request] for request in requests] if self.device.type == "cpu" else [requests]

    def _finish(self, looks: Iterable[Look]) -> None:
        """Run the encoder for what it has not read yet of these looks."""
        waiting = dict.fromkeys(each for look in looks for each, _ in look.sources if not each.done)
        for sharing in self._shared(list(waiting)):
            for _, same in groupby(sharing, attrgetter("cameras")):
                self._run(list(same))

    @torch.inference_mode()
    def _run(self, passes: Sequence[ForwardPass]) -> None:
        """Run the encoder once, for passes of the same cameras."""
        readout = self.model.encoder(
            torch.stack([self._pixels(each) for each in passes]).to(self.device),
            [each.instruction for each in passes],
            passes[0].cameras,
            self.optimization.encoding,
        )
        for each, features in zip(passes, readout.features.cpu().numpy(), strict=True):
            each.finish(features)

    def _cameras(self, request: Encode) -> tuple[str, ...]:
        """Cameras to encode. ValueError if another configured one has no image, now or before."""
        chosen, before = self.optimization, _before(request)
        missing = [camera for camera in chosen.cameras if camera not in request.images]
        known = before is not None and before.newest.instruction == request.instruction
        # Views in one sequence have read each other, so none of them can be renewed alone.
        apart = chosen.encoding != "joint" and len(missing) < len(chosen.cameras)
        if missing and not (known and apart):
            raise ValueError(f"no image of camera {missing[0]!r} among {', '.join(request.images)}, now or before")
        return tuple(camera for camera in chosen.cameras if camera in request.images)

    def _answer(self, request: Encode) -> Features:
        """The answer to `request`, before the encoder has run."""
        cameras, seen, before = self.optimization.cameras, self._cameras(request), _before(request)
        hand = np.append(request.readings.ee_pose, request.readings.gripper_pos)
        forward = ForwardPass(seen, request.images, request.instruction)
        newest = Look(
            t_ns=request.t_ns,
            instruction=request.instruction,
            sources=tuple((forward, row) for row in range(len(seen))),
            ee_at_capture=np.tile(hand, (len(seen), 1)),
            lag_s=np.zeros(len(seen)),
        )
        if before is not None and len(seen) < len(cameras):
            newest = renewed(before.newest, newest, [cameras.index(camera) for camera in seen])
        return Features(cameras, newest, earlier_looks(newest, before))

    def _pixels(self, look: ForwardPass) -> torch.Tensor:
        """The views to encode, resized: uint8 (V, H, W, 3)."""
        chosen = self.optimization
        images = []
        for camera in look.cameras:
            image = look.images[camera]
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"image of {camera!r}: {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
            images.append(image)
        size = chosen.width, chosen.height, self.model.config
        if "device-views" in chosen.shortcuts:
            return resize_on_device(torch.from_numpy(np.stack(images)).to(self.device), *size)
        return torch.from_numpy(np.stack([resize(image, *size) for image in images]))

    def act(self, requests: Sequence[Act]) -> list[np.ndarray]:
        """A chunk for each request: float64 (chunk, 5), absolute set-points 100 ms apart.

        Raises:
            TypeError: The features of a request are not an answer of `encode`.
            ValueError: A request has a plan to continue, which only a flow head can do; or as in `encode`.
        """
        features = [_answered(request) for request in requests]
        self._finish(look for each in features for look in (each.newest, each.past) if look is not None)
        return [chunk for sharing in self._shared(requests) for chunk in self._act(sharing)]

    # Not inference mode, because guidance needs gradients.
    @torch.no_grad()
    def _act(self, requests: Sequence[Act]) -> list[np.ndarray]:
        features = [_answered(request) for request in requests]
        sensors = sensor_batch([request.readings for request in requests], self.device)
        # Without a past the newest look takes its place. A gap of zero says that it is to be ignored.
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
