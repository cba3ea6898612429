"""What became of the frames of one segment of a stream."""

from tubedet.live.live_status import outage_json
from tubedet.live.stream import LiveStream, Outage, StreamCounts
from tubedet.notes import Note
from tubedet.video.frame import VideoInfo


class SegmentTally:
    """What became of a stream's frames in a segment; implements `SourceTally`.

    Attributes:
        outages: of the segment, once it is fixed.
    """

    def __init__(self, stream: LiveStream, before: StreamCounts) -> None:
        """Behind what was counted `before`."""
        self._stream, self._before = stream, before
        self._counted: StreamCounts | None = None
        self.outages: list[Outage] = []

    def fix(self, outages: list[Outage]) -> StreamCounts:
        """Count no more: the segment is over, and these are its outages."""
        self.outages = outages
        self._counted = StreamCounts.of(self._stream)
        return self._counted

    @property
    def info(self) -> VideoInfo:
        """That of the stream."""
        return self._stream.info

    @property
    def decoded_frames(self) -> int:
        """Pictures in the segment, dropped ones included."""
        return self._own.decoded

    @property
    def skipped_frames(self) -> int:
        """Packets in the segment that could not be decoded."""
        return self._own.skipped

    @property
    def repaired_timestamps(self) -> int:
        """Frames in the segment whose time was missing or did not increase."""
        return self._own.repaired

    @property
    def dropped_frames(self) -> int:
        """Pictures in the segment that were left out."""
        return self._own.dropped

    def notes(self) -> list[Note]:
        """What the segment lacks."""
        notes = []
        if self.dropped_frames:
            notes.append(
                Note(f"frames dropped to keep up with the stream: {self.dropped_frames}", loss=True)
            )
        for each in map(outage_json, self.outages):
            until = "to the end" if each["seconds"] is None else f"for {each['seconds']:.1f} s"
            text = f"no frames after {each['time_s']:.3f} s {until}: {each['reason']}"
            notes.append(Note(text, loss=True))
        if self.skipped_frames:
            notes.append(
                Note(f"damaged packets that could not be decoded: {self.skipped_frames}", loss=True)
            )
        return notes

    @property
    def _own(self) -> StreamCounts:
        return (self._counted or StreamCounts.of(self._stream)).since(self._before)
