"""Which source of policies a text on the command line names."""

from __future__ import annotations

from vlatency.agent.policies.protocol import OPENPI, SCRIPT, PolicySource
from vlatency.sim.errors import UsageError

FORMS = "script:metaworld, script:MODULE:CALLABLE, openpi://HOST:PORT"
"""How a source is spelt."""


def is_source(text: str) -> bool:
    """Whether `text` names a policy of others, rather than a folder with one of ours."""
    return text.startswith((OPENPI, SCRIPT))


def find_source(text: str, key_map: str = "") -> PolicySource:
    """The source that a user names. Nothing is imported, opened or connected before it is used.

    Args:
        text: one of `FORMS`.
        key_map: for a server: a name in assets/keymaps, or FILE.yaml; empty takes the one that the server names.

    Raises:
        UsageError: it is none of these, or there is no such key map.

    Example:
        >>> find_source("script:metaworld").kind
        'script'
    """
    # A command that runs our own policies needs neither.
    from vlatency.agent.policies.remote import RemoteSource
    from vlatency.agent.policies.scripted import find_script

    if text.startswith(OPENPI):
        return RemoteSource.parse(text, key_map)
    if not text.startswith(SCRIPT):
        raise UsageError(f"unknown policy '{text}'; policies of others are {FORMS}")
    if key_map:
        raise UsageError(f"key map '{key_map}' is for a server, and {text} is none; leave it out")
    return find_script(text)
