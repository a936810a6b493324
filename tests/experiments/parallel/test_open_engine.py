"""Options that ask for an engine that cannot be had are refused."""

import importlib.util

import pytest

from vlatency.experiments.parallel.open_engine import EngineName, open_engine
from vlatency.sim.errors import UsageError

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'"
)


@pytest.mark.parametrize(
    ("engine", "address", "workers", "says"),
    [
        ("local", "h:1", 1, "--address names a Ray cluster"),
        ("local", "", -1, "workers must be at least 0, not -1"),
        pytest.param("ray", "127.0.0.1:1", 1, "no Ray cluster answers at 127.0.0.1:1", marks=needs_ray),
        pytest.param("ray", "ray://here", 1, "--address is HOST:PORT", marks=needs_ray),
    ],
)
def test_an_engine_that_cannot_be_had_is_one_line(engine: EngineName, address: str, workers: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_engine(engine, address, workers, False)
