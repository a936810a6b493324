"""JSON objects that say whether a byte of them has changed since they were written."""

import json
import zlib
from typing import Any

KEY = "check"
"""The name of the checksum, which readers never see."""


def dumps(values: dict[str, Any], indent: int | None = None) -> str:
    """The object as text, its checksum last. ValueError if a number is not finite."""
    plain = json.loads(json.dumps(values, allow_nan=False))
    return json.dumps(plain | {KEY: _checksum(plain)}, indent=indent, ensure_ascii=False)


def loads(text: str | bytes) -> dict[str, Any]:
    """The object that `dumps` wrote, or one without a checksum, as earlier versions wrote them.

    Raises:
        ValueError: it is no JSON object, or has changed since.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("no object")
    check = values.pop(KEY, None)
    if check is not None and check != _checksum(values):
        raise ValueError("its checksum is another: a byte of it has changed")
    return values


def _checksum(values: dict[str, Any]) -> str:
    """CRC-32 of what it says, however that is spelt."""
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"
