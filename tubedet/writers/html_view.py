"""A copy of the video for the page, where browsers do not play the source itself."""

from dataclasses import replace
from typing import ClassVar

from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.writer import FrameResult


class ViewWriter(Mp4Writer):
    """STEM.view.mp4: as the annotated video, but with nothing drawn on it."""

    suffix: ClassVar[str] = ".view.mp4"

    def write(self, result: FrameResult) -> None:
        """Encode the frame as it was before anything was drawn."""
        super().write(replace(result, frame=result.undrawn or result.frame))
