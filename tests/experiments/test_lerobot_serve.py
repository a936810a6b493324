"""lerobot_serve.py, in a LeRobot environment, driven by our client."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.builders.processes import heed_ctrl_c
from vlatency.agent.policies.source import find_source
from vlatency.agent.realtime.requests import Infer
from vlatency.experiments.shared.files import ROOT

LEROBOT = ROOT / ".venv-lerobot/bin/python"
SERVE = ROOT / "experiments" / "lerobot_serve.py"
ACT = ROOT / "assets/policies/act-metaworld/drawer-open-v3"
pytestmark = [
    pytest.mark.lerobot,
    pytest.mark.slow,
    pytest.mark.skipif(not LEROBOT.exists(), reason="needs .venv-lerobot (make lerobot)"),
]
STATES = np.random.default_rng(0).normal(size=(3, 39)).astype(np.float32)
# It has its own packages, and must not see ours.
CLEAN = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

REFERENCE = """
import sys
import numpy as np, torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
folder, states, out = sys.argv[1:]
config = PreTrainedConfig.from_pretrained(folder)
policy = get_policy_class(config.type).from_pretrained(folder)
before, after = make_pre_post_processors(config, pretrained_path=folder)
rows = []
for number, state in enumerate(torch.tensor(np.load(states))):
    torch.manual_seed(number)
    def selected():
        return after(policy.select_action(before(
            {"observation.state": state[:4], "observation.environment_state": state, "task": "open"}
        )))[0].numpy()
    if number == 0 or config.n_obs_steps == 1:
        policy.reset()
        rows.append([selected() for _ in range(config.n_action_steps)])
    else:  # what it saw before is kept, and what it planned is not
        policy._queues["action"].clear()
        rows.append([selected()] * config.n_action_steps)
np.save(out, np.array(rows, dtype=np.float64))
"""
TINY_DIFFUSION = """
import sys
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
torch.manual_seed(0)
sizes = {"observation.state": (FeatureType.STATE, 4), "observation.environment_state": (FeatureType.ENV, 39)}
config = make_policy_config(
    "diffusion",
    input_features={name: PolicyFeature(kind, (size,)) for name, (kind, size) in sizes.items()},
    output_features={"action": PolicyFeature(FeatureType.ACTION, (4,))},
    down_dims=(16, 32), n_groups=4, diffusion_step_embed_dim=16, num_train_timesteps=5, device="cpu", push_to_hub=False,
)
sizes = {**sizes, "action": (None, 4)}
stats = {name: {"mean": torch.zeros(n), "std": torch.ones(n), "min": -torch.ones(n), "max": torch.ones(n)}
         for name, (_, n) in sizes.items()}
before, after = make_pre_post_processors(config, dataset_stats=stats)
for part in (get_policy_class("diffusion")(config), before, after):
    part.save_pretrained(sys.argv[1])
"""
CONTINUES = """
import sys
sys.path.insert(0, sys.argv[1])
from types import SimpleNamespace
import numpy as np, torch
from lerobot_serve import Episode
seen = {}
class Policy:
    def reset(self): pass
    def predict_action_chunk(self, batch, **options):
        seen.update(options, batch=batch)
        return torch.zeros(1, 5, 4)
def twice_the_action(inputs):
    return {name: value * 2 if name == "action" else value for name, value in inputs.items()}
feature = SimpleNamespace(shape=(4,))
config = SimpleNamespace(input_features={"observation.state": feature}, n_obs_steps=1, type="pi05")
served = SimpleNamespace(policy=Policy(), config=config, rtc=True, keys={"observation/state": "observation.state"},
                         before=twice_the_action, after=lambda chunk: chunk)
answer = Episode(served, 0)
observation = {"observation/state": np.zeros(4), "prompt": "x"}
answer(observation)
assert seen.keys() == {"batch"}
answer(observation | {"plan": np.ones((3, 4)), "frozen": 2})
assert seen["inference_delay"] == 2
assert torch.equal(seen["prev_chunk_left_over"], torch.full((3, 4), 2.0))  # normalized, as training normalizes actions
assert "action" not in seen["batch"]
assert [len(Episode(served, 0, rows)(observation)["actions"]) for rows in (0, 2, 9)] == [5, 2, 5]
"""


def in_lerobot(*arguments: str | Path) -> None:
    subprocess.run([LEROBOT, "-W", "ignore", *arguments], check=True, env=CLEAN, timeout=200)


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    command = [str(LEROBOT), "-W", "ignore", str(SERVE), "--policy", str(folder), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=CLEAN, preexec_fn=heed_ctrl_c) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if "openpi://" in line)
            yield next(word.rstrip(";") for word in line.split() if word.startswith("openpi://"))
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


def request(state: np.ndarray) -> Infer:
    return Infer({}, "open", SimpleNamespace(state=state))


@pytest.fixture(params=["act", "diffusion"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint: the ACT that ships, or a small diffusion policy with random weights, which looks back."""
    if request.param == "act":
        return ACT
    in_lerobot("-c", TINY_DIFFUSION, tmp_path)
    return tmp_path


def test_chunks_are_what_lerobot_s_own_loop_carries_out(folder: Path, tmp_path: Path) -> None:
    states, expected = tmp_path / "states.npy", tmp_path / "expected.npy"
    np.save(states, STATES)
    in_lerobot("-c", REFERENCE, folder, states, expected)
    rows = np.load(expected)
    with serving(folder, "--key-map", "metaworld") as address:
        source = find_source(address)
        assert (source.kind, source.cameras, source.takes_plan) == ("third-party", (), False)
        # A second episode beside the first one does not disturb it.
        with (
            source.start(task="", instruction="", width=4) as policy,
            source.start(task="", instruction="", width=4) as other,
        ):
            chunks: list[Any] = []
            for state in STATES:
                chunks += policy.infer([request(state)])
                other.infer([request(-state)])
    np.testing.assert_array_equal(chunks[0][: len(rows[0])], rows[0])
    for chunk, row in zip(chunks, rows, strict=True):
        np.testing.assert_array_equal(chunk[0], row[0])


def test_a_plan_reaches_a_policy_that_continues_one() -> None:
    in_lerobot("-c", CONTINUES, SERVE.parent)


@pytest.mark.parametrize("options", [["--policy", "nowhere"], ["--policy", str(ACT), "--rtc"]])
def test_what_cannot_be_served_is_said_without_a_traceback(options: list[str]) -> None:
    found = subprocess.run([LEROBOT, SERVE, *options], capture_output=True, text=True, env=CLEAN, check=False)
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
