"""The tally of one run over one video, from which its meta and its report are made."""

from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Any

from tubedet import __version__
from tubedet.notes import Note
from tubedet.run.events import VideoDone
from tubedet.run.jobs import VideoJob
from tubedet.run.work import Work
from tubedet.video.file_names import is_image_name
from tubedet.video.frame_source import SourceTally
from tubedet.video.time_range import FrameNumber, Moment
from tubedet.writers.run_meta import RunMeta, as_asked
from tubedet.writers.target import OutputTarget
from tubedet.writers.transaction import OutputTransaction
from tubedet.writers.writer import FrameResult

PIXELS_A_BYTE = 80  # of a usual MP4, as `writers.mp4_recording` encodes


class VideoRun:
    """What went into the outputs of a video so far.

    Attributes:
        outputs: of the run; None where rows go to a stream.
        expected_frames: how many will be written, as far as the container can be believed.
        frames: written so far; `processed` of them, `found` of these with a box.
        complete: the run has come to its last frame.
        span: what it is of the source; a segment of a stream ends where the next one begins.
        live: see `RunMeta`.
    """

    def __init__(
        self, job: VideoJob, reader: SourceTally, work: Work, notes: Sequence[Note] = ()
    ) -> None:
        self.outputs: OutputTransaction | None = None
        self.expected_frames = work.plan.expected_frames(reader.info)
        self.frames = self.processed = self.found = 0
        self.complete = False
        self.span = work.plan.span
        self.live: Mapping[str, Any] | None = None
        self._job, self._reader, self._work = job, reader, work
        self._source = {} if job.is_stream else identity_of(job.source)
        self._first_notes = notes
        self._first_frame: int | None = None
        self._resume: Mapping[str, Any] = {}
        self._began = perf_counter()

    def target(self, spreadsheet_safe: bool) -> OutputTarget:
        """Where the outputs go."""
        job = self._job
        return OutputTarget(
            folder=job.folder,
            stem=job.stem,
            source=None if job.is_stream else job.source,
            video=job.video,
            info=self._reader.info,
            run_meta=self.meta,
            cut_start=self.span.start is not None,
            cut_end=self._work.plan.cut_end,
            spreadsheet_safe=spreadsheet_safe,
        )

    def write(self, result_and_state: tuple[FrameResult, Mapping[str, Any]]) -> int:
        """Write a frame, drawn where an output shows it, and count it: how many that makes.

        Args:
            result_and_state: of the frame, and `Work.resume_state` behind it.
        """
        assert self.outputs is not None
        result, state = result_and_state
        self.outputs.write(self._work.drawn(result) if self.outputs.needs_picture else result)
        self.count(result, state)
        return self.frames

    def count(self, result: FrameResult, state: Mapping[str, Any]) -> None:
        """Keep the tally of a frame that is written; `state` is what `write` takes."""
        self.frames += 1
        if result.found is None and result.flow_uv is None:
            return
        if self._first_frame is None:
            self._first_frame = result.frame.frame
        self.processed += 1
        self._resume = state
        self.found += bool(result.found and result.found.detections)

    def end(self, *, complete: bool) -> None:
        """End the outputs: all of them, or what there is, or none if there is no frame.

        Raises:
            OutputError: if complete outputs could not all be given their names; the run is then to
                be ended once more, as not complete.
        """
        assert self.outputs is not None
        self.complete = complete
        if complete:
            self.outputs.commit()
        elif self.processed:
            self.outputs.keep_partial()
        else:
            self.outputs.discard()

    def bytes_needed(self, formats: Collection[str]) -> int:
        """About how much room the outputs of the expected frames take; tables count as nothing.

        An MP4 takes what the source takes, or a tenth of a bit a pixel if that is less.
        """
        info = self._reader.info
        pixels = info.width * info.height
        frames = self.expected_frames or 0
        if "flo" in formats:
            return -(-frames // self._work.plan.stride) * (8 * pixels + 12)
        if "mp4" not in formats:
            return 0
        of_source = self._source.get("bytes", 0) * frames // (info.promised_frames or 1)
        return min(of_source, frames * pixels // PIXELS_A_BYTE)

    def report(self) -> VideoDone:
        """What became of the video."""
        outputs = self.outputs
        return VideoDone(
            job=self._job,
            outputs=outputs.outputs if outputs else (),
            partial=not self.complete,
            frames=self.frames,
            processed=self.processed,
            found=self.found if self._work.kind == "boxes" else None,
            seconds=perf_counter() - self._began,
            notes=tuple(self._notes()),
        )

    def meta(self) -> RunMeta:
        """What was done so far, and with what."""
        info, plan, work = self._reader.info, self._work.plan, self._work
        return RunMeta(
            video=self._job.video,
            source=self._source,
            width=info.width,
            height=info.height,
            rotation=info.rotation,
            time_base=_ratio(info.time_base),
            fps=_ratio(info.fps),
            frames_in_container=info.frames,
            decoded_frames=self._reader.decoded_frames,
            source_start_s=round(float(info.start_s), 6),
            mp4_offset_s=self.outputs.mp4_offset_s if self.outputs else None,
            start=_as_option(self.span.start),
            end=_as_option(self.span.end),
            first_frame=self._first_frame,
            stride=plan.stride,
            processed_frames=self.processed,
            skipped_frames=self._reader.skipped_frames,
            repaired_timestamps=self._reader.repaired_timestamps,
            complete=False,  # until the outputs have ended well
            notes=tuple({"text": note.text, "loss": note.loss} for note in self._notes()),
            class_names=work.class_names,
            weights_sha256=work.weights_sha256,
            settings=work.settings,
            runtime=work.runtime,
            resume=self._resume,
            live=self.live,
            tubedet_version=__version__,
        )

    def _notes(self) -> list[Note]:
        own = self.outputs.notes if self.outputs else []
        return [*self._first_notes, *self._reader.notes(), *self._work.notes, *own]


def asked_for(job: VideoJob, work: Work) -> dict[str, object]:
    """What `RunMeta.asked` will be, before anything is read."""
    plan = work.plan
    return as_asked(
        source=identity_of(job.source),
        weights=work.weights_sha256,
        start=_as_option(plan.span.start),
        end=_as_option(plan.span.end),
        stride=plan.stride,
        settings=work.settings,
    )


def identity_of(source: Path) -> dict[str, int]:
    """What a source is known again by, without reading it; of a folder, all its images.

    A folder's own time doesn't tell of images that are exported anew into the same files.
    """
    try:
        place = source if source.exists() else source.parent  # a pattern of images
        files = [place]
        if place.is_dir():
            files = [each for each in place.iterdir() if is_image_name(each.name)] or [place]
        known = [each.stat() for each in files]
    except OSError:  # it was opened before, and is gone
        return {}
    return {
        "bytes": sum(each.st_size for each in known),
        "modified_ns": max(each.st_mtime_ns for each in known),
    }


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _as_option(point: Moment | None) -> str | None:
    """A moment as `--start` reads it, exactly where it has so few decimals."""
    if point is None:
        return None
    if isinstance(point, FrameNumber):
        return f"{point.value}f"
    return f"{float(point.value):.10g}"
