"""Laws of the decimated meshes."""

from pathlib import Path

import numpy as np
import pytest

from vlatency.sim import meshes
from vlatency.sim.arm import arm_spec


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
