"""The pick tasks as LeRobot's own factory makes them."""

import json
import os
import subprocess

import pytest

from vlatency.experiments.shared.files import ROOT

LEROBOT = ROOT / ".venv-lerobot/bin/python"
PLUGIN = ROOT / "plugins/lerobot_env_vlatency"
STEP = """
import json, sys
import torch
from lerobot_env_vlatency import VlatencyEnv
from lerobot.configs.parser import load_plugin
from lerobot.envs.configs import EnvConfig
from lerobot.envs.factory import make_env
from lerobot.envs.utils import add_envs_task, env_to_policy_features, preprocess_observation
load_plugin("lerobot_env_vlatency")
config = EnvConfig.get_choice_class("vlatency")(task="shape", cameras=("top",), size=32)
envs = make_env(config, n_envs=2)["vlatency"][0]
hashes = []
for _ in range(2):
    observation, _ = envs.reset(seed=[7, 8])
    for _ in range(3):
        observation, *_, info = envs.step(torch.tensor([[0.5, 0.0, 0.2, 0.0, 0.0]] * 2).numpy())
    hashes.append([env.unwrapped.trajectory_hash for env in envs.envs])
late = make_env(EnvConfig.get_choice_class("vlatency")(latency=300, size=32))["vlatency"][0]
late.reset(seed=[7])
times = [late.step(torch.tensor([[0.5, 0.0, 0.2, 0.0, 0.0]]).numpy())[-1]["time_s"].item() for _ in range(2)]
seen = add_envs_task(envs, preprocess_observation(observation))
print(json.dumps({
    "features": {name: list(feature.shape) for name, feature in env_to_policy_features(config).items()},
    "seen": {name: list(value.shape[1:]) for name, value in seen.items() if name != "task"},
    "task": seen["task"], "hashes": hashes, "steps": envs.call("_max_episode_steps")[0],
    "success": info["is_success"].tolist(), "times": times}))
"""


@pytest.mark.gl
@pytest.mark.lerobot
@pytest.mark.slow
@pytest.mark.skipif(not LEROBOT.exists(), reason="needs .venv-lerobot (make lerobot)")
def test_lerobots_factory_makes_it_and_its_observations_are_what_its_configuration_promises() -> None:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{ROOT}/.venv/typing:{PLUGIN}"}
    done = subprocess.run(
        [str(LEROBOT), "-W", "ignore", "-c", STEP], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    promised = dict(found["features"])
    assert promised.pop("action") == [5]
    assert found["seen"] == promised == {"observation.images.top": [3, 32, 32], "observation.state": [5]}
    assert all("ick up the" in task for task in found["task"])
    assert found["hashes"][0] == found["hashes"][1]
    assert found["hashes"][0][0] != found["hashes"][0][1]
    assert found["steps"] > 0
    assert found["success"] == [False, False]
    assert found["times"] == pytest.approx([0.3, 0.6])
