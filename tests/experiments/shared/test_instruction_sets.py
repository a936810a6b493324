"""What a result depends on names the instruction sets, and --portable pins them."""

import platform

import pytest

from tests.builders.studies import SETTING, run_config
from vlatency.experiments.evaluation.run_config import check_same_software
from vlatency.experiments.parallel.engine import SINGLE_THREADED
from vlatency.experiments.parallel.processes import Workers
from vlatency.experiments.shared.instruction_sets import PORTABLE, instruction_sets
from vlatency.sim.errors import UsageError


def sets(_: object) -> dict[str, str]:
    return instruction_sets()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX2 is of x86 processors")
def test_portable_workers_use_avx2_in_every_library_and_nothing_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PORTABLE:
        monkeypatch.delenv(name, raising=False)
    with Workers(1, SINGLE_THREADED | PORTABLE) as workers:
        found = workers.call(sets, None)
    assert found["torch"] == "AVX2" and found["mkl"] in ("10", "none") and found["onednn"] == "AVX2"
    assert found["openblas"] == "Haswell"
    assert "X86_V4" not in found["numpy"] and "AVX512" not in found["numpy"]


def test_a_run_is_not_continued_under_other_instruction_sets_versions_or_code() -> None:
    before = run_config([SETTING])
    for name, value in (
        ("instruction_sets", {"torch": "AVX512"}),
        ("versions", {"python": "3.11.7", "vlatency": "0.2.0"}),
        ("gl_renderer", "NVIDIA"),
        ("source_sha256", "cd"),
        ("gpu", "NVIDIA L4"),
    ):
        with pytest.raises(UsageError, match="other software"):
            check_same_software(before, run_config([SETTING], software=before["software"] | {name: value}))
    check_same_software(before, run_config([SETTING]))
