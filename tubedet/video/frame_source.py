"""What a run needs of the source of its frames, be it a file or a camera."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from tubedet.notes import Note
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.time_range import Moment


class FrameSource(Protocol):
    """Frames, one at a time, on one clock; see `VideoReader`."""

    @property
    def path(self) -> Path | str:
        """What messages call it."""

    @property
    def info(self) -> VideoInfo:
        """What is known once the first picture is decoded."""

    @property
    def decoded_frames(self) -> int:
        """Pictures so far."""

    @property
    def skipped_frames(self) -> int:
        """Packets so far that could not be decoded."""

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far whose time was missing or did not increase."""

    def frames(
        self, start: Moment | None = None, end: Moment | None = None, stop: Callable[[], bool] = ...
    ) -> Iterator[VideoFrame]:
        """The frames of a range; `stop` ends the wait for the next one."""

    def notes(self) -> list[Note]:
        """What is odd about the source so far."""
