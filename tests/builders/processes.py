"""Processes that tests start."""

import signal


def heed_ctrl_c() -> None:
    """Of a child, before it begins: a shell that runs the tests in the background has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
