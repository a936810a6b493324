"""Transformers' own path runs for every published family, prepared as in the note where qwen-vl-utils is installed."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from vlatency.agent.optimization import Optimization
from vlatency.agent.vla.model import zoo
from vlatency.agent.vla.model.views import patchify, resize
from vlatency.agent.vla.model.vla import VLA
from vlatency.experiments.timing import ladder
from vlatency.experiments.timing.note_preparation import inputs_of, message_of, processor_of
from vlatency.experiments.timing.stopwatch import Stopwatch
from vlatency.experiments.timing.transformers_path import measure_transformers_path
from vlatency.sim.names import CAMERA_ORDER

WATCH = Stopwatch(torch.device("cpu"), reps=3)
FAMILIES = ("qwen2-vl-2b", "qwen2.5-vl-3b", "qwen3-vl-2b")
needs_hub = pytest.mark.skipif(find_spec("qwen_vl_utils") is None, reason="needs the extra [hub]")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], VLA]:
    """Makes a published model with its own patches and tokens, but small layers."""

    def make(name: str) -> VLA:
        row = zoo.MODELS[name]
        assert isinstance(row, zoo.Published)
        vision: dict[str, Any] = dict(depth=2, num_heads=4, hidden_size=64, out_hidden_size=64, intermediate_size=96)
        text = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4)
        if row.model_type == "qwen2_vl":
            vision = dict(depth=2, num_heads=4, embed_dim=64, hidden_size=64)
        if row.model_type == "qwen2_5_vl":
            vision["fullatt_block_indexes"] = [1]
        if row.model_type == "qwen3_vl":
            vision["deepstack_visual_indexes"] = [0, 1]
        rope = row.text["rope_parameters"] | {"mrope_section": [2, 3, 3]}
        text |= dict(num_key_value_heads=2, head_dim=16, rope_parameters=rope)
        shrunk = replace(row, vision=row.vision | vision, text=row.text | text)
        monkeypatch.setitem(zoo.MODELS, name, shrunk)
        torch.manual_seed(0)
        return VLA.random(name).eval()

    return make


def without_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "find_spec", lambda name: None)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("encoding", ["joint", "separate"])
@pytest.mark.parametrize("hub", [False, pytest.param(True, marks=needs_hub)])
def test_every_family_is_timed_with_all_its_images(
    small: Callable[[str], VLA], monkeypatch: pytest.MonkeyPatch, name: str, encoding: Any, hub: bool
) -> None:
    if not hub:
        without_hub(monkeypatch)
    measured = measure_transformers_path(small(name), name, Optimization(CAMERA_ORDER[:2], 224, 224, encoding), WATCH)
    assert measured.visual_tokens == 2 * (49 if name.startswith("qwen3") else 64)
    assert len(measured.sequences) == (1 if encoding == "joint" else 2)
    assert ("process_vision_info" in measured.stages) == hub
    assert {"prepare views", "forward", "forward without logits"} <= set(measured.stages)


def test_the_name_of_a_row_says_who_prepared_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ladder.Row("", Optimization(CAMERA_ORDER, 640, 360, "joint"), "qwen2.5-vl-3b", transformers_path=True)
    ours = "joint 5 x 640x360, transformers' path"
    monkeypatch.setattr(ladder, "find_spec", lambda name: name)
    assert ladder.name_of(row, row.model) == f"{ours}, qwen-vl-utils"
    assert ladder.name_of(replace(row, model="tiny"), "tiny") == ours
    without_hub(monkeypatch)
    assert ladder.name_of(row, row.model) == ours


@needs_hub
@pytest.mark.parametrize(
    ("size", "patches", "tokens"),
    [((640, 360), 5980, 1495), ((224, 224), 1280, 320), ((480, 270), 3400, 850), ((112, 112), 320, 80)],
)
def test_our_views_are_those_of_process_vision_info_and_the_processor(
    small: Callable[[str], VLA], size: tuple[int, int], patches: int, tokens: int
) -> None:
    model = small("qwen2.5-vl-3b")
    images = np.random.default_rng(0).integers(0, 256, (5, 360, 640, 3), dtype=np.uint8)
    theirs = inputs_of(processor_of(model), message_of([Image.fromarray(each) for each in images], size, "Lift it"))
    resized = np.stack([resize(image, *size, model.config) for image in images])
    ours, grid = patchify(torch.from_numpy(resized), model.config)
    assert theirs["pixel_values"].shape == ours.shape == (patches, 1176)
    assert theirs["image_grid_thw"].tolist() == [[1, *grid]] * 5
    assert int(theirs["mm_token_type_ids"].sum()) == tokens
    torch.testing.assert_close(ours, theirs["pixel_values"], rtol=0, atol=1e-6)


@needs_hub
def test_text_and_images_come_in_the_order_of_the_note(small: Callable[[str], VLA]) -> None:
    processor = processor_of(small("qwen2.5-vl-3b"))
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    image = Image.new("RGB", (640, 360))
    ids = inputs_of(processor, message_of([image, image], (56, 56), "Lift it"))["input_ids"][0]
    view = "<|vision_start|>" + 4 * "<|image_pad|>" + "<|vision_end|>"
    assert processor.decode(ids) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        f"<|im_start|>user\n{view}{view}Lift it<|im_end|>\n<|im_start|>assistant\n"
    )
