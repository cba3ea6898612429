"""Run a detector over a part of a data set and measure its boxes against the annotation.

Frames take the same way as in `tubedet detect`: decoded, paired, stretched; one box a frame, of
whatever score, or all that suppression leaves. Nothing is linked or smoothed over time, unless it
is asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.flow_images import flow_folder
from tubedet.detections import FrameDetections
from tubedet.errors import DatasetError, VideoError
from tubedet.evaluation.detection_rows import rows_table
from tubedet.evaluation.scoring import EvaluationResult, Protocol, Source, score_rows
from tubedet.pipeline import detect_video
from tubedet.run.plan import RunPlan
from tubedet.runtime.detector import Detector
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.reader import VideoReader

BEST_BOX = SelectionRule(min_score=0.0, max_boxes=1)
# A box below this is no use at any threshold, and a hundred such a frame would fill the memory.
ALL_BOXES = SelectionRule(min_score=0.005, max_boxes=None)
_ALL_BOXES_NOTE = (
    f"; boxes of a score of {ALL_BOXES.min_score} or more, suppressed at IoU {ALL_BOXES.nms_iou}"
)


@dataclass(frozen=True, slots=True)
class ClipEvaluated:
    """Progress: one more clip has been run; `done` of `total`."""

    video: str
    done: int
    total: int


def evaluate_detector(
    detector: Detector,
    data: AnnotatedDataset,
    protocol: Protocol | None = None,
    *,
    batch_size: int = 1,
    link: bool = False,
    flow_images: Path | None = None,
) -> Iterator[ClipEvaluated | EvaluationResult]:
    """Run every clip, yielding progress, and at the end the result.

    Args:
        detector: from `load_detector`.
        data: what it is run on.
        protocol: what counts; by default the paper's best box and our own rule.
        batch_size: pairs that the network sees at once.
        link: link boxes into tubes first, as `tubedet detect --link` does.
        flow_images: folder of stored flow, for the `brox` preset alone.

    Raises:
        DatasetError: for a clip that can't be read or doesn't have the annotated size and length,
            and for a part without any annotated frame.
    """
    protocol = protocol or Protocol()
    rule = ALL_BOXES if protocol.all_boxes else BEST_BOX
    plan = RunPlan(rule=rule, batch_size=batch_size, link=link, flow_images=flow_images)
    rows: list[tuple[object, ...]] = []
    seconds = 0.0
    for done, clip in enumerate(data.clips, start=1):
        began = perf_counter()
        rows += detect_clip(detector, clip, plan)
        seconds += perf_counter() - began
        yield ClipEvaluated(clip.video, done, len(data.clips))
    source = Source(
        description=detector.description
        + (_ALL_BOXES_NOTE if protocol.all_boxes else "")
        + ("; linked into tubes" if link else ""),
        weights_sha256=detector.weights_sha256,
        unnameable=tuple(name for name in data.class_names if name not in detector.class_names),
        batch_size=batch_size,
        frames_per_second=data.frames / seconds if seconds else None,
    )
    yield score_rows(rows_table(rows), data, source, protocol)


def detect_rows(detector: Detector, data: AnnotatedDataset) -> pd.DataFrame:
    """The best box of every frame of all clips, as rows; DatasetError as `evaluate_detector`."""
    plan = RunPlan(rule=BEST_BOX, link=False)
    return rows_table(row for clip in data.clips for row in detect_clip(detector, clip, plan))


def detect_clip(
    detector: Detector, clip: AnnotatedClip, plan: RunPlan
) -> Iterator[tuple[object, ...]]:
    """The rows of one clip, in the order of `ROW_COLUMNS`."""
    for found in _detections(detector, clip, plan):
        for box in found.detections:
            yield (clip.video, found.frame, box.tube, box.label, box.score, *box.box_xyxy)


def _detections(detector: Detector, clip: AnnotatedClip, plan: RunPlan) -> list[FrameDetections]:
    try:
        with VideoReader(clip.path) as reader:
            size = (reader.info.width, reader.info.height)
        found = detect_video(
            clip.path,
            detector,
            rule=plan.rule,
            batch_size=plan.batch_size,
            link=plan.link,
            flow_images=plan.flow_images and flow_folder(plan.flow_images, clip),
        )
        frames = list(found)
    except VideoError as error:
        raise DatasetError(f"{clip.video}: a clip of the data set is bad: {error}") from error
    if (size, len(frames)) != ((clip.width, clip.height), clip.frames):
        raise DatasetError(
            f"{clip.path}: annotated are {clip.frames} frames of {clip.width}x{clip.height}, "
            f"found {len(frames)} of {size[0]}x{size[1]}"
        )
    return frames
