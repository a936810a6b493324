"""A page for the tests of pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.browser import Browser, find_chromium


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """An empty page in Chromium."""
    if find_chromium() is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with Browser(tmp_path / "chromium") as page:
        yield page
