"""The rows of a ladder: every proposal of `vl_optimization_note.md` and further ones, one configuration each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, get_args

from vlatency.agent.optimization import CHOICES, Encoding, Optimization, with_preset
from vlatency.agent.realtime.cost.architectures import find_architecture
from vlatency.agent.vla.model.config import QWEN
from vlatency.agent.vla.model.zoo import LIGHT_ENCODERS, MODELS, Tiny, find_model
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

NATIVE, LESS, SQUARE = (640, 360), (480, 270), (224, 224)


@dataclass(frozen=True)
class Row:
    """One configuration to be timed."""

    name: str
    """Its encoding, views and size, and every option that is not the default."""
    optimization: Optimization
    model: str
    vision_encoder: str = QWEN
    transformers_path: bool = False
    """Whether transformers' own code is timed instead of ours."""


def single(optimization: Optimization, model: str, vision_encoder: str = QWEN, transformers_path: bool = False) -> Row:
    """One configuration as a row.

    Raises:
        UsageError: no such model or vision encoder, or transformers' own code has no such optimization.
    """
    find_model(model)
    find_architecture(model, vision_encoder)
    row = Row("", optimization, model, vision_encoder, transformers_path)
    plain = (optimization.quant, optimization.compile, optimization.shortcuts, vision_encoder)
    if transformers_path and (
        plain != ("none", "none", (), QWEN) or optimization.encoding not in ("joint", "separate")
    ):
        raise UsageError(
            "--transformers-path times transformers' own code: it takes --encoding joint or separate and --attention, "
            "and no other optimization"
        )
    return replace(row, name=name_of(row, model))


def ladder(model: str) -> list[Row]:
    """All rows, the most informative first, because time may run out.

    Raises:
        UsageError: no such model.
    """
    find_model(model)
    rows: dict[Row, None] = {}
    for row in _rows(model):
        rows.setdefault(replace(row, name=name_of(row, model)))
    return list(rows)


def name_of(row: Row, model: str) -> str:
    """The name of a row in the table of a `model`, such as `batched 3 x 224x224, varlen, fp8`."""
    o = row.optimization
    words = [f"{o.encoding} {len(o.cameras)} x {o.width}x{o.height}"]
    if row.transformers_path:
        words += ["transformers' path"] + ["qwen-vl-utils"] * prepared_as_in_the_note(row.model)
    words += [row.model] * (row.model != model) + [row.vision_encoder] * (row.vision_encoder != QWEN)
    words += [o.attention] * (o.attention != "sdpa") + [o.quant] * (o.quant != "none")
    words += [o.compile] * (o.compile != "none") + list(o.shortcuts)
    return ", ".join(words)


def prepared_as_in_the_note(model: str) -> bool:
    """Whether qwen-vl-utils prepares what transformers' own code is timed on: where the extra [hub] is installed.

    A tiny model has convolutions of its own before the patches, which it cannot prepare.
    """
    return not is_tiny(model) and find_spec("qwen_vl_utils") is not None


def _rows(model: str) -> Iterator[Row]:
    """The rows in order, without names; some are there twice."""
    row = partial(_row, model)
    # The note: where it starts, and the single sequence that it calls slow.
    yield row(encoding="joint", transformers_path=True)
    yield row(encoding="separate", transformers_path=True)
    # Its proposals, by our code.
    yield from (row(encoding=encoding) for encoding in get_args(Encoding))
    yield from (row(views, res) for res in (NATIVE, LESS, SQUARE) for views in (5, 3, 1))
    yield row(3, SQUARE, "joint", transformers_path=True)
    yield row(3, SQUARE, "joint")
    # Beyond it: each option alone, then all together.
    yield from (row(attention=attention) for attention in CHOICES["attention"])
    for plain in (row(), row(3, SQUARE)):
        fast = with_preset(plain.optimization, "fast")
        exact = replace(fast, quant="none")
        for every in (fast, replace(fast, quant="int8-dynamic"), exact, replace(exact, compile="cuda-graph")):
            yield replace(plain, optimization=every)
    yield row(compile="cuda-graph")
    yield from (row(shortcuts=(shortcut,)) for shortcut in CHOICES["shortcuts"])
    yield from (row(quant=quant) for quant in CHOICES["quant"])
    # Other models and other encoders, the lightest first: on a CPU a CLIP alone takes a minute.
    yield from (row(model=name) for name, each in MODELS.items() if isinstance(each, Tiny) == is_tiny(model))
    yield from (row(vision_encoder=vision_encoder) for vision_encoder in reversed(LIGHT_ENCODERS))
    # Last, because compiling may take a minute.
    yield row(compile="compile")


def _row(
    default: str, views: int = 5, res: tuple[int, int] = NATIVE, encoding: Encoding = "batched", **others: Any
) -> Row:
    """A row of the model `default` without a name; `others` are fields of a row or of its optimization."""
    own = {name: others.pop(name) for name in ("model", "vision_encoder", "transformers_path") if name in others}
    return Row("", Optimization(CAMERA_ORDER[:views], *res, encoding, **others), **{"model": default, **own})


def is_tiny(model: str) -> bool:
    """Whether a model is one of the stand-ins that are trained here. UsageError if there is no such model."""
    return isinstance(find_model(model), Tiny)
