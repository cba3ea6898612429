"""A stream on its way through the detector: the run of a file, but one that is ended from outside.

Rows go out as they are found. Whoever asks it to stop is given all that was decoded until then.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from time import monotonic
from typing import Any, TextIO

from tubedet.detections import FrameDetections
from tubedet.live.action_events import ActionEvent, ActionEvents
from tubedet.live.event_hooks import TIMEOUT_S, EventHook
from tubedet.live.live_status import LiveStatus
from tubedet.live.page_server import LivePage
from tubedet.live.recordings import Recordings
from tubedet.live.row_stream import RowStream
from tubedet.live.stream import LiveStream, StreamUntil
from tubedet.notes import Note
from tubedet.run.overlap import Overlap
from tubedet.run.stop import StopRequest
from tubedet.run.work import Work
from tubedet.writers.jsonl import StreamClosedError
from tubedet.writers.writer import FrameResult


class LiveRun:
    """One run over a stream.

    Args:
        stream: gives the frames.
        work: what is made of them.
        video: the rows' `video` column.
        rows_to: gets JSON lines; a stream that is closed at its other end ends the run.
        told: called with what was lost of rows, at the end.
        status: is told of every frame.
        recordings: what is kept, if anything is.
        hooks: are told of events.
        page: shows frames, if there is one.
        stop: ends the stream.
    """

    def __init__(
        self,
        stream: LiveStream,
        work: Work,
        *,
        video: str,
        rows_to: TextIO,
        told: Callable[[Note], None],
        status: LiveStatus,
        recordings: Recordings | None = None,
        hooks: Sequence[EventHook] = (),
        page: LivePage | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        self._stream, self._work, self._video = stream, work, video
        self._rows: RowStream | None = RowStream(rows_to)
        self._told = told
        self._status, self._recordings, self._page = status, recordings, page
        self._hooks = hooks
        self._events = ActionEvents(stream, video)
        self._stop = stop or StopRequest()

    def frames(self) -> Generator[int]:
        """How many frames are written, each time one is; at the end all outputs are whole.

        Interrupted or failing, it keeps what the last segment has as partial outputs.

        Raises:
            VideoError: if there was no frame at all.
            OutputError: if something cannot be written.
        """
        shows = self._recordings is not None or self._page is not None
        stream = StreamUntil(self._stream, self._work.plan.span.end)
        results = self._work.results(stream, self._stop, with_pictures=shows)
        awaited = self._stop.awaited(results, to_their_end=True)
        found = ((result, self._work.resume_state()) for result in awaited)
        try:
            with (
                Overlap() as overlap,
                closing(results),
                closing(overlap.behind(found, self._write)) as written,
            ):
                yield from written
        except BaseException:
            if self._recordings:
                self._recordings.keep_partial()
            raise
        else:
            if self._recordings:
                self._recordings.close()
        finally:
            self._tell_the_rest()

    def _write(self, result_and_state: tuple[FrameResult, Mapping[str, Any]]) -> int:
        result, state = result_and_state
        events: list[ActionEvent] = []
        if result.found is not None:
            self._put_rows(result.found)
            events = self._events.add(result.found)
            self._tell(events)
        recordings, page = self._recordings, self._page
        is_watched = page is not None and page.is_watched
        if is_watched or (recordings and recordings.needs_picture):
            result = self._work.drawn(result)
        if page and is_watched:
            page.show(result.frame.rgb)
        if recordings:
            recordings.write(result, state)
        self._status.add(float(result.frame.time_s), self._events.going_on, events)
        return self._status.frames

    def _put_rows(self, found: FrameDetections) -> None:
        if self._rows is None:
            return
        try:
            self._rows.put(self._video, found)
        except StreamClosedError:  # nobody wants more rows: what there is is kept
            self._rows = None
            self._stop.asked = True

    def _tell_the_rest(self) -> None:
        """What waits for readers, commands and addresses, as far as they take it in time.

        It comes last: whoever ends the program may not wait for others.
        """
        self._tell(self._events.rest())
        deadline = monotonic() + TIMEOUT_S
        for hook in self._hooks:
            hook.close(deadline)
        if self._rows:
            for note in self._rows.close(deadline):
                self._told(note)

    def _tell(self, events: Sequence[ActionEvent]) -> None:
        for event in events:
            for hook in self._hooks:
                hook.put(event)
