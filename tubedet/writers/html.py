"""A page to look at a video's boxes, correct them and save the corrections: one file, offline."""

from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from os.path import relpath
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.notes import Note
from tubedet.page.video_page import frame_line, page_begin, page_end
from tubedet.video.browser import browser_offset_s
from tubedet.video.frame import VideoFrame
from tubedet.video.still import small_jpeg
from tubedet.writers.html_view import ViewWriter
from tubedet.writers.target import OutputTarget
from tubedet.writers.text_file import TextFile
from tubedet.writers.track_rows import rows_of
from tubedet.writers.writer import FrameResult, output_errors

THUMBNAIL_PX = 320


@dataclass(frozen=True, slots=True)
class _Tally:
    """What a page says of the whole video.

    `frames` of each label, `looked` at in all, between two times; where the best box is.
    """

    frames: Counter[str] = field(default_factory=Counter)
    looked: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    best: tuple[float, float] = (0.0, 0.0)  # score and time

    def with_frame(self, found: FrameDetections) -> "_Tally":
        boxes = found.detections
        best = max((box.score for box in boxes), default=0.0)
        return _Tally(
            self.frames + Counter({box.label for box in boxes}),
            self.looked + 1,
            self.first_s if self.looked else found.time_s,
            found.time_s,
            (best, found.time_s) if best > self.best[0] else self.best,
        )


class HtmlWriter(TextFile):
    """STEM.html, and STEM.view.mp4 beside it where browsers do not play the source.

    A page is written as it is found, a line a frame, so that memory stays flat.
    """

    suffix: ClassVar[str] = ".html"
    is_editable: ClassVar[bool] = False
    _view: ViewWriter | None = None

    def __init__(self, target: OutputTarget) -> None:
        """Begin the page, and the copy if there is to be one."""
        self._tally = self._tally_before = _Tally()
        self._labels: dict[str, int] = {}
        super().__init__(target)
        try:
            source = target.source
            self._offset_s = browser_offset_s(source, target.info) if source else None
            if self._offset_s is None:
                self._view = ViewWriter(target)
                self.notes = self._view.notes
                self.needs_picture = True
        except BaseException:
            self.abandon()
            self.remove()
            raise

    def begin(self) -> None:
        """Write what precedes the frames."""
        self.text.write(page_begin(self.target.stem))
        self._separator = "\n"

    def write(self, result: FrameResult) -> None:
        """Append a frame to the copy and to the page."""
        if self._view:
            self._view.write(result)
        self._tally_before = self._tally
        super().write(result)

    def take_back(self) -> None:
        """End the page before the latest frame; the copy keeps its picture."""
        super().take_back()
        self._tally = self._tally_before

    def add(self, found: FrameDetections) -> None:
        """Write a line with the boxes of a frame."""
        self._tally = self._tally.with_frame(found)
        boxes = (
            (
                -1 if row.tube is None else row.tube,
                self._labels.setdefault(row.label, len(self._labels)),
                round(row.score * 10_000),
                *(round(edge * 100) for edge in row[-4:]),
            )
            for row in rows_of(self.target.video, found)
        )
        time_us = round(found.time_s * 1_000_000)
        self._put(frame_line(found.frame, time_us, found.pts, boxes))

    def pass_over(self, frame: VideoFrame) -> None:
        """Write a line without boxes, so that the page knows the frame's time."""
        self._put(frame_line(frame.frame, round(frame.time_s * 1_000_000), frame.pts, None))

    def end(self, *, complete: bool) -> None:
        """Write what the page knows of the whole run."""
        meta = self.target.run_meta().ended(complete=complete)
        summary = self._summary(complete=complete)
        # Without a newline at its end: nobody's edited rows, so it can always be made again.
        self.text.write("\n" + page_end(self.target.stem, summary, meta.to_json()).rstrip("\n"))

    def close(self, *, complete: bool) -> None:
        """End the copy, without which the page stays, and the page; both once more if need be."""
        if self._view and self._offset_s is None:
            try:
                self._view.close(complete=complete)
                self._offset_s = self._view.offset_s
            except OutputError as error:
                view, self._view = self._view, None
                self.notes = [*view.notes, Note(f"the page shows no video: {error}", loss=True)]
                view.abandon()
                view.remove()
                raise
        super().close(complete=complete)

    def abandon(self) -> None:
        """Close both files."""
        if self._view:
            self._view.abandon()
        super().abandon()

    def rename(self, final: Path) -> None:
        """Give copy and page their names; the copy of an older page goes."""
        view_path = _view_of(final)
        if self._view:
            self._view.rename(view_path)
            self._view.path = view_path
        else:
            with output_errors(view_path):
                view_path.unlink(missing_ok=True)
        super().rename(final)

    def remove(self) -> None:
        """Remove the hidden files; a copy that has its name stays."""
        if self._view:
            with self.errors():
                self.target.hidden_path(self._view.suffix).unlink(missing_ok=True)
        super().remove()

    @classmethod
    def hidden_suffixes(cls) -> tuple[str, ...]:
        """Of the page, and of its copy of the video."""
        return cls.suffix, ViewWriter.suffix

    @classmethod
    def files_of(cls, final: Path) -> list[Path]:
        """The page, and its copy of the video."""
        return [*super().files_of(final), *super().files_of(_view_of(final))]

    def _put(self, line: str) -> None:
        self.text.write(self._separator + line)
        self._separator = ",\n"

    def _summary(self, *, complete: bool) -> dict[str, Any]:
        info, tally = self.target.info, self._tally
        frame_s = 1 / float(info.fps)
        if tally.looked > 1:
            frame_s = (tally.last_s - tally.first_s) / (tally.looked - 1)
        return {
            "video": self.target.video,
            "source": None if self._view or self._offset_s is None else self._address,
            "has_view": self._view is not None,
            "offset_s": float(self._offset_s or 0),
            "width": info.width,
            "height": info.height,
            "fps": float(info.fps),
            "labels": list(self._labels),
            "label_seconds": {
                label: round(frames * frame_s, 3) for label, frames in tally.frames.items()
            },
            "seconds": round(tally.looked * frame_s, 3),
            "frames": tally.looked,
            "complete": complete,
            "thumbnail": self._thumbnail,
        }

    @property
    def _address(self) -> str | None:
        """The source as the page names it; in full where no relative path leads there."""
        if self.target.source is None:
            return None
        source = self.target.source.absolute()
        try:
            path = Path(relpath(source, self.target.folder.absolute())).as_posix()
        except ValueError:  # on another drive
            return source.as_uri()
        return quote(path.encode(errors="surrogateescape"))

    @cached_property
    def _thumbnail(self) -> str | None:
        info, source = self.target.info, self.target.source
        number, zero_s = info.video_stream, info.start_s
        if source is None and self._view:
            source, number, zero_s = self._view.path, 1, self._view.offset_s or Fraction(0)
        time_s = zero_s + Fraction(self._tally.best[1])
        jpeg = small_jpeg(source, number, time_s, THUMBNAIL_PX) if source else None
        return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}" if jpeg else None


def _view_of(page: Path) -> Path:
    """The copy beside a page, which finds it by its own name; of a hidden page the hidden one."""
    stem, _, hidden = page.name.rpartition(HtmlWriter.suffix)
    return page.with_name(f"{stem}{ViewWriter.suffix}{hidden}")
