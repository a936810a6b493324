"""Corruptions of policy folders, backbone folders and latency profiles: refused in one line, or loaded as they are."""

import copy
import json
import math
import random
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from vlatency import assets
from vlatency.agent.optimization import Optimization
from vlatency.agent.realtime.cost.named import parse_latency
from vlatency.agent.realtime.cost.schema import read_profile
from vlatency.agent.vla.model.backbones import tiny_config
from vlatency.agent.vla.model.config import PolicyConfig, TextDims, VisionDims
from vlatency.agent.vla.model.pretrained import pretrained_backbone
from vlatency.agent.vla.model.text import instruction_corpus, train_tokenizer
from vlatency.agent.vla.model.vla import VLA
from vlatency.agent.vla.policy import VLAPolicy
from vlatency.experiments.evaluation.policies import find_policy, hash_policy
from vlatency.sim.errors import UsageError

VISION = VisionDims(depth=1, hidden_size=32, num_heads=2, intermediate_size=48)
TEXT = TextDims(num_hidden_layers=2, hidden_size=64, num_attention_heads=2, num_key_value_heads=1, intermediate_size=48)
SMALL = PolicyConfig(vision=VISION, text=TEXT, view_width=32, trunk_width=40, sensor_width=16, flow_width=24)
LIKE_QWEN = PolicyConfig(vision=VISION, text=TEXT, stem_channels=0, patch_size=14, merge_size=2, temporal_patch_size=2)
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
State = dict[str, torch.Tensor]
Way = Callable[[Path, random.Random], str]
"""Does one thing to the files of a folder, and says what."""


def corruptions(folder: Path, count: int, seed: int) -> str:
    """Corrupt a policy, a backbone, a policy on that backbone and a profile in turn, and load each."""
    rng, counts = random.Random(seed), Counter[str]()
    _write_sources(folder / "sources")
    kinds = ("policy", "backbone", "profile", "on-backbone")
    for number in range(count):
        kind, place = kinds[number % len(kinds)], folder / str(number)
        shutil.copytree(folder / "sources" / kind, place)
        way = rng.choice(WAYS if kind != "profile" else WAYS[:-6])
        done = f"{kind} {number}: {way.__name__} {way(place, rng)}"
        counts[_loads(place, kind, done)] += 1
        shutil.rmtree(place)
    found = (
        f"{counts['refused']} refused in one line, {counts['loaded']} loaded with every tensor and number of the files"
    )
    return f"{count} corruptions of policies, backbones and profiles: {found}"


def _loads(folder: Path, kind: str, done: str) -> str:
    """Whether it is loaded or refused. AssertionError for any other end."""
    try:
        _check(folder, kind)
    except UsageError as error:
        if "\n" in str(error):
            raise AssertionError(f"{done}: more than a line: {error}") from error
        return "refused"
    except Exception as error:
        raise AssertionError(f"{done}: {type(error).__name__}: {error}") from error
    return "loaded"


def _check(folder: Path, kind: str) -> None:
    """UsageError if it does not load; AssertionError if it loads as something else than its files say."""
    if kind == "backbone":
        backbone, _ = pretrained_backbone(str(folder), torch.float32)
        _check_state(backbone.state_dict(), _backbone_tensors(folder))
    elif kind == "profile":
        path = folder / "profile.json"
        latency = parse_latency(str(path), Optimization())
        assert math.isfinite(latency.vl_ms + latency.head_ms)
        content = path.read_bytes()
        found = read_profile(content).model_dump(mode="json", exclude_unset=True)
        assert found == json.loads(content.decode("utf-8-sig")), "other numbers"
    else:
        hash_policy(find_policy(str(folder)))
        found = VLAPolicy.from_pretrained(folder).model.state_dict()
        says = read_safetensors((folder / "model.safetensors").read_bytes())
        if kind == "on-backbone":
            beside = _backbone_tensors(folder.parent / "sources" / "backbone")
            says |= {f"encoder.backbone.{name}": tensor for name, tensor in beside.items()}
        _check_state(found, says)


def _check_state(found: Mapping[str, torch.Tensor], says: State) -> None:
    assert found.keys() == says.keys(), found.keys() ^ says.keys()
    for name, tensor in found.items():
        expected = says[name]
        assert tensor.is_floating_point() == expected.is_floating_point(), f"{name}: {expected.dtype}"
        assert not tensor.is_floating_point() or tensor.isfinite().all(), f"{name} is not finite"
        assert torch.equal(tensor, expected.to(tensor.dtype)), f"{name} is not as in the file"


def _backbone_tensors(folder: Path) -> State:
    """What the weights of a backbone say, under the names that the model gives them."""
    state: State = {}
    for path in folder.glob("*.safetensors"):
        mine = read_safetensors(path.read_bytes())
        assert not mine.keys() & state.keys(), "a tensor is there twice"
        state |= mine
    names = {name for name in state if "lm_head" not in name}
    prefix = next(name[: name.index(mark)] for name in names for mark in ("model.", "visual.") if mark in name)
    return {name.removeprefix(prefix).replace("model.", "language_model.", 1): state[name] for name in names}


def _write_sources(folder: Path) -> None:
    torch.manual_seed(0)
    VLAPolicy(VLA.tiny(SMALL)).save_pretrained(folder / "policy")
    tokenizer = train_tokenizer(instruction_corpus())
    config = copy.deepcopy(tiny_config(LIKE_QWEN, tokenizer))
    config.tie_word_embeddings = False
    Qwen2_5_VLForConditionalGeneration._from_config(config).save_pretrained(folder / "backbone")
    tokenizer.save(str(folder / "backbone" / "tokenizer.json"))
    VLAPolicy.from_backbone(str(folder / "backbone")).save_pretrained(folder / "on-backbone")
    (folder / "profile").mkdir()
    shutil.copy(assets.FOLDER / "latency" / "insertion_vla.json", folder / "profile" / "profile.json")


def _any_file(folder: Path, rng: random.Random, suffix: str = "") -> Path:
    return rng.choice(sorted(path for path in folder.iterdir() if path.is_file() and path.name.endswith(suffix)))


def _bytes_flipped(folder: Path, rng: random.Random) -> str:
    path = _any_file(folder, rng)
    content = bytearray(path.read_bytes())
    places = [rng.randrange(len(content)) for _ in range(rng.choice([1, 1, 8]))]
    for place in places:
        content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{path.name} {places}"


def _cut(folder: Path, rng: random.Random) -> str:
    path = _any_file(folder, rng)
    size = rng.choice([0, 1, 7, 8, rng.randrange(path.stat().st_size), path.stat().st_size - 1])
    path.write_bytes(path.read_bytes()[:size])
    return f"{path.name} to {size}"


def _grown(folder: Path, rng: random.Random) -> str:
    path = _any_file(folder, rng)
    more = rng.choice([b"\0", b"\n\n", b"x", bytes(4096), b"\xef\xbb\xbf"])
    content = path.read_bytes()
    path.write_bytes(more + content if rng.random() < 0.3 else content + more)
    return f"{path.name} by {more[:8]!r}"


ODD: list[Any] = [
    0, -1, 1, 3, 10**9, 10**400, 2**63, 0.5, -0.0, 1e308, math.nan, math.inf, True, False, None, "", "8", "x", "\ud800",
    [], {}, [1, 2], [[]], {"a": 1}, "../..", "tiny", "/nowhere",
]  # fmt: skip


def _values_changed(folder: Path, rng: random.Random) -> str:
    """Change, drop or rename values of a JSON file, at any depth."""
    path = _any_file(folder, rng, ".json")
    content = json.loads(path.read_text())
    done = []
    for _ in range(rng.choice([1, 1, 3])):
        table, key = rng.choice(list(_places(content)))
        match rng.randrange(5):
            case 0:
                del table[key]
                done.append(f"no {key}")
            case 1 if isinstance(table, dict):
                table[f"{key}_"] = table.pop(key)
                done.append(f"{key}_")
            case _:
                table[key] = copy.deepcopy(rng.choice(ODD))
                done.append(f"{key}={table[key]!r:.20}")
    path.write_text(json.dumps(content, indent=2))
    return f"{path.name} {done}"


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a JSON value, those of long tables in part."""
    keys = list(value)[:40] if isinstance(value, dict) else range(min(3, len(value))) if isinstance(value, list) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _gone(folder: Path, rng: random.Random) -> str:
    path = _any_file(folder, rng)
    path.unlink()
    left = rng.choice(["nothing", "a folder", "a dangling link", "a link to itself"])
    if left == "a folder":
        path.mkdir()
    elif left != "nothing":
        path.symlink_to(path if left == "a link to itself" else path.with_name("nowhere"))
    return f"{path.name}, {left} left"


def _other_layout(folder: Path, rng: random.Random) -> str:
    """What other programs call their files, or where they put them."""
    path = _any_file(folder, rng)
    name = rng.choice(
        ["settings.json", f"{path.name}.bak", path.name.upper(), "pytorch_model.bin", "inside", "lfs", "x"]
    )
    if name == "inside":
        (folder / name).mkdir()
        for each in [each for each in folder.iterdir() if each.is_file()]:
            each.rename(folder / name / each.name)
    elif name == "lfs":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 9\n")
    elif name == "x":
        shutil.copy(path, path.with_name(f"x-{path.name}"))
    else:
        path.rename(path.with_name(name))
    return f"{path.name} {name}"


def _sharded(folder: Path, rng: random.Random) -> str:
    path = folder / "model.safetensors"
    state = read_safetensors(path.read_bytes())
    names = sorted(state)
    half = rng.randrange(1, len(names))
    parts = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    index = {name: part for part, mine in parts.items() for name in mine}
    done = rng.choice(["whole", "shard gone", "name gone", "wrong shard", "no index", "both", "twice"])
    if done == "name gone":
        del index[rng.choice(names)]
    if done == "wrong shard":
        index[names[0]], index[names[-1]] = index[names[-1]], index[names[0]]
    for part, mine in parts.items():
        more = {names[0]: state[names[0]] + 1} if done == "twice" else {}
        write_safetensors(folder / part, {name: state[name] for name in mine} | more)
    if done == "shard gone":
        (folder / rng.choice(list(parts))).unlink()
    if done != "no index":
        text = json.dumps({"metadata": {}, "weight_map": index})
        (folder / "model.safetensors.index.json").write_text(text)
    if done != "both":
        path.unlink()
    return done


def _nan(tensor: torch.Tensor, number: float) -> torch.Tensor:
    changed = tensor.clone()
    changed.view(-1)[-1] = number
    return changed


TENSORS: dict[str, Callable[[State, str, str, random.Random], Mapping[str, torch.Tensor | None]]] = {
    "gone": lambda state, name, other, rng: {name: None},
    "half gone": lambda state, name, other, rng: dict.fromkeys(rng.sample(sorted(state), len(state) // 2)),
    "added": lambda state, name, other, rng: {f"{name}.scale": torch.ones(1)},
    "renamed": lambda state, name, other, rng: {name: None, f"{name}_": state[name]},
    "prefix": lambda state, name, other, rng: dict.fromkeys(state) | {f"vlm.{n}": t for n, t in state.items()},
    "upper": lambda state, name, other, rng: dict.fromkeys(state) | {n.upper(): t for n, t in state.items()},
    "swapped": lambda state, name, other, rng: {name: state[other], other: state[name]},
    "longer": lambda state, name, other, rng: {name: torch.cat([state[name].flatten(), state[name].flatten()[:1]])},
    "flat": lambda state, name, other, rng: {name: state[name].flatten()},
    "deep": lambda state, name, other, rng: {name: state[name][None]},
    "reversed": lambda state, name, other, rng: {name: state[name].permute(*reversed(range(state[name].ndim)))},
    "cast": lambda state, name, other, rng: {name: state[name].to(rng.choice(list(DTYPES.values())))},
    "all cast": lambda state, name, other, rng: _cast(state, rng.choice(list(DTYPES.values()))),
    "nan": lambda state, name, other, rng: {name: _nan(state[name], math.nan)},
    "inf": lambda state, name, other, rng: {name: _nan(state[name], -math.inf)},
    "nothing": lambda state, name, other, rng: {name: torch.zeros(0)},
    "no tensor": lambda state, name, other, rng: dict.fromkeys(state),
    "scaled": lambda state, name, other, rng: {name: state[name] * 3},
}
"""What a change sets, or takes away (None)."""


def _cast(state: State, dtype: torch.dtype) -> State:
    return {name: tensor.to(dtype) for name, tensor in state.items()}


def _tensors_changed(folder: Path, rng: random.Random) -> str:
    path = folder / "model.safetensors"
    state = read_safetensors(path.read_bytes())
    name, other = rng.sample(sorted(state), 2)
    done = rng.choice(list(TENSORS))
    changed = {**state, **TENSORS[done](state, name, other, rng)}
    write_safetensors(path, {name: tensor for name, tensor in changed.items() if tensor is not None})
    return f"{done} {name}"


def _header_changed(folder: Path, rng: random.Random) -> str:
    """Change what a safetensors file says of itself, and not its numbers."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    name, other = rng.sample([each for each in header if each != "__metadata__"], 2)
    values: dict[str, list[Any]] = {
        "dtype": [*DTYPES, "F8_E4M3", "F4", "C64", "float32", ""],
        "shape": [[], [1], header[name]["shape"][::-1], [-1], [10**9, 10**9], "x", None],
        "data_offsets": [[0, 1], [5, 1], [-4, 0], [0, 10**15], [1], "x"],
        "__metadata__": [{"format": "tf"}, {"format": "np"}, {}, {"a": 1}, "x", None],
        "whole": [None, [], {}, 1, {"dtype": "F32"}, header[other]],
        "length": [0, 1, length - 1, length + 1, 2**40, 2**64 - 1],
    }
    done = rng.choice(list(values))
    value = rng.choice(values[done])
    if done == "__metadata__":
        header[done] = value
    elif done == "whole":
        header[name] = value
    elif done != "length":
        header[name][done] = value
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", value if done == "length" else len(text)) + text + content[8 + length :])
    return f"{done} {name} {value!r:.30}"


WAYS: tuple[Way, ...] = (
    _bytes_flipped, _cut, _grown, _values_changed, _values_changed, _gone, _other_layout, _sharded, _header_changed,
    _header_changed, _tensors_changed, _tensors_changed, _tensors_changed,
)  # fmt: skip
"""The last six are for folders with tensors."""


def read_safetensors(content: bytes) -> State:
    """The tensors of a file, read by its specification. KeyError or ValueError if it does not keep to that."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    state = {}
    for name, about in header.items():
        start, end = about["data_offsets"]
        data = bytearray(content[8 + length + start : 8 + length + end])
        dtype = DTYPES[about["dtype"]]
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.zeros(0, dtype=dtype)
        state[name] = flat.reshape(about["shape"])
    return state


def write_safetensors(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """A file with those tensors."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in state.items():
        mine = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        place = [len(data), len(data) + len(mine)]
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        data += mine
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
