"""The newest picture of a stream, for all who look at it, each as fast as they can."""

from threading import Condition, Lock

import numpy as np
from numpy.typing import NDArray

from tubedet.video.still import jpeg_of

WIDEST = 1280  # px of a picture on the page
MOST_VIEWERS = 16  # each has a thread


class LatestPicture:
    """The newest picture, encoded once for all who look at it.

    Attributes:
        viewers: how many look.
    """

    def __init__(self) -> None:
        self.viewers = 0
        self._changed = Condition()
        self._rgb: NDArray[np.uint8] | None = None
        self._number = 0
        self._is_over = False
        self._encoding = Lock()
        self._jpeg = 0, b""

    def put(self, rgb: NDArray[np.uint8]) -> None:
        """Replace it; the picture is not to be changed any more."""
        with self._changed:
            self._rgb = rgb
            self._number += 1
            self._changed.notify_all()

    def close(self) -> None:
        """There will be no other."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def begin_viewing(self) -> bool:
        """Count a viewer in; False if there are too many."""
        with self._changed:
            has_room = self.viewers < MOST_VIEWERS
            self.viewers += has_room
            return has_room

    def end_viewing(self) -> None:
        """Count a viewer out."""
        with self._changed:
            self.viewers -= 1

    def after(self, number: int, wait_s: float) -> tuple[int, bytes] | None:
        """The newest picture as a JPEG, with its number, once that is above `number`.

        None if there is none within the time; EOFError if there will be none.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._number > number, wait_s)
            if self._is_over:
                raise EOFError
            if self._number <= number or self._rgb is None:
                return None
            newest, rgb = self._number, self._rgb
        with self._encoding:  # not in the way of the next picture
            if self._jpeg[0] < newest:
                self._jpeg = newest, jpeg_of(rgb, WIDEST)
            return self._jpeg
