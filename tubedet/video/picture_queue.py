"""Where one thread leaves pictures for another, few at a time."""

from collections import deque
from threading import Condition
from typing import Generic, TypeVar

Item = TypeVar("Item")


class PictureQueue(Generic[Item]):
    """A queue that holds few items and can be ended from either side.

    What it holds when it is ended can still be taken.
    """

    def __init__(self, most: int) -> None:
        self._items: deque[Item] = deque()
        self._most = most
        self._changed = Condition()
        self._is_ended = False

    @property
    def is_ended(self) -> bool:
        """Whether it accepts nothing more."""
        return self._is_ended

    def offer(self, item: Item, timeout_s: float | None) -> bool:
        """Leave an item; False if there is no room for it in time (None: ever), or no more."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_ended or len(self._items) < self._most, timeout_s
            )
            if self._is_ended or len(self._items) >= self._most:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float) -> Item | None:
        """The item that waits longest; None if none comes in time, or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._is_ended, timeout_s)
            item = self._items.popleft() if self._items else None
            self._changed.notify_all()
            return item

    def end(self) -> None:
        """Accept nothing more."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()
