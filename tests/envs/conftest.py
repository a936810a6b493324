"""Warnings of Gymnasium's checker."""

from collections.abc import Callable

import pytest

EXPECTED = (
    "minimum value is -infinity",
    "maximum value is infinity",
    "is not normalized",
    "symmetric and normalized",
)
"""Our readings are unbounded, and our actions are in metres."""


@pytest.fixture
def surprises(recwarn: pytest.WarningsRecorder) -> Callable[[], list[str]]:
    """Gives the warnings so far, without those that are expected."""

    def found() -> list[str]:
        return [text for each in recwarn if not any(known in (text := str(each.message)) for known in EXPECTED)]

    return found
