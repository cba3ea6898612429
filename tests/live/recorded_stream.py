"""A run over a file as if it came live, recorded in segments of a second."""

import io
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from tests.live.file_stream import FileStream
from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import write_video
from tubedet.live.event_hooks import EventHook
from tubedet.live.live_run import LiveRun
from tubedet.live.live_status import LiveStatus
from tubedet.live.recordings import RecordingPlan, Recordings
from tubedet.notes import Note
from tubedet.run.detection import DetectionWork
from tubedet.run.events import VideoDone
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.video.frame import VideoFrame

FRAMES, FPS = 60, 24
VIDEO = "rtsp://door"
STEMS = [f"door-20261130T0522{second}Z" for second in (33, 34, 35)]

BeforeFrame = Callable[[FileStream, VideoFrame], None]


def write_stream(path: Path) -> Path:
    """Write a video that gives the segments `STEMS`."""
    return write_video(path, frames=FRAMES, width=64, height=48, fps=Fraction(FPS))


class Outcome:
    """What a run over the file, as if it were live, has left; segments are 1 s long."""

    def __init__(
        self,
        video: Path,
        folder: Path,
        before_frame: BeforeFrame | None = None,
        *,
        formats: tuple[str, ...] = ("mp4", "csv"),
        rows: io.StringIO | None = None,
        stop: StopRequest | None = None,
        plan: RunPlan | None = None,
        hooks: Sequence[EventHook] = (),
    ) -> None:
        self.rows = rows or io.StringIO()
        self.done: list[VideoDone] = []
        self.notes: list[Note] = []
        self.stream = FileStream(video, before_frame)
        self.status = LiveStatus(self.stream, VIDEO)
        self.error: BaseException | None = None
        work = DetectionWork(ScriptedDetector(), plan or RunPlan())
        segments = RecordingPlan(
            folder=folder, stem="door", video=VIDEO, formats=formats, segment_s=Fraction(1)
        )
        run = LiveRun(
            self.stream,
            work,
            video=VIDEO,
            rows_to=self.rows,
            told=self.notes.append,
            hooks=hooks,
            status=self.status,
            recordings=Recordings(self.stream, work, segments, self.done.append),
            stop=stop,
        )
        try:
            for _ in run.frames():
                pass
        except BaseException as error:
            self.error = error
        finally:
            self.stream.close()
