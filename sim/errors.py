"""The one error that a user causes: bad input, reported in one line that says what would work."""


class UsageError(ValueError):
    """Bad user input. The message is one line that names the valid values; commands print it and exit with status 2."""
