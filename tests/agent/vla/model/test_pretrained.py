"""A backbone is loaded whole, from where it was said to be, or refused in one line."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLModel

from vlatency.agent.vla.model.backbones import tiny_config
from vlatency.agent.vla.model.config import PolicyConfig
from vlatency.agent.vla.model.pretrained import backbone_location, pretrained_backbone
from vlatency.agent.vla.model.text import instruction_corpus, train_tokenizer
from vlatency.agent.vla.model.views import patchify
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.experiments.evaluation.policies import hash_policy
from vlatency.sim.errors import UsageError

State = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A miniature of Qwen2.5-VL-3B-Instruct as transformers saves it: patch 14, its own tokenizer, an output layer."""
    tokenizer = train_tokenizer(instruction_corpus())
    shape = PolicyConfig(stem_channels=0, patch_size=14, merge_size=2, temporal_patch_size=2)
    config = copy.deepcopy(tiny_config(shape, tokenizer))
    config.tie_word_embeddings = False
    torch.manual_seed(0)
    path = tmp_path / "backbone"
    Qwen2_5_VLForConditionalGeneration._from_config(config).save_pretrained(path)
    tokenizer.save(str(path / "tokenizer.json"))
    return path


def rewrite(folder: Path, change: Callable[[State], State]) -> State:
    """Change the tensors of a folder, and return those it had."""
    path = folder / "model.safetensors"
    before = load_file(path)
    save_file({name: tensor.clone() for name, tensor in change(before).items()}, path, metadata={"format": "pt"})
    return before


def assert_every_tensor_is(folder: Path, source: State) -> None:
    model, _ = pretrained_backbone(str(folder), torch.float32)
    loaded = model.state_dict()
    # On disk the language model is called "model", as before transformers 4.52.
    expected = {name.replace("model.", "language_model."): tensor for name, tensor in source.items()}
    expected.pop("lm_head.weight")
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())


def test_every_tensor_is_that_of_the_files(folder: Path) -> None:
    assert_every_tensor_is(folder, load_file(folder / "model.safetensors"))


@pytest.mark.parametrize("prefix", ["vlm.", "policy.vlm."])
def test_a_prefix_before_all_names_is_left_out_and_said(
    folder: Path, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rewrite(folder, lambda state: {prefix + name: tensor for name, tensor in state.items()})
    assert_every_tensor_is(folder, before)
    assert f"begin with '{prefix}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: {n: t for n, t in state.items() if "visual" not in n}, "lacks"),
        (lambda state: {n: t for n, t in state.items() if "layers.1." not in n}, "layers.1."),
        (lambda state: {**state, "action_head.weight": torch.zeros(2)}, "action_head.weight"),
        (lambda state: {n: t for n, t in state.items() if not n.endswith("visual.merger.ln_q.weight")}, "1 tensor "),
        (lambda state: {n: t.int() if n == "model.norm.weight" else t for n, t in state.items()}, "whole numbers"),
        (lambda state: {n: t / 0 if n == "model.norm.weight" else t for n, t in state.items()}, "not finite"),
        (lambda state: {n: t[:-1] if n.endswith("merger.ln_q.weight") else t for n, t in state.items()}, "ln_q"),
    ],
)
def test_what_is_not_the_whole_model_is_one_line(
    folder: Path, change: Callable[[State], State], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(folder, change)
    with pytest.raises(UsageError) as error:
        pretrained_backbone(str(folder))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert "LOAD REPORT" not in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"num_hidden_layers": 10**9}, {"hidden_size": 10**6}, None])
def test_a_configuration_of_a_far_larger_model_is_refused_before_it_takes_memory(
    folder: Path, change: dict[str, int] | None
) -> None:
    """Without its text_config it would be the default one, of 80 layers."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] = config["text_config"] | change if change else {}
    path.write_text(json.dumps(config))
    with pytest.raises(UsageError, match="backbone") as error:
        pretrained_backbone(str(folder))
    assert "\n" not in str(error.value)


def test_a_tensor_that_is_there_twice_is_refused(folder: Path) -> None:
    save_file({"model.norm.weight": torch.ones(128)}, folder / "x.safetensors")
    with pytest.raises(UsageError, match="twice"):
        pretrained_backbone(str(folder))


@pytest.mark.parametrize("beside", [True, False])
def test_an_adapter_is_named_as_such(folder: Path, beside: bool) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    save_file({"base_model.x": torch.zeros(1)}, folder / "adapter_model.safetensors")
    if not beside:
        (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="adapter") as error:
        pretrained_backbone(str(folder))
    assert ("beside whole weights" in str(error.value)) == beside


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UsageError, match=r"safetensors" if name.startswith("model") else name):
        pretrained_backbone(str(folder))


def test_a_local_backbone_is_stored_by_its_absolute_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    VLAPolicy.from_backbone("backbone").save_pretrained(folder.parent / "policy")
    monkeypatch.chdir("/")
    assert VLAPolicy.from_pretrained(folder.parent / "policy").model.config.backbone == str(folder.resolve())


@pytest.mark.parametrize("name", ["backbone", "./backbone", "/nowhere/backbone", "a/b/c", "../b", ""])
def test_what_is_no_hub_id_is_never_asked_of_a_network(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no backbone folder"):
        backbone_location(name)
    assert backbone_location("qwen2.5-vl-3b") == "Qwen/Qwen2.5-VL-3B-Instruct"


def test_the_hash_of_a_policy_follows_the_weights_of_its_backbone(folder: Path) -> None:
    policy = folder.parent / "policy"
    VLAPolicy.from_backbone(str(folder)).save_pretrained(policy)
    first = hash_policy(policy)
    assert hash_policy(policy) == first
    rewrite(folder, lambda state: {name: tensor + 1 for name, tensor in state.items()})
    assert hash_policy(policy) != first


def test_a_pretrained_folder_with_windows_loads_as_backbone(tmp_path: Path) -> None:
    """A miniature stand-in for Qwen2.5-VL-3B: patch 14, windowed blocks, its own tokenizer."""
    tokenizer = train_tokenizer(instruction_corpus())
    plain_config = PolicyConfig(stem_channels=0, patch_size=14, merge_size=2, temporal_patch_size=2)
    config = copy.deepcopy(tiny_config(plain_config, tokenizer))
    config.vision_config.fullatt_block_indexes = [2]
    config.vision_config.window_size = 112
    plain = Qwen2_5_VLModel._from_config(config, attn_implementation="sdpa").eval()
    plain.save_pretrained(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    policy = VLAPolicy.from_backbone(str(tmp_path))
    pixels = torch.randint(0, 256, (3, 364, 644, 3), dtype=torch.uint8)
    with torch.inference_mode():
        tokens, grid = policy.model.encoder.vision(pixels)
        patches, (rows, columns) = patchify(pixels, policy.model.config)
        expected = plain.visual(patches, grid_thw=torch.tensor([[1, rows, columns]] * 3)).pooler_output
    assert grid == (13, 23)
    torch.testing.assert_close(tokens.flatten(0, 1), expected, rtol=1e-3, atol=1e-3)

    folder = tmp_path / "policy"
    policy.save_pretrained(folder)
    again = VLAPolicy.from_pretrained(folder)
    for name, tensor in policy.model.head.state_dict().items():
        torch.testing.assert_close(again.model.head.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_a_missing_backbone_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Qwen/Qwen2\.5-VL-3B-Instruct") as caught:
        pretrained_backbone(str(tmp_path / "nowhere"))
    assert "\n" not in str(caught.value)
