"""Signals that end the program: Ctrl-C, SIGTERM, and SIGHUP where a terminal was closed.

While a run fills its outputs, the first signal asks it to stop after the frame at work, and a
second one interrupts a frame that takes long; while outputs are being completed nothing disturbs.
At any other time a signal ends the program at once. The exit code is 128 + the first signal's.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tubedet.run.stop import StopRequest

NUMBERS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class _Received:
    """What has come so far, and the run that is to heed it."""

    first: int | None = None
    run: "StopRequest | None" = None


def heed_signals() -> None:
    """Handle the signals from now on; those that the program's parent ignores stay ignored."""
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def ignore_signals() -> None:
    """For the very end, when the exit code is known."""
    for number in NUMBERS:
        signal.signal(number, signal.SIG_IGN)


def exit_code_of_signal() -> int:
    """128 + the first signal's number; SIGINT's if none came, as where a test raises it."""
    return 128 + (_Received.first or signal.SIGINT)


@contextmanager
def stopping_on_signals() -> Iterator["StopRequest"]:
    """A request that signals set while the block runs."""
    from tubedet.run.stop import StopRequest

    _Received.run = StopRequest()
    try:
        yield _Received.run
    finally:
        _Received.run = None


def _handle(number: int, frame: FrameType | None) -> None:
    _Received.first = _Received.first or number
    if _Received.run is None:
        raise KeyboardInterrupt
    _Received.run.ask()
