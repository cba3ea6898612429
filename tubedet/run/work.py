"""What a run makes of a video's frames: the one thing in which `detect` and `flow` differ."""

from collections.abc import Generator, Mapping
from typing import Any, Protocol

from tubedet.notes import Note
from tubedet.run.plan import FramePlan
from tubedet.run.stop import StopRequest
from tubedet.video.frame_source import FrameSource
from tubedet.writers.formats import Kind
from tubedet.writers.writer import FrameResult


class Work(Protocol):
    """Boxes or flow, of one video at a time."""

    @property
    def kind(self) -> Kind:
        """Of the results: which formats they can be written in."""

    @property
    def plan(self) -> FramePlan:
        """Which frames are processed."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Labels that results may have."""

    @property
    def weights_sha256(self) -> str | None:
        """Hash of the checkpoint file, None if no file stands behind the network."""

    @property
    def settings(self) -> Mapping[str, object]:
        """The options that change a result, as plain JSON values."""

    @property
    def runtime(self) -> Mapping[str, object]:
        """What computes the result, and in what batches, as plain JSON values."""

    def results(
        self, reader: FrameSource, stop: StopRequest, *, with_pictures: bool
    ) -> Generator[FrameResult]:
        """Every frame of the span, in order; without a result where the stride passes over it.

        Args:
            reader: of the video.
            stop: ends the results early.
            with_pictures: `drawn` will be called; otherwise frames may come without pixels.

        Raises:
            VideoError: if there is no frame in the span.
        """

    def drawn(self, result: FrameResult) -> FrameResult:
        """The same with a picture of the result; to be called in order, for every frame."""

    @property
    def notes(self) -> list[Note]:
        """What people should know of the pictures that were drawn so far."""

    def resume_state(self) -> dict[str, Any]:
        """What a later run needs, besides rows, to go on behind the latest result."""
