"""Errors that are one line: what a user got wrong, and what broke during a run."""


class UsageError(ValueError):
    """Bad user input. The message is one line that names the valid values; commands print it and exit with status 2."""


class RunError(RuntimeError):
    """Something broke during a run. The message is one line; commands print it and exit with status 2."""
