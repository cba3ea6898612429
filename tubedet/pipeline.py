"""READ THIS FIRST: the way from a video file to an annotated video and rows, on one page.

    decode            video.reader         the file's frames, one at a time, with their timestamps
    → pair            video.frame_pairs    every frame with its successor
    → preprocess      video.preprocess     a batch of pairs as a clip (B, 3, 2, S, S)
    → network         runtime, models      flow, two streams, fusion: Figure 1 of the paper
    → look around     runtime.detector     what moved in the frames before and after, if it counts
    → decode boxes    models.yolov2        N candidates a frame, in fractions of the frame
    → pick            tubes.best_box       the paper's one box a frame, in source pixels
    → link            tubes.linking        boxes into tubes, class scores smoothed; if asked for
    → render          render.annotate      boxes drawn into the frame
    → write           writers              annotated MP4, CSV, JSON, …

Every stage is an iterator, so memory doesn't grow with the video. Only this module knows the order.
Where frames to come have a say in an action, so many are held; half a second of video.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from torch import Tensor

from tubedet.checkpoints.catalog import resolve_weights, sha256_of
from tubedet.checkpoints.native import load_checkpoint
from tubedet.detections import FrameDetections
from tubedet.errors import OutputError, UsageError, VideoError
from tubedet.models.presets import DetectorConfig
from tubedet.models.yolov2.box_decoding import DecodedBoxes
from tubedet.render.annotate import annotate
from tubedet.runtime.detector import Detector, Glimpse, with_surroundings
from tubedet.runtime.torch import TorchDetector
from tubedet.tubes.best_box import SelectionRule, select_boxes
from tubedet.tubes.linking import TubeLinker
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import FramePair, pair_frames
from tubedet.video.preprocess import FrameGeometry, stack_pairs, stack_with_flow_images
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import TimePoint, TimeRange
from tubedet.video_run import FrameDone, RunPlan, VideoDone, VideoJob, VideoRun

# A batch that a stride makes long closes early rather than hold more; a 4K frame is 25 MB.
MOST_FRAMES_HELD = 32


def load_detector(
    weights: str | Path | None = None, *, device: str = "auto", precision: str = "auto"
) -> Detector:
    """A ready network.

    Args:
        weights: a checkpoint file or a name in `tubedet weights list`; None for the default.
        device: `auto` (cuda before mps before cpu) or a name such as `cpu` or `cuda:1`.
        precision: `fp32`, `bf16`, `fp16`, or `auto` for what suits the device.

    Raises:
        WeightsError: if there is no such checkpoint, or it is damaged.
        UsageError: if the device or the precision cannot be had.
    """
    path = resolve_weights(weights)
    network, header = load_checkpoint(path)
    return TorchDetector(
        network,
        DetectorConfig.from_dict(header.config),
        device=device,
        precision=precision,
        min_score=header.min_score,
        weights_sha256=sha256_of(path),
    )


def detect_video(
    path: str | Path,
    detector: Detector,
    *,
    start: TimePoint | None = None,
    end: TimePoint | None = None,
    stride: int = 1,
    max_frames: int | None = None,
    rule: SelectionRule | None = None,
    batch_size: int = 1,
    flow_images: Path | None = None,
    link: bool = False,
) -> Iterator[FrameDetections]:
    """The detections of every frame, lazily; a frame without any has an empty entry.

    Args:
        path: a video file.
        detector: from `load_detector`.
        start: beginning of the range, in seconds (`Fraction`) or as a frame (`int`).
        end: its end, exclusive.
        stride, max_frames, rule, batch_size, flow_images, link: see `RunPlan`.

    Raises:
        VideoError: if the file is no video, or has no frame in the range.
        UsageError: if the plan is contradictory, or flow images are missing, or given to a detector
            that makes its own flow.
        DatasetError: if a flow image is missing.
    """
    plan = RunPlan(
        span=TimeRange(start, end),
        stride=stride,
        max_frames=max_frames,
        rule=rule,
        batch_size=batch_size,
        flow_images=flow_images,
        link=link,
    )
    with VideoReader(path) as reader:
        for _, found in _detect(reader, detector, plan):
            if found is not None:
                yield found


def process_video(
    job: VideoJob,
    detector: Detector,
    plan: RunPlan,
    formats: Sequence[str],
    *,
    rows_to: TextIO | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[FrameDone | VideoDone]:
    """Detect in a video and write what is found, saying so frame by frame.

    Stopped, interrupted or left alone half way, it completes what there is as partial files; after
    any other exception nothing is left behind.

    Args:
        job: the video and its outputs.
        detector: from `load_detector`.
        plan: what is detected.
        formats: names of `WRITERS`; `STEM.meta.json` comes with them.
        rows_to: JSON lines go to this stream, and no file is written at all.
        stop: asked after every frame.

    Raises:
        VideoError, UsageError, DatasetError: as `detect_video`.
        OutputError: if an output cannot be written.
    """
    with VideoReader(job.source) as reader:
        run = VideoRun(job, reader, detector, plan)
        try:
            run.open_outputs(formats, rows_to)
            for frame, found in _detect(reader, detector, plan):
                run.outputs.write(_render(frame, found, run), found or _nothing_at(frame))
                run.count(frame, found)
                yield FrameDone(run.frames, run.expected_frames)
                if stop():
                    run.complete = False
                    break
            run.finish()
        except (KeyboardInterrupt, GeneratorExit):
            run.complete = False
            run.finish()
            raise
        except BaseException:
            with suppress(OutputError):  # the first error says what happened
                run.outputs.discard()
            raise
    yield run.report()


def _detect(
    reader: VideoReader, detector: Detector, plan: RunPlan
) -> Iterator[tuple[VideoFrame, FrameDetections | None]]:
    """Every frame of the span with its detections; None where the stride passes over it."""
    pairs = pair_frames(reader.frames(plan.span.start), plan.span.end)
    rule = plan.rule_for(detector)
    linker = TubeLinker(rule, detector.class_names) if plan.link else None
    if linker is not None:
        rule = linker.candidates
    frames = 0
    seen = _look(_batches(pairs, plan), detector, plan.flow_images, reader.path.stem)
    for frame, glimpse, around in with_surroundings(seen, detector.reach):
        found = None
        if glimpse is not None:
            found = _pick(frame, detector.predict(glimpse, around), detector.class_names, rule)
            found = linker.link(found) if linker else found
        yield frame, found
        frames += 1
    if not frames:
        raise VideoError(
            f"{reader.path}: expected frames {plan.span}, found none; choose another range"
        )


def _batches(pairs: Iterator[FramePair], plan: RunPlan) -> Iterator[list[tuple[FramePair, bool]]]:
    """Runs of pairs, each with whether the stride falls on it; at most a batch of them are due."""
    batch: list[tuple[FramePair, bool]] = []
    most_held = max(MOST_FRAMES_HELD, plan.batch_size)
    first_frame: int | None = None
    for pair in pairs:
        first_frame = pair.at.frame if first_frame is None else first_frame
        rank, passed_over = divmod(pair.at.frame - first_frame, plan.stride)
        if plan.max_frames is not None and rank >= plan.max_frames:
            break
        batch.append((pair, not passed_over))
        due = sum(is_due for _, is_due in batch)
        if due in (0, plan.batch_size) or len(batch) == most_held:
            yield batch
            batch = []
    if batch:
        yield batch


def _look(
    batches: Iterable[Sequence[tuple[FramePair, bool]]],
    detector: Detector,
    flow_images: Path | None,
    stem: str,
) -> Iterator[tuple[VideoFrame, Glimpse | None]]:
    """Every frame, with what the network makes of its pair; None where the stride passes over."""
    for batch in batches:
        due = [pair for pair, is_due in batch if is_due]
        glimpses = iter(detector.look(_to_clip(due, detector, flow_images, stem)) if due else ())
        for pair, is_due in batch:
            yield pair.at, next(glimpses) if is_due else None


def _pick(
    frame: VideoFrame, decoded: DecodedBoxes, class_names: tuple[str, ...], rule: SelectionRule
) -> FrameDetections:
    """The boxes of a frame, in its own pixels, that the rule keeps."""
    boxes_fraction, overlap, class_prob = (each[0].numpy() for each in decoded)
    height, width = frame.rgb.shape[:2]
    boxes_xyxy = FrameGeometry(width, height).to_source_xyxy(boxes_fraction)
    picked = select_boxes(boxes_xyxy, overlap, class_prob, class_names, rule)
    return FrameDetections(frame.frame, frame.pts, frame.time_s, picked)


def _to_clip(
    pairs: Sequence[FramePair], detector: Detector, flow_images: Path | None, stem: str
) -> Tensor:
    """The network's input; UsageError if the detector and the flow images do not go together."""
    if not detector.uses_flow_images and flow_images is None:
        return stack_pairs(pairs, detector.input_size)
    if flow_images is None:
        raise UsageError(f"{detector.description}: needs flow images, give --flow-images FOLDER")
    if not detector.uses_flow_images:
        raise UsageError(f"{detector.description}: makes its own flow, leave --flow-images out")
    return stack_with_flow_images(pairs, detector.input_size, flow_images / stem)


def _render(frame: VideoFrame, found: FrameDetections | None, run: VideoRun) -> VideoFrame:
    """The frame with its boxes drawn, or faintly the latest ones, if any output shows it."""
    if not run.outputs.needs_pixels:
        return frame
    if found is None:
        return replace(frame, rgb=annotate(frame.rgb, run.latest, faint=True))
    return replace(frame, rgb=annotate(frame.rgb, found.detections))


def _nothing_at(frame: VideoFrame) -> FrameDetections:
    return FrameDetections(frame.frame, frame.pts, frame.time_s, ())
