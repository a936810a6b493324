"""Laws of latency models and of the profiles behind them."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from vlatency import assets
from vlatency.agent.optimization import Encoding, Optimization, Quant
from vlatency.agent.realtime.cost.latency import FixedLatency, LatencyModel, NoLatency
from vlatency.agent.realtime.cost.named import NoFigure, parse_latency
from vlatency.agent.realtime.cost.profile import available_profiles, load_profile
from vlatency.agent.realtime.cost.roofline import encode_tflop
from vlatency.sim.errors import UsageError
from vlatency.sim.names import CAMERA_ORDER

PROFILE = assets.FOLDER / "latency" / "insertion_vla.json"


def asked(
    views: int = 3, res: tuple[int, int] = (224, 224), encoding: Encoding = "batched", **others: Any
) -> Optimization:
    return Optimization(CAMERA_ORDER[:views], *res, encoding, **others)


def parse(text: str, views: int = 3, res: tuple[int, int] = (224, 224), encoding: Encoding = "batched") -> LatencyModel:
    return parse_latency(text, asked(views, res, encoding))


def charged(model: LatencyModel, views: int = 3, of: int = 3) -> tuple[int, int]:
    stream = model.stream(np.random.default_rng(0))
    return stream.encode_ns(views, of), stream.head_ns()


def test_a_model_charges_what_it_says() -> None:
    assert parse("none") == NoLatency()
    assert charged(parse("none")) == (0, 0)
    assert parse("fixed:1450,11") == FixedLatency(1450, 11)
    assert charged(parse("fixed:1450,10.97")) == (1_450_000_000, 10_970_000)
    assert charged(parse("fixed:300")) == (300_000_000, 0)
    assert charged(parse("insertion_vla", 5, (640, 360), "joint"), 5, 5) == (381_303_000, 10_970_000)


def test_a_header_is_one_line_that_says_where_the_times_come_from() -> None:
    assert parse("none").describe() == "none: VL 0 ms, sensor + head 0 ms"
    assert parse("fixed:1450,11").describe() == "fixed: VL 1450.0 ms, sensor + head 11 ms"
    measured = parse("insertion_vla", 5, (640, 360), "joint").describe()
    assert measured.startswith("insertion_vla (GPU not recorded, measured, mean only: std_ms is not used): ")
    assert measured.endswith("VL 381.3 ms, sensor + head 10.97 ms")
    assert parse("insertion_vla").describe().startswith("insertion_vla (GPU not recorded, scaled by TFLOP): VL ")


@pytest.mark.parametrize(
    "text",
    [
        *("", "None", "h100", "fixed", "fixed:", "fixed:1,2,3", "fixed:a,b", "fixed:-1,2", "fixed:1,-2"),
        *("fixed:nan,1", "fixed:1,inf", "fixed:1e99,1", "no/such.json", "assets", "x" * 9999, "a\0b"),
    ],
)
def test_a_bad_latency_is_one_line_with_the_valid_values(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    message = str(error.value)
    assert "\n" not in message
    assert "fixed:VL_MS,HEAD_MS" in message
    if not text.startswith("fixed:"):
        assert all(name in message for name in ("none", *available_profiles()))


def test_a_profile_may_be_a_path(tmp_path: Path) -> None:
    copy = tmp_path / "mine.json"
    copy.write_bytes(PROFILE.read_bytes())
    assert parse(str(copy)).vl_ms == parse("insertion_vla").vl_ms
    assert parse(str(copy)).describe().startswith("mine (")


def broken_profiles() -> list[object]:
    good: dict[str, Any] = json.loads(PROFILE.read_text())
    without_head = {key: value for key, value in good.items() if key != "head_ms"}
    point = good["encode"][0]
    return [
        *([], "text", None, {}, without_head, good | {"head_ms": -1}, good | {"head_ms": float("nan")}),
        *(
            good | {"realised_tflops": 0},
            good | {"overhead_ms": "soon"},
            good | {"encode": 3},
            good | {"encode": {"a": 1}},
        ),
        *(good | {"encode": [point | {"mean_ms": -5}]}, good | {"encode": [{"views": 1}]}),
    ]


@pytest.mark.parametrize("content", [*map(json.dumps, broken_profiles()), "", "{", "\udcff"])
def test_a_broken_profile_is_one_line_with_its_path(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UsageError) as error:
        parse(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", available_profiles().values(), ids=lambda path: path.stem)
def test_every_shipped_profile_names_its_source_and_has_points(path: Path) -> None:
    data = json.loads(path.read_text())
    assert data["device"]
    assert data["model"]
    assert data["source"]
    assert load_profile(path).encode


def test_the_constants_of_the_profile_are_the_fit_of_its_points() -> None:
    profile = load_profile(PROFILE)
    measured = np.array([point.distribution.p50_ms for point in profile.encode])
    tflop = np.array([encode_tflop(point.views, point.res, point.encoding) for point in profile.encode])
    columns = np.stack([np.ones_like(tflop), tflop], axis=1) / measured[:, None]  # relative errors, hence the division
    overhead_ms, ms_per_tflop = np.linalg.lstsq(columns, np.ones_like(tflop))[0]
    assert profile.overhead_ms == pytest.approx(overhead_ms, abs=0.05)
    assert profile.realised_tflops == pytest.approx(1e3 / ms_per_tflop, abs=0.05)
    scaled = [profile.scaled_ms(asked(point.views, point.res, point.encoding)) for point in profile.encode]
    np.testing.assert_allclose(scaled, measured, rtol=0.07)


def test_a_measured_point_is_used_as_it_is_and_other_configurations_are_scaled() -> None:
    profile = load_profile(PROFILE)
    for point in profile.encode:
        assert parse("insertion_vla", point.views, point.res, point.encoding).vl_ms == point.distribution.p50_ms
    assert parse("insertion_vla", 5, (640, 360), "batched").vl_ms == profile.scaled_ms(asked(5, (640, 360)))


def test_one_view_is_the_same_measurement_either_way() -> None:
    assert parse("insertion_vla", 1, (1280, 720), "batched") == parse("insertion_vla", 1, (1280, 720), "joint")


def test_fewer_views_take_their_share_of_a_fixed_figure_and_in_a_profile_what_so_many_views_take() -> None:
    assert [charged(parse("fixed:300,11"), views)[0] for views in (1, 2, 3)] == [100_000_000, 200_000_000, 300_000_000]
    assert charged(parse("none"), 1) == (0, 0)
    profile, five, res = load_profile(PROFILE), parse("insertion_vla", 5, (640, 360), "joint"), (640, 360)
    for views in range(2, 6):
        measured = profile.measured(asked(views, res, "joint"))
        assert measured is not None
        assert charged(five, views, 5)[0] == round(measured.distribution.p50_ms * 1e6)
    assert profile.measured(asked(1, res, "joint")) is None
    assert charged(five, 1, 5)[0] == round(profile.scaled_ms(asked(1, res, "joint")) * 1e6)


@pytest.mark.parametrize("name", ["none", "fixed:1450.3,10.97", "insertion_vla"])
@pytest.mark.parametrize("views", range(1, 6))
def test_all_views_take_what_the_configuration_takes_bit_for_bit(name: str, views: int) -> None:
    model = parse(name, views)
    assert charged(model, views, views)[0] == round(model.vl_ms * 1e6)


def test_a_roofline_is_modelled_and_says_so() -> None:
    model = parse("roofline:orin", 5, (640, 360), "joint")
    tflop = encode_tflop(5, (640, 360), "joint")
    assert model.vl_ms == pytest.approx(tflop / 42.5 * 1e3)
    assert charged(model, 5, 5) == (round(model.vl_ms * 1e6), 10_970_000)
    assert charged(model, 1, 5)[0] == round(encode_tflop(1, (640, 360), "joint") / 42.5 * 1e9)
    assert model.describe().startswith("roofline:orin (NVIDIA Jetson AGX Orin 64 GB, modelled: Qwen2.5-VL-3B at the ")


def test_half_the_bytes_of_weights_help_where_memory_is_the_bound() -> None:
    one = parse_latency("roofline:orin", asked(1, (56, 56)))
    int8 = parse_latency("roofline:orin", asked(1, (56, 56), quant="int8-dynamic"))
    assert 0.5 < int8.vl_ms / one.vl_ms < 0.55


@pytest.mark.parametrize("quant", [quant for quant in get_args(Quant) if quant != "none"])
def test_a_quantization_without_a_figure_never_gets_that_of_bf16(quant: Quant) -> None:
    for wanted in (
        asked(5, (640, 360), "joint", quant=quant),
        asked(5, quant=quant),
        asked(1, (112, 112), quant=quant),
    ):
        with pytest.raises(NoFigure, match=rf"no figure for quant {quant} at . x .* it has those of quant none "):
            parse_latency("insertion_vla", wanted)
        with pytest.raises(NoFigure):
            parse_latency("insertion_vla", wanted, 0.5)
        assert parse_latency("fixed:380,11", wanted).vl_ms == 380


def test_the_residual_of_the_fit_is_no_gain_of_int8() -> None:
    measured, views = parse("insertion_vla", 5, (640, 360), "joint"), asked(5, (640, 360), "joint", quant="bnb-int8")
    assert (measured.basis, round(measured.vl_ms)) == ("measured", 381)
    assert round(load_profile(PROFILE).scaled_ms(views)) == 376  # what INT8 was charged once: 5 ms "faster"
    with pytest.raises(NoFigure):
        parse_latency("insertion_vla", views)


def test_a_quantization_that_was_measured_is_charged_and_its_other_sizes_are_named(tmp_path: Path) -> None:
    point = {"width": 224, "height": 224, "encoding": "batched", "views": 3, "mean_ms": 50.0, "quant": "bnb-int8"}
    scaled = written(tmp_path, "int8", encode=[point])
    int8 = parse_latency(scaled.name, asked(quant="bnb-int8"))
    assert (int8.vl_ms, int8.basis, scaled.basis) == (50.0, "measured", "scaled")
    less = charged(scaled, 1)[0] / charged(scaled, 3)[0]  # work, by arithmetic
    assert charged(int8, 1)[0] / 1e6 == pytest.approx(50.0 * less, rel=1e-6)
    path = scaled.name
    with pytest.raises(NoFigure, match="it has bnb-int8 for 3 x 224x224 batched only"):
        parse_latency(path, asked(5, quant="bnb-int8"))


@pytest.mark.parametrize(
    ("text", "factor", "basis"),
    [
        ("none", 1.0, "none"),
        ("fixed:380,11", 1.0, "chosen"),
        ("fixed:380,11", 0.5, "chosen"),
        ("insertion_vla", 1.0, "measured"),
        ("insertion_vla", 0.5, "scaled"),
        ("roofline:orin", 1.0, "modelled"),
    ],
)
def test_how_a_latency_is_known_is_part_of_it(text: str, factor: float, basis: str) -> None:
    assert parse_latency(text, asked(5, (640, 360), "joint"), factor).basis == basis
    assert text != "insertion_vla" or parse_latency(text, asked(5), factor).basis == "scaled"


@pytest.mark.parametrize(("device", "quant"), [("h100", "bnb-nf4"), ("orin", "fp8"), ("a100", "fp8")])
def test_a_roofline_has_no_peak_that_the_maker_does_not_publish(device: str, quant: Quant) -> None:
    with pytest.raises(NoFigure, match=f"roofline:{device} has no peak rate for quant {quant}"):
        parse_latency(f"roofline:{device}", asked(quant=quant))


def test_an_unknown_roofline_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"^unknown device 'tpu'; devices with a roofline are h100, .*thor, orin$"):
        parse("roofline:tpu")


@pytest.mark.parametrize("text", ["none", "fixed:1450.3,10.97", "fixed:380,11", "roofline:orin", "insertion_vla"])
def test_a_model_has_the_name_by_which_it_was_asked_for(text: str, tmp_path: Path) -> None:
    model = parse_latency(text, asked(), 2.0 if text != "none" else 1.0)
    assert model.name == text
    copy = tmp_path / "mine.json"
    copy.write_bytes(PROFILE.read_bytes())
    assert parse(str(copy)).name == str(copy)


def written(folder: Path, name: str, **changes: Any) -> LatencyModel:
    point = {"width": 224, "height": 224, "encoding": "batched"}
    profile = {
        "device": "a test",
        "head": {"samples_ms": [9, 10, 12]},
        "overhead_ms": 1,
        "realised_tflops": 50,
        "encode": [point | {"views": 3, "samples_ms": [50, 60, 70]}, point | {"views": 2, "samples_ms": [30, 40, 50]}],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(profile | changes))
    return parse(str(path))


def test_models_that_charge_the_same_have_the_same_sha256_whatever_they_are_called(tmp_path: Path) -> None:
    assert written(tmp_path, "one").sha256 == written(tmp_path, "two", device="another").sha256
    assert parse("none").sha256 == parse("fixed:0,0").sha256
    assert parse("fixed:380,11").sha256 == parse_latency("fixed:190,5.5", asked(), 2.0).sha256


@pytest.mark.parametrize(
    "change",
    [
        {"head": {"samples_ms": [8, 10, 12]}},
        {"head": {"p50_ms": 10, "p95_ms": 11, "p99_ms": 12}},
        {"head_ms": 10, "head": None},
        {"contention": 1.5},
        {"cold_start_ms": 1},
        {"preprocess": {"samples_ms": [0, 0, 1]}},
        {"overhead_ms": 2},  # an encode of one view is scaled
        {"encode": 0},
        {"encode": 1},
    ],
    ids=str,
)
def test_one_changed_figure_changes_the_sha256_though_the_medians_stay(tmp_path: Path, change: dict[str, Any]) -> None:
    plain = written(tmp_path, "plain")
    path = tmp_path / "changed.json"
    data = json.loads((tmp_path / "plain.json").read_text())
    if isinstance(change.get("encode"), int):
        data["encode"][change["encode"]]["samples_ms"][0] = 10
    else:
        data = {key: value for key, value in (data | change).items() if value is not None}
    path.write_text(json.dumps(data))
    changed = parse(str(path))
    assert (changed.vl_ms, changed.head_ms) == (plain.vl_ms, plain.head_ms)
    assert changed.sha256 != plain.sha256
    assert parse_latency(str(path), asked(), 2.0).sha256 != changed.sha256
