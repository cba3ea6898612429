"""READ THIS FIRST: the way from a video file to an annotated video and rows, on one page.

    decode            video.reader         the file's frames, one at a time, on one repaired clock
    → pair            video.frame_pairs    every frame with its successor
    → work            detection, flow      what a run makes of the pairs:
        preprocess    video.preprocess       each frame resized once, pairs as clips (B, 3, 2, S, S)
        network       runtime, models        flow, two streams, fusion: Figure 1 of the paper
        add context   run.prediction         the frames around, which say what is done
        decode boxes  models.yolov2          N candidates a frame, in fractions of the frame
        pick          tubes.best_box         the paper's one box a frame
        smooth, link  tubes                  steadied over time, and joined into tubes
    → draw            render               boxes or flow as a picture, if an output shows one
    → write           writers              annotated MP4, CSV, JSON, … in one transaction

Every stage is an iterator, so memory doesn't grow with the video. Reading, the network, and drawing
with writing go on at the same time (run.overlap). `detect` and `flow` differ in their work alone,
a file and a camera in their reader (video.live_reader) and in who ends the run (live.live_run).
Whatever ends a run, what it has is kept.

The presets of the paper answer every pair of frames by itself. `light` is given a video as it goes
on, every 1/15 s a frame (run.steps), and waits for what comes behind a frame: 16/30 s for its
context window, then 8/30 s for smoothing, so 24 frames or 0.8 s at 30 frames a second. Around what
is asked for, so much more of the video is read that any part has the boxes that all of it has
(run.reach, run.asked_frames). So a long video can be done in parts, elsewhere (run.parts).
"""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from shutil import disk_usage
from typing import Any, TextIO

from tubedet.checkpoints.catalog import resolve_weights, sha256_of
from tubedet.checkpoints.native import CheckpointHeader, load_checkpoint, load_flow
from tubedet.detections import FrameDetections
from tubedet.errors import OutputError, UsageError
from tubedet.models.presets import LightConfig, config_from_dict
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.notes import Note
from tubedet.run.detection import DetectionWork
from tubedet.run.events import DiskNeeded, FrameDone, VideoDone
from tubedet.run.jobs import VideoJob
from tubedet.run.overlap import Overlap
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.run.video_run import VideoRun
from tubedet.run.work import Work
from tubedet.runtime.detector import Detector
from tubedet.runtime.graph_cache import cached_graphs
from tubedet.runtime.onnx_detector import (
    OnnxDetector,
    OnnxLightDetector,
    Runtime,
    pick_runtime,
)
from tubedet.runtime.onnx_graphs import graph_metadata, write_graphs
from tubedet.runtime.torch import TorchDetector
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.runtime.torch_light import LATENCIES, TorchLightDetector
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import FrameNumber, Moment, Seconds, TimeRange
from tubedet.writers.jsonl import put_on_stream
from tubedet.writers.transaction import OutputTransaction

DETECTORS: dict[
    tuple[Runtime, bool], Callable[..., TorchDetector]
] = {  # by runtime; whether for `light`
    ("torch", False): TorchDetector,
    ("torch", True): TorchLightDetector,
    ("onnx", False): OnnxDetector,
    ("onnx", True): OnnxLightDetector,
}


def load_detector(
    weights: str | Path | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    latency: str = "half-second",
    runtime: str = "auto",
    told: Callable[[str], None] = lambda _: None,
) -> Detector:
    """A ready network.

    Args:
        weights: a checkpoint file or a name in `tubedet weights list`; None for the default.
        device: `auto` (cuda before mps before cpu) or a name such as `cpu` or `cuda:1`.
        precision: `fp32`, `bf16`, `fp16`, or `auto` for what suits the device.
        compile: see `TorchDetector`.
        latency: `half-second`, or `none` for live use: nothing behind a frame has a say in it; see
            `TorchLightDetector`. The presets of the paper have none anyway.
        runtime: see `pick_runtime`.
        told: called with a line on what takes seconds: making graphs for ONNX Runtime, once.

    Raises:
        WeightsError: if there is no such checkpoint, or it is damaged.
        UsageError: if the device, the precision, the latency or the runtime cannot be had, or not
            all of them together.
    """
    if latency not in LATENCIES:
        raise UsageError(f"latency '{latency}' is unknown; choose one of {', '.join(LATENCIES)}")
    path = resolve_weights(weights)
    network, header = load_checkpoint(path)
    config = config_from_dict(header.config)
    how: dict[str, Any] = {"device": device, "precision": precision, "compile": compile}
    chosen = pick_runtime(runtime, config, **how)
    sha256 = sha256_of(path)
    if chosen == "onnx":

        def write(folder: Path) -> None:
            told(f"{path.name}: making graphs for ONNX Runtime, once for these weights")
            _write_graphs(network, header, sha256, folder)

        how = {"graphs": cached_graphs(sha256, write)}
    is_light = isinstance(config, LightConfig)
    if is_light:
        how["latency"] = latency
    kind = DETECTORS[chosen, is_light]
    return kind(network, config, min_score=header.min_score, weights_sha256=sha256, **how)


def export_graphs(weights: str | Path | None, folder: Path) -> list[Path]:
    """Write a detector's graphs as ONNX files, from which other programs can run it.

    Args:
        weights: see `load_detector`.
        folder: made if absent.

    Returns:
        The files, named by what `graphs_of` calls them.

    Raises:
        WeightsError: as `load_detector`.
        UsageError: if a library that it takes is not installed.
        OutputError: if a file cannot be written.
    """
    path = resolve_weights(weights)
    network, header = load_checkpoint(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: expected a folder to write to: {error.strerror}") from error
    return _write_graphs(network, header, sha256_of(path), folder)


def _write_graphs(
    network: TwoStreamDetector, header: CheckpointHeader, sha256: str, folder: Path
) -> list[Path]:
    config = config_from_dict(header.config)
    metadata = graph_metadata(config, header.min_score, sha256, header.licence)
    return write_graphs(network, config.input_size, folder, metadata)


def load_flow_estimator(
    weights: str | Path | None = None, *, device: str = "auto", size: tuple[int, int] | None = None
) -> TorchFlow:
    """A ready flow network.

    Args:
        weights: a checkpoint file or a name in `tubedet weights list`; None for the default.
        device: `auto` (cuda before mps before cpu) or a name such as `cpu` or `cuda:1`.
        size: (height, width) that the network sees, multiples of 64; None: the frames' own, up to
            the next multiples of 64.

    Raises:
        WeightsError: if there is no such checkpoint, it is damaged, or without a flow network.
        UsageError: if the device cannot be had.
    """
    path = resolve_weights(weights)
    network, _ = load_flow(path)
    return TorchFlow(network, device=device, size=size, weights_sha256=sha256_of(path))


def detect_video(
    path: str | Path,
    detector: Detector,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    start_frame: int | None = None,
    end_frame: int | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    video_stream: int | None = None,
    rule: SelectionRule | None = None,
    batch_size: int = 1,
    flow_images: Path | None = None,
    link: bool = True,
    smooth: bool = True,
    find_cuts: bool = False,
) -> Iterator[FrameDetections]:
    """The detections of every frame, lazily, as `tubedet detect` writes them.

    A frame without any has an empty entry.

    Args:
        path: a video file.
        detector: from `load_detector`.
        start_s: beginning of the range, in seconds from the first frame.
        end_s: its end, exclusive.
        start_frame: beginning of the range, as a frame counted from 0, in place of `start_s`.
        end_frame: its end, exclusive, in place of `end_s`.
        stride: every so many frames one is processed.
        max_frames: at most so many frames are processed.
        video_stream: see `RunPlan`.
        rule: see `RunPlan`.
        batch_size: see `RunPlan`.
        flow_images: folder of this video's flow images `<frame:05d>.jpg`, for the `brox` preset.
        link: see `RunPlan`.
        smooth: see `RunPlan`.
        find_cuts: see `RunPlan`.

    Raises:
        VideoError: if the file is no video, or has no frame in the range.
        UsageError: if the plan is contradictory, or flow images are missing, or given to a detector
            that makes its own flow.
        DatasetError: if a flow image is missing.
    """
    plan = RunPlan(
        span=TimeRange(_moment(start_s, start_frame), _moment(end_s, end_frame)),
        stride=stride,
        max_frames=max_frames,
        video_stream=video_stream,
        rule=rule,
        batch_size=batch_size,
        link=link,
        smooth=smooth,
        find_cuts=find_cuts,
    )
    work = DetectionWork(detector, plan, flow_images=flow_images)
    with (
        VideoReader(path, video_stream=video_stream) as reader,
        closing(work.results(reader, StopRequest(), with_pictures=False)) as results,
    ):
        for result in results:
            if result.found is not None:
                yield result.found


def process_video(
    job: VideoJob,
    work: Work,
    formats: Sequence[str],
    *,
    overwrite: bool | Collection[str] = False,
    spreadsheet_safe: bool = False,
    notes: Sequence[Note] = (),
    stop: StopRequest | None = None,
) -> Generator[DiskNeeded | FrameDone | VideoDone]:
    """Process a video and write what is found, saying so frame by frame.

    Stopped, interrupted, left alone or failing half way, it keeps what it has as partial outputs,
    which a last `VideoDone` tells of.

    Args:
        job: the video and its outputs.
        work: what is made of its frames.
        formats: names of formats for that kind of work; a meta file comes with them.
        overwrite: outputs may be replaced: all, or those of some formats.
        spreadsheet_safe: see `OutputTarget`.
        notes: what is to be said of the run from the beginning.
        stop: asked after every frame.

    Raises:
        VideoError, UsageError, DatasetError: as `detect_video`.
        OutputError: if an output cannot be written.
    """
    stop = stop or StopRequest()
    with VideoReader(job.source, video_stream=work.plan.video_stream) as reader:
        run = VideoRun(job, reader, work, notes)
        outputs = OutputTransaction(
            work.kind, formats, run.target(spreadsheet_safe), overwrite=overwrite
        )
        run.outputs = outputs
        try:
            needed, free = run.bytes_needed(formats), disk_usage(job.folder).free
            if (of_flo := "flo" in formats) or needed > free:
                yield DiskNeeded(job, needed, free, of_flo)
            drawn = outputs.needs_picture
            results = work.results(reader, stop, with_pictures=drawn)
            found = ((result, work.resume_state()) for result in stop.awaited(results))
            with (
                Overlap() as overlap,
                closing(results),
                closing(overlap.behind(found, run.write)) as written,
            ):
                for frames in written:
                    yield FrameDone(frames, run.expected_frames)
            run.end(complete=not stop.asked)
        except GeneratorExit:
            run.end(complete=False)
            raise
        except KeyboardInterrupt:
            run.end(complete=False)
            if not stop.asked:  # whoever asked is told what there is
                raise
        except Exception:
            run.end(complete=False)
            if run.frames:
                yield run.report()
            raise
    yield run.report()


def stream_video(
    job: VideoJob, work: Work, rows_to: TextIO, *, stop: StopRequest | None = None
) -> Generator[FrameDone | VideoDone]:
    """Detect in a video and write JSON lines onto a stream, frame by frame; no file is written.

    Raises:
        VideoError, UsageError, DatasetError: as `detect_video`.
        StreamClosedError: if nobody reads the stream any more.
        OutputError: if it cannot be written.
    """
    stop = stop or StopRequest()
    with VideoReader(job.source, video_stream=work.plan.video_stream) as reader:
        run = VideoRun(job, reader, work)
        with closing(work.results(reader, stop, with_pictures=False)) as results:
            for result in stop.awaited(results):
                if result.found is not None:
                    put_on_stream(rows_to, job.video, result.found)
                run.count(result, work.resume_state())
                yield FrameDone(run.frames, run.expected_frames)
        run.complete = not stop.asked
    yield run.report()


def _moment(seconds: float | Fraction | None, frame: int | None) -> Moment | None:
    """UsageError if both are given."""
    if seconds is not None and frame is not None:
        raise UsageError(f"expected seconds or a frame, found both: {seconds} s and frame {frame}")
    if frame is not None:
        return FrameNumber(int(frame))
    return None if seconds is None else Seconds(Fraction(float(seconds)))
