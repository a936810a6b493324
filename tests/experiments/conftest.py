"""A page for the tests of pages, and a disk that need not last."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.browser import Browser, find_chromium


@pytest.fixture(scope="session", autouse=True)
def _no_fsync() -> Iterator[None]:
    """Made-up episodes may be lost when the machine loses power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """An empty page in Chromium."""
    if find_chromium() is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")
    with Browser(tmp_path / "chromium") as page:
        yield page
