"""Profiles of whole calls: how long a policy of one stage took from request to answer, as a server was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from vlatency.agent.realtime.cost.schema import Duration, Ms, Text
from vlatency.sim.errors import UsageError


class WholeCall(Duration):
    """How long a call takes, the way to the server and back included, and where the figures come from."""

    covers: Literal["whole call"]
    """Sets these files apart from profiles of an encoder and a head."""
    device: Text
    """What answers."""
    source: Text
    """The policy, as the command line spells it."""
    cold_start_ms: Ms = 0.0
    """What the first call of an episode takes more than the others."""
    server_ms: Duration | None = None
    """Inference alone, as the server states it."""
    server: dict[str, Any] = Field(default_factory=dict)
    """What the server says of itself."""
    note: Text | None = None
    date: Text | None = None
    command: Text | None = None


def load_whole_call(path: Path) -> WholeCall | None:
    """Read and check a profile of whole calls; None if the file is another kind of profile, or none.

    Raises:
        UsageError: it is one, and a value in it cannot be.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None  # whoever reads it as a profile of the other kind says what is wrong
    if not isinstance(values, dict) or "covers" not in values:
        return None
    try:
        return WholeCall.model_validate_json(json.dumps(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise UsageError(f"latency profile {path} cannot be used: {place}: {first['msg']}") from None
