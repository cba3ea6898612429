"""What people see of a live run: how it stands, and what happens, on stderr."""

from collections.abc import Callable, Sequence
from threading import RLock
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.text import Text

from tubedet.cli.console import Console, complain, mention

if TYPE_CHECKING:
    from tubedet.live.live_status import LiveStatus
    from tubedet.live.stream import Outage
    from tubedet.notes import Note
    from tubedet.run.events import VideoDone

EVERY_S = 60.0  # a line in a log


class LiveView:
    """A line that is renewed where stderr is a terminal of its own, or one a minute; and news.

    News comes from several threads.

    Args:
        quiet: show neither.
        in_lines: stdout, with its rows, is the same terminal.
    """

    def __init__(self, *, quiet: bool, in_lines: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._quiet = quiet
        self._status: LiveStatus | None = None
        self._lock = RLock()
        self._next_line_s = monotonic() + EVERY_S
        is_shown = self._console.is_terminal and not quiet and not in_lines
        self._live = Live(
            console=self._console,
            get_renderable=self._line,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ) if is_shown else None  # fmt: skip

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._live:
                self._live.stop()
            self._live = None

    def begin(self, status: "LiveStatus") -> None:
        """There is something to show from now on."""
        self._status = status

    def frame_done(self) -> None:
        """Say how the run stands, where that is a line in a log and it is time for one."""
        if self._live is None and self._status and monotonic() >= self._next_line_s:
            self._next_line_s = monotonic() + EVERY_S
            self.say(self._line().plain)

    def say(self, line: str) -> None:
        """A line that stays."""
        self._above(lambda: mention(line))

    def note(self, note: "Note") -> None:
        """What people should know."""
        self._above(lambda: complain(note.text) if note.loss else mention(note.text))

    def outage(self, outage: "Outage") -> None:
        """The connection is lost, or back."""
        if outage.seconds is None:
            self._above(lambda: complain(f"connection lost: {outage.reason}; trying again"))
        else:
            self.say(f"connection is back after {float(outage.seconds):.1f} s")

    def segment_done(self, done: "VideoDone") -> None:
        """A segment is whole, or what there is of it is kept."""
        if done.outputs:
            how = "kept what there is" if done.partial else "saved"
            self.say(f"{how}: {done.outputs[0]} ({done.frames} frames, {done.found} with a box)")
        for note in done.notes:
            self.note(note)

    def summarise(self, notes: "Sequence[Note]") -> None:
        """What became of the run, and what no segment has told."""
        for note in notes:
            self.note(note)
        if self._status:
            done, outages = self._status, len(self._status.outages)
            plural = "" if outages == 1 else "s"
            self.say(
                f"{done.frames} frames, {done.dropped_frames} dropped, {outages} outage{plural}"
            )

    def _above(self, show: Callable[[], None]) -> None:
        """Lines of another console would be written into the one that is renewed."""
        if self._quiet:
            return
        with self._lock:
            if self._live:
                self._live.stop()
            show()
            if self._live:
                self._live.start(refresh=True)

    def _line(self) -> Text:
        status = self._status
        if status is None:
            return Text("waiting for the first frame")
        state = "live" if status.is_connected else "reconnecting"
        told = [
            f"{state}, {status.frames_per_s:.1f} frames/s",
            f"{status.frames} frames",
            f"{status.dropped_frames} dropped",
            *([", ".join(status.actions)] if status.actions else []),
        ]
        return Text("; ".join(told), overflow="ellipsis", no_wrap=True)
