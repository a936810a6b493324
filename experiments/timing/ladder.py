"""The rows of a ladder: every proposal of `vl_optimization_note.md`, and those beyond it, one configuration each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """Its encoding, views and size, and what else is particular to it."""
    optimization: Optimization
    model: str
    vision_encoder: str = QWEN
    transformers_path: bool = False
    """Time transformers' own code, not ours."""


def single(optimization: Optimization, model: str, vision_encoder: str = QWEN, transformers_path: bool = False) -> Row:
    """One row alone.

    Raises:
        UsageError: no such model or vision encoder, or transformers' own code cannot do that.
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
    """All rows, the most informative first: if time runs out, the last ones are missed least.

    Raises:
        UsageError: no such model.
    """
    find_model(model)
    rows: dict[Row, None] = {}
    for row in _rows(model):
        rows.setdefault(replace(row, name=name_of(row, model)))
    return list(rows)


def name_of(row: Row, model: str) -> str:
    """What the table of a `model` calls a row, such as `batched 3 x 224x224, varlen, fp8`."""
    o = row.optimization
    words = [f"{o.encoding} {len(o.cameras)} x {o.width}x{o.height}"] + ["transformers' path"] * row.transformers_path
    words += [row.model] * (row.model != model) + [row.vision_encoder] * (row.vision_encoder != QWEN)
    words += [o.attention] * (o.attention != "sdpa") + [o.quant] * (o.quant != "none")
    words += [o.compile] * (o.compile != "none") + list(o.shortcuts)
    return ", ".join(words)


def _rows(model: str) -> Iterator[Row]:
    def row(views: int = 5, res: tuple[int, int] = NATIVE, encoding: Encoding = "batched", **others: Any) -> Row:
        apart = {name: others.pop(name) for name in ("model", "vision_encoder", "transformers_path") if name in others}
        return Row("", Optimization(CAMERA_ORDER[:views], *res, encoding, **others), **{"model": model, **apart})

    # The note: where it starts, and the one sequence that it calls slow.
    yield row(encoding="joint", transformers_path=True)
    yield row(encoding="separate", transformers_path=True)
    # Its proposals, on our path.
    for encoding in get_args(Encoding):
        yield row(encoding=encoding)
    for res in (NATIVE, LESS, SQUARE):
        for views in (5, 3, 1):
            yield row(views, res)
    yield row(3, SQUARE, "joint", transformers_path=True)
    yield row(3, SQUARE, "joint")
    # Beyond it, each alone and then all together.
    for attention in CHOICES["attention"]:
        yield row(attention=attention)
    for views, res in ((5, NATIVE), (3, SQUARE)):
        plain = row(views, res)
        fast = with_preset(plain.optimization, "fast")
        yield replace(plain, optimization=fast)
        yield replace(plain, optimization=replace(fast, quant="int8-dynamic"))
        yield replace(plain, optimization=replace(fast, quant="none"))
        yield replace(plain, optimization=replace(fast, quant="none", compile="cuda-graph"))
    yield row(compile="cuda-graph")
    for shortcut in CHOICES["shortcuts"]:
        yield row(shortcuts=(shortcut,))
    for quant in CHOICES["quant"]:
        yield row(quant=quant)
    # Other models and other encoders, the lightest first: on a CPU a CLIP alone takes a minute.
    family = isinstance(MODELS[model], Tiny)
    for name, other in MODELS.items():
        if isinstance(other, Tiny) == family:
            yield row(model=name)
    for vision_encoder in reversed(LIGHT_ENCODERS):
        yield row(vision_encoder=vision_encoder)
    # Last, because compiling may take a minute.
    yield row(compile="compile")
