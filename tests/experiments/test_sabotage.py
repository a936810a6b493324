"""A node of a cluster that dies while a sweep runs costs no episode and changes no table."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.builders.sabotage import Ending, Sweep, kill_node, two_nodes

FAKE = Path(__file__).with_name("fake_sweep.py")
OPTIONS = ("--episodes", "16", "--workers", "2")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("ray"),  # one worker needs but one undisturbed sweep
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes to kill in /proc"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ending:
    """How a sweep ends that nobody kills."""
    return Sweep(tmp_path_factory.mktemp("whole"), FAKE, *OPTIONS).finish()


def test_an_undisturbed_sweep_measures_every_seed_once_in_order(whole: Ending) -> None:
    assert {tuple(row["seed"] for row in rows) for rows in whole.rows.values()} == {tuple(range(10_000, 10_016))}
    assert len(whole.rows) == 7 and any("against 3 views" in line for line in whole.table)


@pytest.mark.ray
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'")
def test_a_node_that_dies_changes_nothing(whole: Ending, tmp_path: Path) -> None:
    with two_nodes() as (address, kill):
        sweep = Sweep(tmp_path, FAKE, *OPTIONS, "--engine", "ray", "--address", address)
        assert kill_node(sweep, 20, kill) == whole
