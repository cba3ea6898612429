"""The annotated video, and the video of flow, as outputs of a run."""

from fractions import Fraction
from typing import ClassVar

import av

from tubedet.errors import OutputError
from tubedet.writers.mp4_recording import Recording
from tubedet.writers.target import OutputTarget
from tubedet.writers.writer import FrameResult, Writer


class Mp4Writer(Writer):
    """STEM.tubedet.mp4: the pictures, with the source's sound, subtitles, chapters and tags."""

    suffix: ClassVar[str] = ".tubedet.mp4"
    needs_picture: bool = True

    def __init__(self, target: OutputTarget) -> None:
        """Make the hidden file; the encoder starts with the first frame."""
        super().__init__(target)
        self._recording: Recording | None = None
        with self.errors():
            self.path.unlink(missing_ok=True)  # a link would be written through
            self.path.touch(exist_ok=False)

    def write(self, result: FrameResult) -> None:
        """Encode the frame's picture at its time."""
        with self.errors(av.FFmpegError):
            if self._recording is None:
                self._recording = Recording(
                    self.path,
                    source=self.target.source,
                    info=self.target.info,
                    first=result.frame,
                    cut_start=self.target.cut_start,
                    notes=self.notes,
                )
                self.offset_s: Fraction | None = self._recording.offset_s
            self._recording.add(result.frame)

    def close(self, *, complete: bool) -> None:
        """Encode what is waiting, and add the sound up to the source's end or the latest frame."""
        if self._recording is None:
            raise OutputError(f"no frame for {self.target.path(self.suffix)}")
        with self.errors(av.FFmpegError):
            self._recording.complete(to_the_end=complete and not self.target.cut_end)

    def abandon(self) -> None:
        """Close both files."""
        if self._recording:
            self._recording.abandon()


class FlowMp4Writer(Mp4Writer):
    """STEM.flow.mp4: the flow on the colour wheel."""

    suffix: ClassVar[str] = ".flow.mp4"
