"""Studies of made-up episodes, written once for all tests of this room."""

from pathlib import Path

import pytest

from tests.builders.studies import FAST, LATE, SHIP, SPLIT, write_films, write_sweep
from vlatency.experiments.report import Args, main
from vlatency.experiments.reporting.study import read_study
from vlatency.experiments.reporting.summary import Summary


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four sweeps: which arm to ship, how late, late or wrong, how fast."""
    root = tmp_path_factory.mktemp("runs")
    specs = {"ship": SHIP, "late": LATE, "split": SPLIT, "fast": FAST}
    found = {name: write_sweep(root, name, spec) for name, spec in specs.items()}
    write_films(root, "ship", SHIP, 10_000)
    return found


@pytest.fixture(scope="session")
def summaries(folders: dict[str, Path]) -> dict[str, Summary]:
    """What they found."""
    return {name: read_study(folder).summary for name, folder in folders.items()}


@pytest.fixture(scope="session")
def report(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of all four, with the other files beside it."""
    out = tmp_path_factory.mktemp("out")
    main(Args(tuple(folders.values()), out))
    return out / "report.html"
