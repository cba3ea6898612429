"""What is kept of a stream: one segment after the other, each a whole set of outputs.

A segment is to its stream what a range is to a file: frames and times go on over the whole stream.
It ends at the next multiple of its length; its files are closed in a thread of their own, so that
the stream does not wait.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any

from tubedet.live.live_status import outage_json
from tubedet.live.segment_tally import SegmentTally, StreamCounts
from tubedet.live.stream import LiveStream, iso_utc, utc_at
from tubedet.run.events import VideoDone
from tubedet.run.jobs import VideoJob
from tubedet.run.video_run import VideoRun
from tubedet.run.work import Work
from tubedet.video.frame import VideoFrame
from tubedet.video.time_range import FrameNumber, TimeRange
from tubedet.writers.run_lock import BeingWrittenError
from tubedet.writers.transaction import OutputTransaction
from tubedet.writers.writer import FrameResult

LONGEST_MARK = "-20261130T052233Z-999"  # between the stem and the ending of a segment's name


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingPlan:
    """Where segments go, and what they consist of.

    Attributes:
        folder: of all segments.
        stem: what their names begin with; leaves room for `LONGEST_MARK` and an ending.
        video: the rows' `video` column.
        formats: names of formats of boxes.
        segment_s: how long a segment is, in seconds.
        spreadsheet_safe: see `OutputTarget`.
    """

    folder: Path
    stem: str
    video: str
    formats: Sequence[str]
    segment_s: Fraction
    spreadsheet_safe: bool = False


class Recordings:
    """The segments of a stream; `write` is called from one thread.

    Args:
        stream: whose frames they are.
        work: whose results they are.
        plan: where they go.
        told: called, from another thread, with what became of each segment.
    """

    def __init__(
        self,
        stream: LiveStream,
        work: Work,
        plan: RecordingPlan,
        told: Callable[[VideoDone], None],
    ) -> None:
        self._stream, self._work, self._plan, self._told = stream, work, plan, told
        self._segment: _Segment | None = None
        self._before = StreamCounts()
        self._ends = ThreadPoolExecutor(1, thread_name_prefix="tubedet-segment")
        self._ending: Future[None] | None = None

    @property
    def needs_picture(self) -> bool:
        """Whether any output shows the picture that is made of a frame."""
        return self._segment is None or self._segment.outputs.needs_picture

    def write(self, result: FrameResult, state: Mapping[str, Any]) -> None:
        """Add a frame to its segment; see `VideoRun.write`.

        Raises:
            OutputError: if it cannot be written, or an earlier segment could not be ended.
        """
        frame = result.frame
        number = frame.time_s // self._plan.segment_s
        if self._segment is None or number != self._segment.number:
            self._end_segment(frame)
            self._segment = self._begun(number, frame)
        elif self._ending and self._ending.done():
            self._ending.result()
        self._segment.outputs.write(result)
        self._segment.run.count(result, state)

    def close(self) -> None:
        """End the last segment whole, and wait until all have their names.

        Raises:
            OutputError: if that cannot be.
        """
        with self._ends:
            self._end_segment(None)
            if self._ending:
                self._ending.result()

    def keep_partial(self) -> None:
        """Keep what there is of the segment at work under partial names; earlier ones are whole."""
        with self._ends:
            if self._segment:
                self._segment.fix(self._stream, None)
                self._segment.run.end(complete=False)
                self._told(self._segment.run.report())
                self._segment = None

    def _begun(self, number: int, first: VideoFrame) -> "_Segment":
        """A segment under the first name that is free: its first frame's time, and a number.

        Raises:
            OutputError: if the folder cannot be written.
        """
        at = utc_at(self._stream, first.time_s)
        stem = f"{self._plan.stem}-{at:%Y%m%dT%H%M%SZ}"
        names = [stem]
        while True:
            name = names[-1]
            try:
                if not any(self._plan.folder.glob(f"{escape(name)}.*")):
                    return self._segment_called(name, number, first)
            except BeingWrittenError:
                pass
            names.append(f"{stem}-{len(names) + 1}")

    def _segment_called(self, name: str, number: int, first: VideoFrame) -> "_Segment":
        plan = self._plan
        job = VideoJob(
            source=Path(plan.video),
            video=plan.video,
            folder=plan.folder,
            stem=name,
            place=PurePosixPath(name),
            shown_as=plan.video,
            is_stream=True,
        )
        tally = SegmentTally(self._stream, self._before)
        run = VideoRun(job, tally, self._work)
        if first.frame:
            run.span = TimeRange(FrameNumber(first.frame), None)
        target = run.target(plan.spreadsheet_safe)
        run.outputs = outputs = OutputTransaction(self._work.kind, plan.formats, target)
        return _Segment(number, first.time_s, run, tally, outputs)

    def _end_segment(self, following: VideoFrame | None) -> None:
        """End the segment at work, if there is one, before the frame `following`."""
        if self._ending:
            self._ending.result()
        if self._segment is None:
            return
        self._before = self._segment.fix(self._stream, following)
        self._ending = self._ends.submit(self._end, self._segment.run)
        self._segment = None

    def _end(self, run: VideoRun) -> None:
        try:
            run.end(complete=True)
        except BaseException:
            run.end(complete=False)
            raise
        finally:
            self._told(run.report())
            run.outputs = None  # which tell of the run: encoders would outlive the segment


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment that is being written; the tally is what its meta is made of.

    Attributes:
        number: how many lengths of a segment precede it.
        first_s: time of its first frame.
    """

    number: int
    first_s: Fraction
    run: VideoRun
    tally: SegmentTally
    outputs: OutputTransaction

    def fix(self, stream: LiveStream, following: VideoFrame | None) -> StreamCounts:
        """Let the meta tell of what came before the frame `following`: what was counted till now.

        An outage belongs to the segment that has the last frame before it.
        """
        if following is not None:
            self.run.span = TimeRange(self.run.span.start, FrameNumber(following.frame))
        counts = self.tally.fix(
            [
                outage
                for outage in stream.outages
                if self.first_s <= outage.time_s
                and (following is None or outage.time_s < following.time_s)
            ]
        )
        self.run.live = {
            "started_at": iso_utc(stream.started_at),
            "dropped_frames": self.tally.dropped_frames,
            "outages": [outage_json(each) for each in self.tally.outages],
        }
        return counts
