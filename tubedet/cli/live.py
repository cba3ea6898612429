"""`tubedet detect --live`: a camera or an address in, rows out while it goes on."""

import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TextIO

from tubedet.cli.console import mention
from tubedet.cli.detect_options import DEFAULT_FOLDER
from tubedet.cli.live_options import host_and_port, segment_length_s
from tubedet.cli.live_view import LiveView
from tubedet.cli.signals import stopping_on_signals
from tubedet.cli.video_command import refuse_file_name
from tubedet.errors import UsageError, VideoError

if TYPE_CHECKING:
    from tubedet.batch.worker import Load
    from tubedet.live.event_hooks import Delivery
    from tubedet.live.live_status import LiveStatus
    from tubedet.live.page_server import LivePage
    from tubedet.live.recordings import RecordingPlan
    from tubedet.live.stream import LiveStream
    from tubedet.run.work import Work
    from tubedet.video.live_address import LiveSource

DEFAULT_SEGMENT = "10m"
ADDRESSES = "camera:0, rtsp://…, http://… or -"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCommand:
    """A run over a stream, as the options say it.

    Attributes:
        videos: the address, one.
        output: folder of the recordings; None for the default.
        records: whether there are any.
        formats: of a recorded segment.
        segment: its length; None for the default.
        name: stem of the recordings; None for one made of the address.
        show_at: host and maybe port of the page; None for no page.
        on_event: commands and addresses.
        rows_to: gets JSON lines.
        video_stream, device: as for files.
        spreadsheet_safe, strict, quiet: as for files.
    """

    videos: Sequence[str]
    output: str | None
    records: bool
    formats: Sequence[str]
    segment: str | None
    name: str | None
    show_at: str | None
    on_event: Sequence[str]
    rows_to: TextIO
    video_stream: int | None
    device: str
    spreadsheet_safe: bool
    strict: bool
    quiet: bool

    def run(self, load: "Load") -> None:
        """Open the stream, load the network, and detect until the stream or somebody ends it.

        Raises:
            UsageError: if there is no such address, or an option makes no sense with it.
            VideoError: if it cannot be opened, or with `strict` if anything was lost.
            TubedetError: from `load`, and as `LiveRun.frames`.
        """
        from tubedet.run.jobs import VideoJob
        from tubedet.video.live_reader import LiveReader

        asked = self._asked()
        source = asked.source
        view = LiveView(quiet=self.quiet, in_lines=self.rows_to.isatty())
        with LiveReader(source, video_stream=self.video_stream, told=view.outage) as reader:
            new_work = load(self.device, (lambda _: None) if self.quiet else mention)
            stem = source.stem
            job = VideoJob(
                Path(asked.video), asked.video, Path(), stem, PurePosixPath(stem), is_stream=True
            )
            self._detect(asked, reader, new_work(job, None), view)

    def _asked(self) -> "_Asked":
        """What is told before anything is opened, so that a mistyped option does not wait."""
        from tubedet.live.event_hooks import delivery_to
        from tubedet.live.page_server import LOOPBACK

        source = self._source()
        return _Asked(
            source,
            self._recording_plan(source),
            [delivery_to(text) for text in self.on_event],
            None if self.show_at is None else host_and_port(self.show_at or LOOPBACK),
        )

    def _detect(self, asked: "_Asked", stream: "LiveStream", work: "Work", view: LiveView) -> None:
        from tubedet.live.event_hooks import EventHook
        from tubedet.live.killed_segments import notes_on_killed
        from tubedet.live.live_run import LiveRun
        from tubedet.live.live_status import LiveStatus
        from tubedet.live.recordings import Recordings

        video, plan = asked.video, asked.plan
        status = LiveStatus(stream, video)
        with ExitStack() as opened, view:
            page = shown_page(status, asked.page_at, view, opened) if asked.page_at else None
            hooks = [EventHook(delivery, view.note) for delivery in asked.deliveries]
            stop = opened.enter_context(stopping_on_signals())
            run = LiveRun(
                stream,
                work,
                video=video,
                rows_to=self.rows_to,
                told=view.note,
                status=status,
                recordings=Recordings(stream, work, plan, view.segment_done) if plan else None,
                hooks=hooks,
                page=page,
                stop=stop,
            )
            view.begin(status)
            for note in notes_on_killed(work.kind, plan.folder, plan.stem) if plan else ():
                view.note(note)
            with closing(run.frames()) as frames:
                for _ in frames:
                    view.frame_done()
        view.summarise([] if plan else stream.notes())
        if self.strict and (status.dropped_frames or status.outages or stream.skipped_frames):
            raise VideoError(f"{video}: something was lost, which --strict does not allow")

    def _source(self) -> "LiveSource":
        from tubedet.video.live_address import live_source_of, without_secrets

        if len(self.videos) != 1:
            raise UsageError(f"--live: expected one of {ADDRESSES}, found {len(self.videos)} names")
        source = live_source_of(self.videos[0])
        if source is None:
            found = without_secrets(self.videos[0])
            advice = "" if "://" in found else "; a file needs no --live"
            raise UsageError(f"{found}: expected {ADDRESSES}{advice}")
        if source.is_pipe and sys.stdin is not None and sys.stdin.isatty():
            raise UsageError("- reads a video from stdin, but stdin is a terminal: pipe one in")
        return source

    def _recording_plan(self, source: "LiveSource") -> "RecordingPlan | None":
        from tubedet.batch.own_names import checked_stem, shortened
        from tubedet.live.recordings import LONGEST_MARK, RecordingPlan

        stem = source.stem if self.name is None else checked_stem(self.name)
        if not self.records:
            return None
        folder = DEFAULT_FOLDER if self.output is None else self.output
        refuse_file_name(folder)
        if "://" in folder:
            raise UsageError(
                "-o: streams are recorded on this machine: expected a folder, found an address"
            )
        return RecordingPlan(
            folder=Path(folder),
            stem=shortened(stem, added_bytes=len(LONGEST_MARK)),
            video=video_name(source),
            formats=self.formats,
            segment_s=segment_length_s(self.segment or DEFAULT_SEGMENT),
            spreadsheet_safe=self.spreadsheet_safe,
        )


class _Asked(NamedTuple):
    """The options, read: the source, and where its recordings, events and pictures go, if any."""

    source: "LiveSource"
    plan: "RecordingPlan | None"
    deliveries: "list[Delivery]"
    page_at: tuple[str, int] | None

    @property
    def video(self) -> str:
        """What rows call it."""
        return video_name(self.source)


def video_name(source: "LiveSource") -> str:
    """What rows call a source: stdin is called as where it is a file."""
    return source.stem if source.is_pipe else source.name


def shown_page(
    status: "LiveStatus", page_at: tuple[str, int], view: LiveView, opened: ExitStack
) -> "LivePage":
    """The page at a host and port; its address is said, and opened where people can see."""
    from tubedet.live.page_server import LivePage

    page = LivePage(status.name, status.to_json, *page_at)
    opened.callback(page.close)
    view.say(f"Shown at {page.address}")
    if not page.is_for_this_machine_alone:
        view.say("Whoever has this address and reaches this machine sees the stream")
    if has_display():
        webbrowser.open(page.address)
    return page


def refuse_for_streams(given: Mapping[str, bool]) -> None:
    """Raise UsageError for options that are of files alone."""
    if names := [name for name, is_given in given.items() if is_given]:
        raise UsageError(f"{names[0]} makes no sense with --live: leave it out")


def refuse_for_files(given: Mapping[str, bool]) -> None:
    """Raise UsageError for options that are of streams alone."""
    if names := [name for name, is_given in given.items() if is_given]:
        raise UsageError(f"{names[0]} needs --live, and {ADDRESSES}")


def has_display() -> bool:
    """Whether a browser can open a window."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
