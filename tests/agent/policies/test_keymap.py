"""Which of our views and numbers goes under which key of a server."""

import hashlib
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vlatency.agent.policies.keymap import FOLDER, KeyMap, StateKey, resize_with_pad
from vlatency.agent.realtime.requests import Infer
from vlatency.sim.errors import RunError, UsageError

RNG = np.random.default_rng(0)
VIEW = RNG.integers(0, 256, (360, 640, 3), dtype=np.uint8)
STATE = np.arange(39, dtype=np.float32)


def request(*cameras: str, state: np.ndarray = STATE) -> Infer:
    return Infer(dict.fromkeys(cameras, VIEW), "open the drawer", SimpleNamespace(state=state, t_ns=6), t_ns=5)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "libero",
            {
                "observation/image": (224, 224, 3),
                "observation/wrist_image": (224, 224, 3),
                "observation/state": (38,),
            },
        ),
        (
            "droid",
            {
                "observation/exterior_image_1_left": (224, 224, 3),
                "observation/wrist_image_left": (224, 224, 3),
                "observation/joint_position": (7,),
                "observation/gripper_position": (1,),
            },
        ),
        (
            "metaworld",
            {
                "observation/image": (224, 224, 3),
                "observation/state": (4,),
                "observation/environment_state": (39,),
            },
        ),
    ],
)
def test_a_map_that_ships_sends_the_keys_that_openpi_s_policies_read(name: str, shapes: dict[str, object]) -> None:
    keys = KeyMap.find(name)
    observation = keys.observation(request(*keys.cameras))
    assert observation.pop("prompt") == "open the drawer"
    assert {key: value.shape for key, value in observation.items()} == shapes


def test_aloha_s_image_is_in_a_map_of_its_own_with_the_channels_first() -> None:
    observation = KeyMap.find("aloha").observation(request("top"))
    assert observation.keys() == {"images", "state", "prompt"}
    assert observation["images"]["cam_high"].shape == (3, 224, 224)


def test_the_times_of_exposure_and_sensors_are_sent_where_a_map_has_a_key_for_them() -> None:
    keys = KeyMap("x", {}, {}, None, time_ns="t")
    assert keys.observation(request()) == {"t": [5, 6]}


@pytest.mark.parametrize("w", [0.3, 1.0, -0.3])
def test_a_quaternion_is_sent_as_the_rotation_vector_of_the_training_data(w: float) -> None:
    axis = np.array([0.6, 0.0, 0.8])
    state = np.array([1, 2, 3, *(axis * math.sqrt(1 - w * w)), w, 4, 5], dtype=np.float64)
    keys = KeyMap("x", {}, {"s": StateKey(quaternion=3)})
    expected = [1, 2, 3, *(axis * 2 * math.acos(w)), 4, 5]
    np.testing.assert_allclose(keys.observation(request(state=state))["s"], expected, atol=1e-12)
    with pytest.raises(RunError, match="6"):
        keys.observation(request(state=state[:6]))


def test_flips_turn_the_view() -> None:
    maps = {flip: KeyMap.find("vlatency").images["observation/top"].model_copy(update={"flip": flip})
            for flip in ("none", "horizontal", "vertical", "both")}  # fmt: skip
    sent = {flip: KeyMap("x", {"a": image}, {}).observation(request("top"))["a"] for flip, image in maps.items()}
    np.testing.assert_array_equal(sent["none"], VIEW)
    np.testing.assert_array_equal(sent["horizontal"], VIEW[:, ::-1])
    np.testing.assert_array_equal(sent["vertical"], VIEW[::-1])
    np.testing.assert_array_equal(sent["both"], VIEW[::-1, ::-1])


@pytest.mark.parametrize(
    ("height", "width", "sha256"),
    [
        (360, 640, "1e550e465c1f4ec68208b125061c404880b3791de75569776fcda158d6ff0ebe"),
        (480, 640, "086f50497b07b89c5f28032a9a2f564fd7e5b9b3c210032198f4bdd489041c95"),
        (100, 30, "07928a8bd97800b6221a2326cf688e70768c185e741f8b64d32bf3a77e364be0"),
        (224, 224, "e6f7400fa17614e1d4d7c9bebf4455ba6db650df2fb8f9328bf160594cbada83"),
        (7, 333, "c466f21915762df1f590a8ea725ede03728080181c0a22a724a3ff551a628b24"),
    ],
)
def test_a_resized_view_is_byte_for_byte_that_of_the_openpi_client(height: int, width: int, sha256: str) -> None:
    drawn = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert hashlib.sha256(resize_with_pad(drawn, 224).tobytes()).hexdigest() == sha256


def test_a_sliver_of_a_view_keeps_at_least_one_pixel() -> None:
    assert resize_with_pad(np.ones((1, 1000, 3), np.uint8), 224).shape == (224, 224, 3)


def test_only_the_views_that_a_server_reads_are_asked_for() -> None:
    keys = KeyMap.find("vlatency").only(["observation/wrist", "observation/state"], "the server")
    assert keys.cameras == ("wrist",)
    assert keys.keys == ("observation/wrist", "observation/state")


def test_a_server_that_reads_another_key_is_refused() -> None:
    with pytest.raises(UsageError, match="observation/touch"):
        KeyMap.find("libero").only(["observation/touch"], "the server")


def test_a_view_or_numbers_that_the_environment_lacks_are_named() -> None:
    with pytest.raises(RunError, match="wrist_image"):
        KeyMap.find("libero").observation(request("image"))
    droid = KeyMap.find("droid")
    with pytest.raises(RunError, match=r"state\[7:8\]"):
        droid.observation(request(*droid.cameras, state=STATE[:7]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("about: x\nimage: {}\nstate: {a: {}}", "images, state, prompt"),
        ("about: x\nimages: {a: {camera: top, flips: both}}", "camera, size, flip"),
        ("about: x\nimages: {a: {camera: top, flip: upside}}", "images.a.flip"),
        ("about: x\nimages: {a: {size: 224}}", "images.a.camera"),
        ("about: x\nstate: {a: {start: -1}}", "state.a.start"),
        ("about: x", "neither"),
        ("- a", "the file"),
        ("a: [", "cannot be read"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        KeyMap.find(str(path))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["", "liber", "/nowhere.yaml", "."])
def test_a_map_that_does_not_exist_lists_those_that_do(name: str) -> None:
    with pytest.raises(UsageError, match="aloha, droid, libero, metaworld, vlatency"):
        KeyMap.find(name)


def test_all_maps_that_ship_can_be_read() -> None:
    names = [path.stem for path in FOLDER.glob("*.yaml")]
    assert len({KeyMap.find(name).sha256 for name in names}) == len(names) == 5
