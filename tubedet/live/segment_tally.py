"""What became of the frames of one segment of a stream."""

from typing import NamedTuple, Self

from tubedet.live.live_status import outage_json
from tubedet.live.stream import LiveStream, Outage
from tubedet.notes import Note
from tubedet.video.frame import VideoInfo


class StreamCounts(NamedTuple):
    """What a stream tells of all its frames so far."""

    decoded: int = 0
    skipped: int = 0
    repaired: int = 0
    dropped: int = 0
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, stream: LiveStream) -> Self:
        """What it tells at this moment."""
        return cls(
            stream.decoded_frames,
            stream.skipped_frames,
            stream.repaired_timestamps,
            stream.dropped_frames,
            tuple(stream.notes()),
        )


class SegmentTally:
    """The tally of a segment; implements `SourceTally`.

    Attributes:
        outages: of the segment, once it is fixed.
    """

    def __init__(self, stream: LiveStream, before: StreamCounts) -> None:
        """Behind what was counted `before`."""
        self._stream, self._before = stream, before
        self._fixed: StreamCounts | None = None
        self.outages: list[Outage] = []

    def fix(self, outages: list[Outage]) -> StreamCounts:
        """Count no more: the segment is over, and these are its outages."""
        self.outages = outages
        self._fixed = StreamCounts.of(self._stream)
        return self._fixed

    @property
    def info(self) -> VideoInfo:
        """That of the stream."""
        return self._stream.info

    @property
    def decoded_frames(self) -> int:
        """Pictures in the segment, dropped ones included."""
        return self._counts.decoded - self._before.decoded

    @property
    def skipped_frames(self) -> int:
        """Packets in the segment that could not be decoded."""
        return self._counts.skipped - self._before.skipped

    @property
    def repaired_timestamps(self) -> int:
        """Frames in the segment whose time was missing or did not increase."""
        return self._counts.repaired - self._before.repaired

    @property
    def dropped_frames(self) -> int:
        """Pictures in the segment that were left out."""
        return self._counts.dropped - self._before.dropped

    def notes(self) -> list[Note]:
        """What the segment lacks, and what is new about the stream."""
        notes = []
        if self.dropped_frames:
            notes.append(
                Note(f"frames dropped to keep up with the stream: {self.dropped_frames}", loss=True)
            )
        for each in map(outage_json, self.outages):
            until = "to the end" if each["seconds"] is None else f"for {each['seconds']:.1f} s"
            text = f"no frames after {each['time_s']:.3f} s {until}: {each['reason']}"
            notes.append(Note(text, loss=True))
        new = [note for note in self._counts.notes if note not in self._before.notes]
        return notes + [Note(f"the stream so far: {note.text}", note.loss) for note in new]

    @property
    def _counts(self) -> StreamCounts:
        return self._fixed or StreamCounts.of(self._stream)
