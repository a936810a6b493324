"""The text of a prompt: tokenizer and token rows.

The tiny policy has its own byte-level BPE, trained on the instructions when a policy is made, with Qwen's special
tokens. Text comes before the images, because under causal attention a token sees only what precedes it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from vlatency.agent.optimization import Encoding
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER, COLOUR_NAMES, SHAPE_NAMES

IMAGE_PAD = "<|image_pad|>"
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    IMAGE_PAD,
    "<|video_pad|>",
)
_SPECIAL = re.compile(r"(<\|[a-z_]+\|>)")
VERBS = ("Pick up", "Grasp", "Lift", "Take", "Catch", "Hold", "Move", "Reach")


def instruction_corpus() -> list[str]:
    """Sentences whose words should each become one token."""
    things = [f"the {colour} {shape}" for colour in COLOUR_NAMES for shape in SHAPE_NAMES]
    sentences = [f"{verb} {thing}" for verb in VERBS for thing in things]
    sentences += [f"{verb} {thing} from the moving conveyor belt" for verb in VERBS[:2] for thing in things]
    return sentences + [f" {camera}:" for camera in CAMERA_ORDER] * 8 + ["user\n", "assistant\n"] * 8


def train_tokenizer(corpus: Iterable[str]) -> Tokenizer:
    """Train a byte-level BPE that knows every word of `corpus`. Other words become pieces, never unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


@dataclass(frozen=True)
class Row:
    """One sequence: its token ids, and which of them are visual."""

    ids: tuple[int, ...]
    visual: tuple[bool, ...]


class Prompts:
    """Turns instructions and views into token rows."""

    def __init__(self, tokenizer: Tokenizer, config: PolicyConfig) -> None:
        self.tokenizer = tokenizer
        self.config = config
        # Special tokens in an instruction count as plain text, so that it cannot open or close an image.
        tokenizer.encode_special_tokens = True
        self.image_pad = self._special(IMAGE_PAD)
        self.vision_end = self._special("<|vision_end|>")
        self.rows = lru_cache(maxsize=4096)(self._rows)

    def _special(self, token: str) -> int:
        identifier = self.tokenizer.token_to_id(token)
        if identifier is None:
            raise UsageError(f"the tokenizer lacks {token}: a Qwen2.5-VL tokenizer has {', '.join(SPECIAL_TOKENS)}")
        return identifier

    def _ids(self, template: str, **values: str) -> list[int]:
        """Token ids of a template. Only the special tokens of the template itself are special."""
        ids: list[int] = []
        for piece in _SPECIAL.split(template):
            if _SPECIAL.fullmatch(piece):
                ids.append(self._special(piece))
            elif piece:
                ids += self.tokenizer.encode(piece.format(**values), add_special_tokens=False).ids
        return ids

    def _rows(self, instruction: str, cameras: tuple[str, ...], tokens: int, encoding: Encoding) -> tuple[Row, ...]:
        opening = self._ids(self.config.prompt, instruction=instruction)
        views = [self._ids(self.config.view_prompt, camera=camera) for camera in cameras]
        if encoding == "batched":
            return tuple(self._row([opening, view], tokens) for view in views)
        return (self._row([opening + views[0], *views[1:]], tokens, joint=True),)

    def _row(self, texts: list[list[int]], tokens: int, joint: bool = False) -> Row:
        """A row that ends with its last image: no visual token could see text behind it."""
        if not joint:
            texts = [list(itertools.chain.from_iterable(texts))]
        ids: list[int] = []
        visual: list[bool] = []
        for index, text in enumerate(texts):
            closed = [self.vision_end, *text] if index else text
            ids += closed + [self.image_pad] * tokens
            visual += [False] * len(closed) + [True] * tokens
        return Row(tuple(ids), tuple(visual))
