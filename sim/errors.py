"""The one error a person causes: bad input, told in one line with what would have worked."""


class UsageError(ValueError):
    """Bad user input. The message is one line that names the valid values; command lines print it and exit with 2."""
