"""Time one configuration of the encode, whole and stage by stage, and check that the images reached the model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vlatency.agent.optimization import Encoding, Optimization, plain
from vlatency.agent.realtime.cost.architectures import find_architecture
from vlatency.agent.realtime.cost.roofline import Work, encode_work, visual_tokens
from vlatency.agent.realtime.requests import Act, Encode
from vlatency.agent.vla.model.encoder import PLAIN
from vlatency.agent.vla.model.features import Features
from vlatency.agent.vla.model.heads import ViewBatch
from vlatency.agent.vla.model.views import resize, resize_on_device
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy, sensor_batch
from vlatency.experiments.timing.stopwatch import Stopwatch
from vlatency.sim.clock import CHUNK_STEP_NS
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, HEIGHT, WIDTH
from vlatency.sim.readings import WRENCH_SAMPLES, Readings

if TYPE_CHECKING:
    from vlatency.agent.vla.model.encoder import VLEncoder

INSTRUCTION = "Pick up the blue cube"
Samples = tuple[float, ...]


@dataclass(frozen=True)
class Measurement:
    """What one configuration took, and what it computed."""

    samples_ms: Samples
    """From camera images to features on the host, on the wall clock."""
    stages: dict[str, Samples]
    """Its timed parts, by name [ms]."""
    visual_tokens: int
    """Visual tokens that the language model received."""
    sequences: tuple[int, ...]
    """Lengths of the sequences that it read [tokens]."""
    work: Work
    feature_error: float | None
    """Norm of the features' error over their norm, against the same encode with nothing approximated; None if this is
    that encode."""


def request_of(cameras: Sequence[str] = CAMERA_ORDER, seed: int = 0) -> Encode:
    """A request to encode: noise from every camera, an instruction, and a robot at rest."""
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for name in cameras}
    still = np.zeros(6)
    hand = np.array([0.5, 0.0, 0.2, 0.0])
    readings = Readings(0, still, still, 0.0, 0.0, ee_pose=hand, wrench=np.zeros((WRENCH_SAMPLES, 6)))
    return Encode(images, INSTRUCTION, readings)


def measure(
    model: VLA, name: str, vision_encoder: str, optimization: Optimization, watch: Stopwatch
) -> tuple[Measurement, VLAPolicy]:
    """Time a model under an optimization.

    Args:
        model: changed in place by the optimization.
        name: of the model, in `agent.vla.model.zoo`.
        vision_encoder: that it has.
        optimization: what is timed.
        watch: how often, and for how long.

    Returns:
        The measurement, and the policy that was timed.

    Raises:
        UsageError: the optimization cannot run here, or the visual tokens are not those of the configuration.
    """
    request = request_of(optimization.cameras)
    reference = (
        _features(VLAPolicy(model, _reference(optimization)), request) if _changes(model, optimization) else None
    )
    policy = VLAPolicy(model, optimization)
    tokens, lengths = seen(policy, request)
    arch = find_architecture(name, vision_encoder)
    res = (optimization.width, optimization.height)
    check_tokens(tokens, lengths, len(optimization.cameras), visual_tokens(res, arch), optimization.encoding)
    ours = _features(policy, request)
    return Measurement(
        samples_ms=watch.whole(lambda: policy.encode([request])),
        stages=_stages(policy, request, watch.for_parts()),
        visual_tokens=tokens,
        sequences=lengths,
        work=encode_work(len(optimization.cameras), res, optimization.encoding, arch, lengths),
        feature_error=None if reference is None else _error(ours, reference),
    ), policy


def check_tokens(tokens: int, lengths: Sequence[int], views: int, each: int, encoding: str) -> None:
    """Refuse to time an encode that did not read all images.

    Args:
        tokens: visual tokens that were counted.
        lengths: of the sequences that the language model read [tokens].
        views: number of views.
        each: visual tokens of a view.
        encoding: joint makes one sequence, every other one a sequence per view.

    Raises:
        UsageError: the tokens or sequences are not those of the configuration.
    """
    expected, rows = views * each, 1 if encoding == "joint" else views
    if tokens != expected:
        raise UsageError(f"the model got {tokens} visual tokens, but {views} views of {each} are {expected}: not timed")
    if len(lengths) != rows or sum(lengths) < expected:
        raise UsageError(
            f"encoding {encoding} of {views} views of {each} tokens is {rows} sequences that hold them, "
            f"but the language model read sequences of {', '.join(map(str, lengths))}: not timed"
        )


@torch.inference_mode()
def seen(policy: VLAPolicy, request: Encode) -> tuple[int, tuple[int, ...]]:
    """Visual tokens that left the vision tower, and lengths of the sequences that entered the language model.

    They are counted by hooks while the modules compute, not taken from the configuration. The encode is launched kernel
    by kernel for this, as a recorded graph runs no Python.
    """
    encoder: VLEncoder = policy.model.encoder
    tokens: list[int] = []
    lengths: list[int] = []

    def looked(module: object, args: object, output: Any) -> None:
        light = isinstance(output, tuple)
        found = output[0].flatten(0, 1) if light else encoder.family.tokens(output)
        tokens.append(len(found))

    def reads(module: object, args: object, kwargs: dict[str, Any]) -> None:
        rows, length = kwargs["inputs_embeds"].shape[:2]
        lengths.extend([length] * rows)

    policy.encode([request])  # what is computed once and cached must not be counted
    hooks = [
        encoder.backbone.visual.register_forward_hook(looked),
        encoder.backbone.language_model.register_forward_pre_hook(reads, with_kwargs=True),
    ]
    launch, encoder.launch = encoder.launch, None
    try:
        policy.encode([request])
    finally:
        encoder.launch = launch
        for hook in hooks:
            hook.remove()
    return sum(tokens), tuple(lengths)


def head_stages(policy: VLAPolicy, watch: Stopwatch) -> tuple[Samples, dict[str, Samples]]:
    """Latencies of sensors and head [ms]: as a whole, and of each stage."""
    request = request_of(policy.optimization.cameras)
    act = act_on(policy, request)
    head, device = policy.model.head, policy.device
    with torch.no_grad():
        sensors = sensor_batch([request.readings], device)
        views = _view_batch(policy, request)
        parts: dict[str, Callable[[], object]] = {
            "sensors to tensors": lambda: sensor_batch([request.readings], device),
            "sensor encoder": lambda: head.sensors(sensors),
            "pool mean": lambda: head.pool(views, "mean"),
            "pool max": lambda: head.pool(views, "max"),
            "pool attention": lambda: head.pool(views, "attention"),
        }
        stages = {name: watch.stage(part) for name, part in parts.items()}
    return watch.whole(act), stages


def act_on(policy: VLAPolicy, request: Encode) -> Callable[[], object]:
    """A function that runs the head on the features of `request`."""
    (features,) = policy.encode([request])
    act = Act(features, request.readings, age_ns=CHUNK_STEP_NS)
    return lambda: policy.act([act])


def _stages(policy: VLAPolicy, request: Encode, watch: Stopwatch) -> dict[str, Samples]:
    chosen, encoder, config = policy.optimization, policy.model.encoder, policy.model.config
    size = chosen.width, chosen.height
    images = [request.images[camera] for camera in chosen.cameras]

    def prepared() -> torch.Tensor:
        views = np.stack([resize(image, *size, config) for image in images])
        return torch.from_numpy(views).to(policy.device)

    def prepared_on_device() -> torch.Tensor:
        return resize_on_device(torch.from_numpy(np.stack(images)).to(policy.device), *size, config)

    pixels = prepared()[None]
    groups = _groups(chosen)
    with torch.inference_mode():
        parts: dict[str, Callable[[], object]] = {"prepare views": prepared}
        if policy.device.type == "cuda":
            parts["prepare views on the device"] = prepared_on_device
        parts["forward"] = lambda: encoder(pixels, [INSTRUCTION], chosen.cameras, chosen.encoding)
        tokens, grid = encoder.vision(pixels[0])
        encoding: Encoding = "joint" if chosen.encoding == "joint" else "batched"
        hidden = encoder.language(tokens[None], [INSTRUCTION], chosen.cameras, encoding, grid)
        if encoder.launch is None and chosen.encoding != "streams":
            parts["vision tower"] = lambda: [encoder.vision(pixels[0, group]) for group in groups]
            parts["language model"] = lambda: [
                encoder.language(tokens[None, group], [INSTRUCTION], chosen.cameras[group], encoding, grid)
                for group in groups
            ]
        parts["readout"] = lambda: encoder.readout(hidden, grid)
        return {name: watch.stage(part) for name, part in parts.items()}


def _groups(optimization: Optimization) -> list[slice]:
    """The views of each call."""
    views = len(optimization.cameras)
    return [slice(view, view + 1) for view in range(views)] if optimization.encoding == "separate" else [slice(views)]


def _reference(optimization: Optimization) -> Optimization:
    """The optimization that reads the same sequences and approximates nothing."""
    apart = optimization.encoding in ("separate", "streams")
    return replace(plain(optimization), encoding="batched" if apart else optimization.encoding)


def _changes(model: VLA, optimization: Optimization) -> bool:
    return optimization != _reference(optimization) and model.encoder.layers == PLAIN


def _features(policy: VLAPolicy, request: Encode) -> np.ndarray:
    (features,) = policy.encode([request])
    assert isinstance(features, Features)
    return features.newest.views.astype(np.float64)


def _error(ours: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


def _view_batch(policy: VLAPolicy, request: Encode) -> ViewBatch:
    """The input of the head, from one exposure."""
    look = policy.encode([request])[0].newest
    ids = torch.tensor(policy.model.config.view_ids(policy.optimization.cameras), device=policy.device)
    values = (look.views, look.ee_at_capture, look.lag_s)
    features, hand, lag = (torch.as_tensor(each, dtype=torch.float32, device=policy.device)[None] for each in values)
    return ViewBatch(features, ids, hand, lag)


@contextmanager
def busy(policy: VLAPolicy, request: Encode) -> Iterator[None]:
    """Meanwhile another thread encodes without pause, on its own CUDA stream where there is a GPU."""
    stop = threading.Event()
    on_gpu = policy.device.type == "cuda"

    def encode() -> None:
        with torch.cuda.stream(torch.cuda.Stream() if on_gpu else None):
            while not stop.is_set():
                policy.encode([request])

    thread = threading.Thread(target=encode)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
