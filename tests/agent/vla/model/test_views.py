"""Views are prepared as by the image processor of transformers."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.views import pack, patchify, resize, token_grid


def processor(config: PolicyConfig) -> Qwen2VLImageProcessorPil:
    return Qwen2VLImageProcessorPil(
        patch_size=config.patch_size, merge_size=config.merge_size, temporal_patch_size=config.temporal_patch_size
    )


@pytest.mark.parametrize("patch_size", [14, 28])
@pytest.mark.parametrize("size", [(112, 112), (224, 224), (640, 360), (320, 240)])
def test_a_prepared_view_equals_that_of_the_processor(patch_size: int, size: tuple[int, int]) -> None:
    config = PolicyConfig(patch_size=patch_size, merge_size=2, temporal_patch_size=2)
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    expected = processor(config)(images=[Image.fromarray(image)], return_tensors="pt")
    ours = resize(image, *size, config)
    patches, grid = patchify(torch.from_numpy(ours.copy())[None], config)
    assert expected["image_grid_thw"].tolist() == [[1, *grid]]
    torch.testing.assert_close(patches, expected["pixel_values"], rtol=0, atol=1e-6)


def test_the_true_backbone_gets_299_tokens_at_640x360() -> None:
    rows, columns = token_grid(640, 360, PolicyConfig(patch_size=14, merge_size=2))
    assert rows * columns == 299


def test_a_view_of_the_right_size_is_not_resampled() -> None:
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    assert resize(image, 224, 224, PolicyConfig()) is image


def test_partial_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 28"):
        pack(torch.zeros(1, 360, 640, 3, dtype=torch.uint8), PolicyConfig())
