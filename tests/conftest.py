"""Which tests share a worker of pytest-xdist."""

import pytest

EXPENSIVE = ("folders", "large_folder", "root")
"""Fixtures that take seconds. Tests that share one run in one worker, so that it is made once."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Group tests by their expensive fixtures, for `--dist loadgroup`."""
    for item in items:
        for name in EXPENSIVE:
            if name in item.fixturenames:
                item.add_marker(pytest.mark.xdist_group(name))
