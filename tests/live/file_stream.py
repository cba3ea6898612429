"""A video file as if it came live, with losses as a test wants them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

from tubedet.notes import Note
from tubedet.video.frame import VideoFrame
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import Moment

STARTED_AT = datetime(2026, 11, 30, 5, 22, 33, 120_000, UTC)


@dataclass
class FileOutage:
    time_s: Fraction
    seconds: float | None
    reason: str


class FileStream(VideoReader):
    """Implements `LiveStream`; `before_frame` is called with each frame before it is given on."""

    started_at = STARTED_AT

    def __init__(
        self, path: Path, before_frame: "Callable[[FileStream, VideoFrame], None] | None" = None
    ) -> None:
        super().__init__(path)
        self.dropped_frames = 0
        self.outages: list[FileOutage] = []
        self.more_notes: list[Note] = []
        self._before_frame = before_frame

    def notes(self) -> list[Note]:
        return [*super().notes(), *self.more_notes]

    def frames(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        stop: Callable[[], bool] = lambda: False,
        *,
        with_pictures: bool = True,
    ) -> Iterator[VideoFrame]:
        for frame in super().frames(start, end, stop, with_pictures=with_pictures):
            if stop():
                return
            if self._before_frame:
                self._before_frame(self, frame)
            yield frame
