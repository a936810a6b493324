"""Laws of the decimated meshes."""

import os
from pathlib import Path

import numpy as np
import pytest

from vlatency.sim import meshes
from vlatency.sim.arm import arm_spec

pytestmark = pytest.mark.slow


def test_the_robot_weighs_the_same_without_its_decimation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    light = arm_spec().compile()
    monkeypatch.setattr(meshes, "MIN_FACES", 10**9)
    full = arm_spec().compile()
    np.testing.assert_allclose(light.body_mass, full.body_mass, rtol=1e-9)
    np.testing.assert_allclose(light.body_inertia, full.body_inertia, rtol=1e-6, atol=1e-12)


def test_the_second_start_reads_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = arm_spec().compile()
    written = sorted((tmp_path / "vlatency" / "meshes").iterdir())
    assert written
    assert all(path.suffix == ".npz" for path in written)

    def never(*_: object) -> None:
        pytest.fail("decimated again")

    monkeypatch.setattr(meshes, "_decimate", never)
    second = arm_spec().compile()
    np.testing.assert_array_equal(first.mesh_vert, second.mesh_vert)


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "changed", "a folder"])
def test_a_cache_file_that_cannot_be_used_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = arm_spec().compile()
    path = sorted((tmp_path / "vlatency" / "meshes").iterdir())[0]
    whole = path.read_bytes()
    with np.load(path) as stored:
        arrays = dict(stored)
    path.unlink()
    if damage == "a folder":
        path.mkdir()
    elif damage == "foreign":
        np.savez(path, vertices=np.zeros((3, 3)))
    elif damage == "changed":
        np.savez(path, **{**arrays, "vertices": 2 * arrays["vertices"]})
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    second = arm_spec().compile()
    np.testing.assert_array_equal(first.mesh_vert, second.mesh_vert)
    assert damage == "a folder" or path.read_bytes() == whole


def test_without_a_place_for_the_cache_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert arm_spec().compile().nmesh > 0
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert arm_spec().compile().nmesh > 0


def test_the_cache_can_be_read_by_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arm_spec()
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "vlatency" / "meshes").iterdir()}
    assert modes == {0o666 & ~_umask()}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
