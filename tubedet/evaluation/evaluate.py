"""Run a detector over a part of a data set and measure its boxes against the annotation.

Frames take the same way as in `tubedet detect`: decoded, paired, stretched; one box a frame, of
whatever score, or all that suppression leaves. Nothing is linked or smoothed over time, unless it
is asked for.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, agreed_length
from tubedet.datasets.flow_images import flow_folder
from tubedet.errors import DatasetError, VideoError
from tubedet.evaluation.detection_rows import rows_table
from tubedet.evaluation.rows_file import RowsFile, sole_writer
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
    rows: Path | None = None,
    resume: bool = False,
) -> Iterator[ClipEvaluated | EvaluationResult]:
    """Run every clip, yielding progress, and at the end the result.

    A clip of another length than annotated is cut to the shorter one; one that can't be run is left
    out. In both cases the true boxes of frames that were not seen count as missed, and the result
    says so.

    Args:
        detector: from `load_detector`.
        data: what it is run on.
        protocol: what counts; by default the paper's best box and our own rule.
        batch_size: pairs that the network sees at once.
        link: link boxes into tubes first, as `tubedet detect --link` does.
        flow_images: folder of stored flow, for the `brox` preset alone.
        rows: where the rows are kept, see `rows_file`; None: nowhere.
        resume: go on with what `rows` has.

    Raises:
        DatasetError: if no clip can be run, and for a part without any annotated frame.
        UsageError: as `RowsFile`.
        OutputError: as `RowsFile`, and if another evaluation writes to `rows`.
    """
    protocol = protocol or Protocol()
    rule = ALL_BOXES if protocol.all_boxes else BEST_BOX
    plan = RunPlan(rule=rule, batch_size=batch_size, link=link, flow_images=flow_images)
    with ExitStack() as held:
        path = rows or Path(held.enter_context(TemporaryDirectory())) / "rows.csv"
        held.enter_context(sole_writer(path))
        file = RowsFile(path, _settings(detector, data, plan), resume=resume)
        yield from _run_clips(detector, data, plan, file)
        yield score_rows(
            file.table(clip.video for clip in data.clips),
            data,
            _source(detector, data, plan, file),
            protocol,
        )


def _run_clips(
    detector: Detector, data: AnnotatedDataset, plan: RunPlan, file: RowsFile
) -> Iterator[ClipEvaluated]:
    """Run the clips that the file does not have."""
    first_error: DatasetError | None = None
    for number, clip in enumerate(data.clips, start=1):
        if clip.video not in file.done:
            began = perf_counter()
            try:
                found, frames = detect_clip(detector, clip, plan)
            except DatasetError as error:
                first_error = first_error or error
                file.add_failure(clip.video, str(error))
            else:
                file.add(clip.video, found, frames, perf_counter() - began)
        yield ClipEvaluated(clip.video, number, len(data.clips))
    if first_error and all(clip.failure for clip in file.done.values()):
        raise first_error


def _settings(detector: Detector, data: AnnotatedDataset, plan: RunPlan) -> dict[str, object]:
    """What rows depend on: those of one evaluation agree in it."""
    return {
        "weights": detector.weights_sha256,
        "detector": detector.description,
        "device": detector.device_name,
        "data": f"{data.name}, split {data.split}, part {data.part}",
        "data_sha256": data.sha256,
        "boxes": "all" if plan.rule == ALL_BOXES else "the best of each frame",
        "batch_size": plan.batch_size,
        "link": plan.link,
        "flow_images": str(plan.flow_images) if plan.flow_images else None,
    }


def _source(detector: Detector, data: AnnotatedDataset, plan: RunPlan, file: RowsFile) -> Source:
    all_boxes = _ALL_BOXES_NOTE if plan.rule == ALL_BOXES else ""
    return Source(
        description=detector.description + all_boxes + ("; linked into tubes" if plan.link else ""),
        weights_sha256=detector.weights_sha256,
        unnameable=tuple(name for name in data.class_names if name not in detector.class_names),
        batch_size=plan.batch_size,
        frames_per_second=file.frames_per_second,
        device=detector.device_name,
        precision=detector.precision,
        decoded_frames={
            clip.video: file.done[clip.video].frames
            for clip in data.clips
            if file.done[clip.video].frames != clip.frames
        },
        failed_clips={clip.video: clip.failure for clip in file.done.values() if clip.failure},
    )


def detect_rows(detector: Detector, data: AnnotatedDataset) -> pd.DataFrame:
    """The best box of every frame of all clips, as rows; DatasetError as `detect_clip`."""
    plan = RunPlan(rule=BEST_BOX, link=False)
    return rows_table(row for clip in data.clips for row in detect_clip(detector, clip, plan)[0])


def detect_clip(
    detector: Detector, clip: AnnotatedClip, plan: RunPlan
) -> tuple[list[tuple[object, ...]], int]:
    """The rows of the annotated frames of a clip, in the order of `ROW_COLUMNS`.

    Returns:
        The rows, and the number of frames that were decoded.

    Raises:
        DatasetError: for a clip that can't be read, or is not the annotated one by its size or its
            length (`agreed_length`).
    """
    rows: list[tuple[object, ...]] = []
    frames = 0
    try:
        with VideoReader(clip.path) as reader:
            size = (reader.info.width, reader.info.height)
        if size != (clip.width, clip.height):
            raise DatasetError(
                f"{clip.path}: annotated are frames of {clip.width}x{clip.height}, found "
                f"{size[0]}x{size[1]}"
            )
        for found in detect_video(
            clip.path,
            detector,
            rule=plan.rule,
            batch_size=plan.batch_size,
            link=plan.link,
            flow_images=plan.flow_images and flow_folder(plan.flow_images, clip),
        ):
            frames += 1
            if found.frame < clip.frames:
                for box in found.detections:
                    place = (clip.video, found.frame, box.tube)
                    rows.append((*place, box.label, box.score, *box.box_xyxy))
    except VideoError as error:
        raise DatasetError(f"{clip.video}: a clip of the data set is bad: {error}") from error
    agreed_length(clip, frames)
    return rows, frames
