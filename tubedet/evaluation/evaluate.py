"""Run a detector over a part of a data set and measure its boxes against the annotation.

Frames take the same way as in `tubedet detect`: decoded, paired, stretched; one box a frame,
whatever its score. Nothing is linked or smoothed over time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.detections import FrameDetections
from tubedet.errors import DatasetError, VideoError
from tubedet.evaluation.frame_map import (
    CONVENTION,
    DETECTION_COLUMNS,
    TRUTH_COLUMNS,
    FrameMap,
    boxes_right,
    frame_map,
    on_annotated_frames,
)
from tubedet.pipeline import detect_video
from tubedet.runtime.detector import Detector
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.reader import VideoReader

IOU_THRESHOLDS = (0.2, 0.5, 0.75)  # those of the paper's Table I
BEST_BOX = SelectionRule(min_score=0.0, max_boxes=1)
UNKNOWN_CLASS = -1  # of a label that the data set doesn't have: never right


@dataclass(frozen=True, slots=True)
class ClipEvaluated:
    """Progress: one more clip has been run; `done` of `total`."""

    video: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult:
    """Everything measured; `trimmed` counts annotated frames only, `all_frames` the others too.

    `box_right` is the share of annotated frames whose box has an IoU of 0.5 or more with a ground
    truth of any class. `unnameable` are classes of the data that the detector doesn't know.
    """

    data: AnnotatedDataset
    detector: str
    weights_sha256: str | None
    trimmed: list[FrameMap]
    all_frames: list[FrameMap]
    box_right: float
    unnameable: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; all figures are fractions of 1."""
        return {
            "protocol": f"f-mAP on annotated frames, one box a frame; {CONVENTION}",
            "data": self.data.name,
            "split": self.data.split,
            "part": self.data.part,
            "detector": self.detector,
            "weights_sha256": self.weights_sha256,
            "videos": len(self.data.clips),
            "frames": self.data.frames,
            "missing_videos": list(self.data.missing_videos),
            "unnameable_classes": list(self.unnameable),
            "f_map": {str(at.iou_threshold): at.mean for at in self.trimmed},
            "f_map_all_frames": {str(at.iou_threshold): at.mean for at in self.all_frames},
            "box_right": self.box_right,
            "per_class": {
                self.data.class_names[index]: {
                    "ground_truths": curve.ground_truths,
                    "ap": {
                        str(at.iou_threshold): at.curves[index].average_precision
                        for at in self.trimmed
                    },
                }
                for index, curve in self.trimmed[0].curves.items()
            },
        }


def evaluate_detector(
    detector: Detector, data: AnnotatedDataset
) -> Iterator[ClipEvaluated | EvaluationResult]:
    """Run every clip, yielding progress, and at the end the result.

    Raises:
        DatasetError: for a clip that can't be read or doesn't have the annotated size and length,
            and for a part without any annotated frame.
    """
    rows: list[tuple[object, ...]] = []
    index_of = {name: index for index, name in enumerate(data.class_names)}
    for done, clip in enumerate(data.clips, start=1):
        for found in _detect_clip(detector, clip):
            rows += [
                (
                    clip.video,
                    found.frame,
                    index_of.get(best.label, UNKNOWN_CLASS),
                    best.score,
                    *best.box_xyxy,
                )
                for best in found.detections
            ]
        yield ClipEvaluated(clip.video, done, len(data.clips))
    detections, truth = pd.DataFrame(rows, columns=DETECTION_COLUMNS), truth_table(data)
    trimmed = on_annotated_frames(detections, truth)
    yield EvaluationResult(
        data=data,
        detector=detector.description,
        weights_sha256=detector.weights_sha256,
        trimmed=frame_map(trimmed, truth, IOU_THRESHOLDS),
        all_frames=frame_map(detections, truth, IOU_THRESHOLDS),
        box_right=boxes_right(detections, truth, 0.5),
        unnameable=tuple(name for name in data.class_names if name not in detector.class_names),
    )


def truth_table(data: AnnotatedDataset) -> pd.DataFrame:
    """All annotated boxes, one a row, as `frame_map` takes them."""
    rows = [
        (clip.video, frame, box.class_index, *box.box_xyxy)
        for clip in data.clips
        for frame, boxes in enumerate(clip.boxes_by_frame)
        for box in boxes
    ]
    return pd.DataFrame(rows, columns=TRUTH_COLUMNS)


def _detect_clip(detector: Detector, clip: AnnotatedClip) -> list[FrameDetections]:
    try:
        with VideoReader(clip.path) as reader:
            size = (reader.info.width, reader.info.height)
        frames = list(detect_video(clip.path, detector, rule=BEST_BOX))
    except VideoError as error:
        raise DatasetError(f"{clip.video}: a clip of the data set is bad: {error}") from error
    if (size, len(frames)) != ((clip.width, clip.height), clip.frames):
        raise DatasetError(
            f"{clip.path}: annotated are {clip.frames} frames of {clip.width}x{clip.height}, "
            f"found {len(frames)} of {size[0]}x{size[1]}"
        )
    return frames
