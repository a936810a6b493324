"""Writes docs/claims.md: each claim of `vl_optimization_note.md` beside what profiles and arithmetic say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from vlatency.agent.realtime.cost.architectures import QWEN2_5_VL_3B
from vlatency.agent.realtime.cost.roofline import resized, sequences, visual_tokens
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.zoo import with_vision_encoder
from vlatency.experiments.shared.files import ROOT, write_text
from vlatency.experiments.timing.profile_facts import (
    CLAIMS,
    NATIVE,
    SQUARE,
    Finding,
    Key,
    ProfileFacts,
    arithmetic,
    modelled,
    modelled_ms,
    tflop,
)

PAGE = ROOT / "docs" / "claims.md"
NOTE_VL_MS, NOTE_HEAD_MS, PERIOD_MS = 1452.82, 10.97, 100.0
BASE = Key()
JOINT = replace(BASE, encoding="joint")


@dataclass(frozen=True)
class Claim:
    """One sentence of the note."""

    says: str
    low: float | None
    """The smallest figure that agrees with it; None if the claim names no figure."""
    high: float | None
    """The largest."""
    find: Callable[[ProfileFacts], list[Finding]]


def exactly(figure: float) -> tuple[float, float]:
    """The range of figures that agree with one figure: 10 % on both sides."""
    return 0.9 * figure, 1.1 * figure


def _tokens(facts: ProfileFacts) -> list[Finding]:
    (length,) = sequences(5, NATIVE, "joint")
    patches = 5 * 4 * visual_tokens(NATIVE)
    return [Finding(f"{length} tokens, from {patches} vision patches", "calculated", (length,))]


def _one_view(facts: ProfileFacts) -> list[Finding]:
    (length,) = sequences(1, NATIVE, "batched")
    return [Finding(f"{length} tokens", "calculated", (length,))]


def _pixels(facts: ProfileFacts) -> list[Finding]:
    less = NATIVE[0] * NATIVE[1] / (SQUARE[0] * SQUARE[1])
    tokens = visual_tokens(NATIVE), visual_tokens(SQUARE)
    seen = "x".join(map(str, resized(NATIVE)))
    text = (
        f"{less:.2f}x fewer pixels; {tokens[0]} against {tokens[1]} visual tokens a view (640x360 is resized to {seen})"
    )
    return [Finding(text, "calculated", (less,))]


def _attention(facts: ProfileFacts) -> list[Finding]:
    (length,) = sequences(5, NATIVE, "joint")
    share = QWEN2_5_VL_3B.layers * 2 * length**2 * QWEN2_5_VL_3B.hidden / 1e12 / tflop(JOINT)
    whole = arithmetic(JOINT, BASE)
    text = f"{whole.text}: the language model's attention is {100 * share:.1f} % of it"
    return [replace(whole, text=text), facts.ratio(JOINT, BASE)]


def _calls(facts: ProfileFacts) -> list[Finding]:
    return [
        _named("against one sequence", facts.ratio(JOINT, BASE)),
        _named("against one call a view", facts.ratio(replace(BASE, encoding="separate"), BASE)),
        _named("against transformers' one sequence", facts.ratio(replace(JOINT, transformers_path=True), BASE)),
    ]


def _fewer(views: int) -> Callable[[ProfileFacts], list[Finding]]:
    def find(facts: ProfileFacts) -> list[Finding]:
        few, large = replace(JOINT, views=views), replace(JOINT, res=(1280, 720))
        return [
            _named("640x360", facts.ratio(JOINT, few)),
            _named("1280x720", facts.ratio(large, replace(large, views=views))),
            arithmetic(JOINT, few),
        ]

    return find


def _quantized(*quants: str) -> Callable[[ProfileFacts], list[Finding]]:
    return lambda facts: [_named(quant, facts.ratio(BASE, replace(BASE, quant=quant))) for quant in quants]


def _smaller(facts: ProfileFacts) -> list[Finding]:
    text = "there is no Qwen2.5-VL below 3B; the nearest are Qwen2-VL-2B and Qwen3-VL-2B"
    findings = [Finding(text, "looked up")]
    for model in ("qwen2-vl-2b", "qwen3-vl-2b"):
        small = replace(BASE, model=model)
        findings += [_named(model, arithmetic(BASE, small)), _named(model, facts.ratio(BASE, small))]
    return findings


def _light_encoder(name: str) -> Callable[[ProfileFacts], list[Finding]]:
    def find(facts: ProfileFacts) -> list[Finding]:
        import torch

        from vlatency.agent.vla.model.towers import LightTower

        with torch.device("meta"):
            network = LightTower(with_vision_encoder(PolicyConfig(), name), 2048).network
        millions = sum(tensor.numel() for tensor in network.parameters()) / 1e6
        saved = tflop(BASE) / tflop(BASE, name)
        text = f"{name}: {millions:.1f} M without its classifier; the whole encode needs {saved:.1f}x less arithmetic"
        return [Finding(text, "calculated", (millions,))]

    return find


def _redesign(facts: ProfileFacts) -> list[Finding]:
    text = "`--vision-encoder` joins another encoder by a projector; success of such a policy"
    return [Finding(text, "not measured", (), "python experiments/train.py --vision-encoder clip-b16 ...")]


def _loss(facts: ProfileFacts) -> list[Finding]:
    changes = {quant: facts.feature_error(replace(BASE, quant=quant)) for quant in ("bnb-int8", "bnb-nf4")}
    success = Finding(
        "success of the stand-in", "not measured", (), "python experiments/run.py --quant bnb-int8 --mode pause"
    )
    return [*(_named(f"change of the features, {quant}", found) for quant, found in changes.items()), success]


def _reuse(facts: ProfileFacts) -> list[Finding]:
    theirs = math.ceil(NOTE_VL_MS / PERIOD_MS)
    findings = [Finding(f"{theirs} at the note's {NOTE_VL_MS} ms", "calculated", (theirs,))]
    for encoding in ("joint", "batched"):
        took = facts.took(replace(BASE, encoding=encoding))
        ticks = tuple(float(math.ceil(ms / PERIOD_MS)) for ms in took.values)
        if ticks:
            said = ", ".join(f"{tick:g}" for tick in ticks)
            findings.append(replace(took, text=f"{said} at 640x360, {encoding} ({took.text})", values=ticks))
    return findings


def _essential(facts: ProfileFacts) -> list[Finding]:
    left = PERIOD_MS - NOTE_HEAD_MS
    lean = Key(3, SQUARE)
    names = [name for name in ("h100", "a100", "rtx4090", "rtx3090", "orin") if modelled_ms(name, lean) < left]
    text = f"3 x 224x224 in bf16 could keep 10 Hz without it, at best, on {', '.join(names)}"
    return [Finding(text, "modelled"), _named("3 x 224x224", facts.took(lean))]


def _rate(facts: ProfileFacts) -> list[Finding]:
    text = f"a head of 15 ms allows {1e3 / 15:.1f} Hz; features are renewed every 150 ms, at {1e3 / 150:.1f} Hz"
    return [Finding(text, "calculated"), _named("factor by which an encode slows the head down", facts.contention())]


def _named(name: str, finding: Finding) -> Finding:
    return replace(finding, text=f"{name}: {finding.text}" if finding.text else name)


SECTIONS: dict[str, list[Claim]] = {
    "Where it starts": [
        Claim("five views at 640x360 take 1452.82 ms to encode", *exactly(NOTE_VL_MS), lambda facts: [
            _named("640x360", facts.took(JOINT)), _named("1280x720", facts.took(replace(JOINT, res=(1280, 720)))),
            _named("transformers' path, 640x360", facts.took(replace(JOINT, transformers_path=True)))]),
        Claim("sensors and action take 10.97 ms", *exactly(NOTE_HEAD_MS), lambda facts: [facts.head()]),
        Claim("the five views are one sequence of ~5000 tokens", *exactly(5000), _tokens),
        Claim("one view is a sequence of ~1000 tokens", *exactly(1000), _one_view),
    ],
    "1. Smaller models and other encoders": [
        Claim("a smaller Qwen2.5-VL (2B, 0.5B) is 1.5-2x faster", 1.5, 2.0, _smaller),
        Claim("CLIP ViT-B/16 has 86 M parameters", *exactly(86), _light_encoder("clip-b16")),
        Claim("CLIP ViT-B/32 has 63 M parameters", *exactly(63), _light_encoder("clip-b32")),
        Claim("MobileNetV3 has 5 M parameters", *exactly(5), _light_encoder("mobilenetv3-small")),
        Claim("EfficientNet-B0 has 5 M parameters", *exactly(5), _light_encoder("efficientnet-b0")),
        Claim("replacing the vision tower is not practical", None, None, _redesign),
    ],
    "2. Views in parallel": [
        Claim("batched views reduce O(n^2) by 5x", *exactly(5), _attention),
        Claim("batched views are 2-3x faster", 2.0, 3.0, _calls),
        Claim("CUDA streams are 1.5-2x faster on one GPU", 1.5, 2.0, lambda facts: [
            _named("against one call a view",
                   facts.ratio(replace(BASE, encoding="separate"), replace(BASE, encoding="streams")))]),
    ],
    "3. Other optimizations": [
        Claim("224x224 has 1.6x fewer pixels than 640x360", *exactly(1.6), _pixels),
        Claim("224x224 is 1.5-2x faster than 640x360", 1.5, 2.0, lambda facts: [
            arithmetic(JOINT, replace(JOINT, res=SQUARE)), facts.ratio(BASE, replace(BASE, res=SQUARE))]),
        Claim("three views are 1.6x faster than five", *exactly(1.6), _fewer(3)),
        Claim("one view is 4.8x faster than five", *exactly(4.8), _fewer(1)),
        Claim("flash attention 2 is already optimal", None, None, lambda facts: [
            _named(f"{other} against flash attention 2",
                   facts.ratio(replace(BASE, attention=other), replace(BASE, attention="flash_attention_2")))
            for other in ("eager", "sdpa", "varlen")]),
        Claim("INT8 is 2-3x faster", 2.0, 3.0, _quantized("bnb-int8", "int8-dynamic", "fp8")),
        Claim("INT4 is 3-4x faster", 3.0, 4.0, _quantized("bnb-nf4")),
        Claim("quantization costs less than 2 % of accuracy", 0.0, 0.02, _loss),
    ],
    "Plan and projection": [
        Claim("with parallel views: 600-700 ms", 600, 700, lambda facts: [facts.took(BASE), modelled(BASE)]),
        Claim("with 224x224 as well: 300-400 ms", 300, 400, lambda facts: [
            facts.took(replace(BASE, res=SQUARE)), modelled(replace(BASE, res=SQUARE))]),
        Claim("with INT8 as well: 100-150 ms", 100, 150, lambda facts: [
            facts.took(replace(BASE, res=SQUARE, quant="bnb-int8")),
            modelled(replace(BASE, res=SQUARE, quant="int8-dynamic"))]),
        Claim("features are reused for 15 control ticks at 10 Hz", 15, 15, _reuse),
        Claim("asynchronous reuse gives 66.7 FPS", *exactly(66.7), _rate),
        Claim("asynchronous reuse is essential for 10 Hz, whatever else is done", None, None, _essential),
    ],
}  # fmt: skip


def verdict(claim: Claim, finding: Finding) -> str:
    """How our figures compare with the claim's."""
    if finding.how == "not measured":
        return "not measured"
    if claim.low is None or claim.high is None or not finding.values:
        return "see left"
    if all(claim.low <= value <= claim.high for value in finding.values):
        return "holds"
    if all(value > claim.high for value in finding.values):
        return "larger"
    if all(value < claim.low for value in finding.values):
        return "smaller"
    return "depends on the device"


def page(facts: ProfileFacts) -> str:
    """The text of the page."""
    lines = [
        "# Claims of the optimization note against measurements",
        "",
        f"Written by `{CLAIMS}` from `assets/latency` and from arithmetic; do not edit. The model is Qwen2.5-VL-3B.",
        "The verdict compares our figure with the claim's: the claim holds, or our figure is larger or smaller.",
        "*Calculated* figures follow from the model's shapes. *Modelled* ones are what a device could do at its peak,",
        "which no implementation beats. What no profile has is not measured. `insertion_vla` holds measurements of",
        "another project, on a GPU that it did not record.",
    ]
    for section, claims in SECTIONS.items():
        lines += ["", f"## {section}", "", "| the note | ours | how | verdict | command |", "|---|---|---|---|---|"]
        for claim in claims:
            for number, finding in enumerate(claim.find(facts)):
                says = claim.says if number == 0 else ""
                cells = (
                    says,
                    finding.text or "the same, measured",
                    finding.how,
                    verdict(claim, finding),
                    f"`{finding.command}`",
                )
                lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def write() -> str:
    """Write the page and return its path."""
    write_text(PAGE, page(ProfileFacts()))
    return str(PAGE)
