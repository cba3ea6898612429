"""How a run learns that it should end early."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class StopRequest:
    """Set by whoever wants a run to end, such as a signal's handler; a run only reads it.

    Attributes:
        asked: the run ends after the frame at work, with what it has.
        interruptible: nothing is being written, so KeyboardInterrupt may be raised where a frame
            takes long; a run keeps what it has all the same.
    """

    asked: bool = False
    interruptible: bool = False

    def __call__(self) -> bool:
        """Whether the run should end."""
        return self.asked

    def ask(self) -> None:
        """Ask it to end; a handler of signals calls this at each.

        Raises:
            KeyboardInterrupt: the second time, where it is interruptible.
        """
        if self.asked:
            self.interrupt()
        self.asked = True

    def interrupt(self) -> None:
        """Interrupt a frame that takes long, from a signal's handler.

        Raises:
            KeyboardInterrupt: once, where it is interruptible.
        """
        if self.interruptible:
            self.interruptible = False  # what there is is kept from here on
            raise KeyboardInterrupt

    def awaited(self, results: Iterator[Item], *, to_their_end: bool = False) -> Iterator[Item]:
        """The results, each of which may be interrupted while it is made, until the run ends.

        With `to_their_end` whoever makes them ends them, when it is asked to stop.
        """
        while to_their_end or not self.asked:
            self.interruptible = True
            try:
                result = next(results, None)
            finally:
                self.interruptible = False
            if result is None:
                return
            yield result
