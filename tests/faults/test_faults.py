"""No fault costs a finished row or changes the table: kills, full disks, two commands on one folder, damaged files.

A short form; CONTRIBUTING.md says how to inject more.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.corrupt import corruptions
from tests.faults.inject import disks, kills, pairs, stores
from tests.faults.wire import wire

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes to kill in /proc, and mounts small disks"),
]


@pytest.mark.parametrize(("inject", "count"), [(kills, 10), (disks, 5), (pairs, 4), (stores, 4)])
def test_a_fault_costs_no_finished_row(inject: Callable[[Path, int, int], str], count: int, tmp_path: Path) -> None:
    assert inject(tmp_path, count, 1).startswith(str(count))


def test_what_is_corrupted_is_refused_in_one_line_or_loaded_as_it_is(tmp_path: Path) -> None:
    assert corruptions(tmp_path, 40, 1).startswith("40")


def test_a_policy_server_that_misbehaves_costs_one_line(tmp_path: Path) -> None:
    assert wire(tmp_path, 48, 1).startswith("48 of 48")
