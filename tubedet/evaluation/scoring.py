"""All figures of one run: rows of detections against a part of a data set.

Nothing here needs a network: the rows may come from a detector (`evaluate`) or from a file
(`detection_rows`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.row_files import FRAME_COLUMNS
from tubedet.evaluation.detection_errors import ErrorBreakdown, error_breakdown
from tubedet.evaluation.detection_rows import (
    best_of_each_frame,
    on_known_frames,
    truth_table,
    with_class_index,
)
from tubedet.evaluation.frame_figures import (
    CURVE_THRESHOLDS,
    IOU_THRESHOLDS,
    FrameFigures,
    frame_figures,
)
from tubedet.evaluation.frame_map import MeanPrecision, boxes_right, on_annotated_frames
from tubedet.evaluation.rules import TUBEDET, ScoringRule
from tubedet.evaluation.source_intervals import SourceDraws, draw_sources
from tubedet.evaluation.video_map import video_map

COCO_THRESHOLDS = tuple(at for at in CURVE_THRESHOLDS if at >= 0.5)  # 0.5:0.95


@dataclass(frozen=True, slots=True)
class Protocol:
    """What counts: the paper's best box of each frame, or all rows besides, and by which rule."""

    rule: ScoringRule = TUBEDET
    all_classes: bool = False

    def describe(self, boxes: str) -> str:
        """One line, to be shown next to every number of these boxes."""
        return f"{boxes}; rule {self.rule.name}: {self.rule.describe()}"


@dataclass(frozen=True, slots=True)
class Source:
    """Who detected: a detector and its weights, or a file.

    Attributes:
        description: of the detector, or which file.
        all_rows: what its rows are, in a few words.
        best_first: a frame's first row is of the box that a detector would report, which for some
            is not the one of the greatest product.
        weights_sha256: of the detector.
        unnameable: classes of the data that it doesn't know.
        batch_size: pairs that the network saw at once.
        frames_per_second: from decoding to boxes; None where nothing was run.
        device: what ran it, by its maker's name.
        precision: of its convolutions.
        decoded_frames: by clip, where they are not as many as annotated.
        failed_clips: why a clip could not be run, by clip.
    """

    description: str
    all_rows: str = "all rows"
    best_first: bool = False
    weights_sha256: str | None = None
    unnameable: tuple[str, ...] = ()
    batch_size: int | None = None
    frames_per_second: float | None = None
    device: str | None = None
    precision: str | None = None
    decoded_frames: Mapping[str, int] = field(default_factory=dict)
    failed_clips: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationResult:
    """Everything measured.

    Attributes:
        data: the truth.
        source: of the rows.
        protocol: what counted.
        rows: what was judged.
        best: f-mAP of the best box of each frame.
        all_classes: f-mAP of all rows, None if the protocol does not ask for it.
        draws: that the intervals are of; None if all clips are of one source.
        box_right: share of annotated frames whose best box has an IoU of 0.5 or more with a ground
            truth of any class.
        errors: of the best boxes on annotated frames.
        tubes: video-mAPs at `CURVE_THRESHOLDS`, None of rows without a tube.
    """

    data: AnnotatedDataset
    source: Source
    protocol: Protocol
    rows: pd.DataFrame
    best: FrameFigures
    all_classes: FrameFigures | None
    draws: SourceDraws | None
    box_right: float
    errors: ErrorBreakdown
    tubes: list[MeanPrecision] | None

    @property
    def trimmed(self) -> list[MeanPrecision]:
        """f-mAP of the best boxes on annotated frames, at `IOU_THRESHOLDS`."""
        return self.best.trimmed

    @property
    def boxes_not_decoded(self) -> int:
        """True boxes of frames that did not decode: they count as missed."""
        decoded = self.source.decoded_frames
        return sum(
            len(boxes)
            for clip in self.data.clips
            for boxes in clip.boxes_by_frame[decoded.get(clip.video, clip.frames) :]
        )

    @property
    def video_map(self) -> dict[str, float] | None:
        """Video-mAP at 0.2, 0.5, 0.75, and its mean over 0.5 to 0.95; None without tubes."""
        if self.tubes is None:
            return None
        mean_at = {at.iou_threshold: at.mean for at in self.tubes}
        strict = [mean_at[threshold] for threshold in COCO_THRESHOLDS]
        single = {str(threshold): mean_at[threshold] for threshold in IOU_THRESHOLDS}
        return {**single, "0.5:0.95": sum(strict) / len(strict)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; all figures are fractions of 1."""
        tubes, names = self.video_map, self.data.class_names
        return {
            **self.best.to_dict(names),
            "all_classes": self.all_classes and self.all_classes.to_dict(names),
            "intervals": self.draws and self.draws.describe(),
            "rule": self.protocol.rule.name,
            "data": self.data.name,
            "split": self.data.split,
            "part": self.data.part,
            "detector": self.source.description,
            "weights_sha256": self.source.weights_sha256,
            "device": self.source.device,
            "precision": self.source.precision,
            "batch_size": self.source.batch_size,
            "frames_per_second": self.source.frames_per_second,
            "videos": len(self.data.clips),
            "frames": self.data.frames,
            "missing_videos": list(self.data.missing_videos),
            "failed_clips": dict(self.source.failed_clips),
            "decoded_frames_of_other_lengths": dict(self.source.decoded_frames),
            "boxes_not_decoded": self.boxes_not_decoded,
            "unnameable_classes": list(self.source.unnameable),
            "video_map": tubes,
            "video_map_protocol": self.protocol.rule.describe_tubes() if tubes else None,
            "box_right": self.box_right,
            "errors": self.errors.to_dict(),
        }


def score_rows(
    rows: pd.DataFrame, data: AnnotatedDataset, source: Source, protocol: Protocol
) -> EvaluationResult:
    """Every figure of the rows.

    Video-mAP takes all rows that have a tube number, also under one box a frame.

    Args:
        rows: of `detection_rows`, of videos of the data.
        data: the truth.
        source: of the rows.
        protocol: what counts.

    Raises:
        DatasetError: for a part without any annotated frame.
    """
    rows = on_known_frames(rows, data)
    truth, classes, rule = truth_table(data), len(data.class_names), protocol.rule
    found = with_class_index(rows, data.class_names)
    best = found.drop_duplicates(FRAME_COLUMNS) if source.best_first else best_of_each_frame(found)
    annotated = on_annotated_frames(best, truth)
    linked = bool(rows["tube"].notna().any())
    draws = draw_sources(data.clips)

    def figures(detections: pd.DataFrame, boxes: str) -> FrameFigures:
        described = protocol.describe(boxes)
        return frame_figures(
            detections, truth, draws, protocol=described, rule=rule, class_count=classes
        )

    return EvaluationResult(
        data=data,
        source=source,
        protocol=protocol,
        rows=rows,
        best=figures(best, "one box a frame"),
        all_classes=figures(found, source.all_rows) if protocol.all_classes else None,
        draws=draws,
        box_right=boxes_right(annotated, truth, 0.5),
        errors=error_breakdown(annotated, truth),
        tubes=video_map(found, truth, CURVE_THRESHOLDS, rule, classes) if linked else None,
    )
