"""Run a detector over a part of a data set and measure its boxes against the annotation.

Frames take the same way as in `tubedet detect`: decoded, paired, stretched. Kept is one box a
frame, of whatever score, and on request every box under every class, as others compute frame-mAP.
Nothing is linked over time, unless it is asked for; boxes are smoothed where `detect` does that.

What others keep, read from their code. ACT (Kalogeiton et al. 2017; `ACT.py`): every class's score
from 0.01, suppressed within its class at IoU 0.3 in each frame. MOC (`decode.py`, `ACT_build.py`):
the 100 best scores over all classes; the lesser of two of a class that overlap by more than 0.6 is
lowered, not dropped. YOWO (`core/optimization.py`): from 0.005, suppressed across classes at 0.4,
all of a box's scores under its best class. `EVERY_CLASS` takes ACT's way, with YOWO's floor, the
lowest, and MOC's number.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, agreed_length
from tubedet.datasets.flow_images import flow_folder
from tubedet.detections import Detection
from tubedet.errors import DatasetError, UsageError, VideoError
from tubedet.evaluation.detection_rows import rows_table
from tubedet.evaluation.rows_file import RowsFile, sole_writer
from tubedet.evaluation.scoring import EvaluationResult, Protocol, Source, score_rows
from tubedet.pipeline import detect_video
from tubedet.run.plan import RunPlan
from tubedet.runtime.detector import Detector
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.reader import VideoReader

BEST_BOX = SelectionRule(min_score=0.0, max_boxes=1)
# The box with the best product of overlap and class is the first of these: one run gives both
# figures. Of `light`, which picks by overlap alone and lets the boxes of other frames vote, the
# figure of one box is up to half a point off that of a run for one box.
EVERY_CLASS = SelectionRule(min_score=0.005, max_boxes=100, nms_iou=0.3, every_class=True)
_EVERY_CLASS_ROWS = (
    f"every box under every class, scores from {EVERY_CLASS.min_score}, suppressed in each class "
    f"at IoU {EVERY_CLASS.nms_iou}, the best {EVERY_CLASS.max_boxes} a frame"
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
    smooth: bool = True,
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
        smooth: steady boxes over time, where the detector looks around a frame.
        flow_images: folder of stored flow, for the `brox` preset alone.
        rows: where the rows are kept, see `rows_file`; None: nowhere.
        resume: go on with what `rows` has.

    Raises:
        DatasetError: if no clip can be run, and for a part without any annotated frame.
        UsageError: as `RowsFile`; for all classes of linked boxes, whose tubes have one each.
        OutputError: as `RowsFile`, and if another evaluation writes to `rows`.
    """
    protocol = protocol or Protocol()
    if protocol.all_classes and link:
        raise UsageError("a linked box has the one class of its tube: leave out links or classes")
    rule = EVERY_CLASS if protocol.all_classes else BEST_BOX
    plan = RunPlan(
        rule=rule, batch_size=batch_size, link=link, smooth=smooth, flow_images=flow_images
    )
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
        "boxes": _EVERY_CLASS_ROWS if plan.rule == EVERY_CLASS else "the best of each frame",
        "batch_size": plan.batch_size,
        "link": plan.link,
        "smooth": plan.smooth,
        "flow_images": str(plan.flow_images) if plan.flow_images else None,
    }


def _source(detector: Detector, data: AnnotatedDataset, plan: RunPlan, file: RowsFile) -> Source:
    return Source(
        description=detector.description + ("; linked into tubes" if plan.link else ""),
        all_rows=_EVERY_CLASS_ROWS,
        best_first=True,
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


def ranking_score(box: Detection) -> float:
    """What detections are ranked by: overlap × probability of the class, whatever score is shown.

    A linked box has the class of its tube, which only its score knows of.
    """
    if box.class_scores and box.tube is None:
        return box.class_scores[box.class_index]
    return box.score


def shown_score(box: Detection) -> float:
    """What `--min-score` goes by."""
    return box.score


def detect_rows(detector: Detector, data: AnnotatedDataset) -> pd.DataFrame:
    """The best box of every frame of all clips, as rows with the score that users see.

    Raises:
        DatasetError: as `detect_clip`.
    """
    plan = RunPlan(rule=BEST_BOX, link=False)
    of_clips = (detect_clip(detector, clip, plan, score=shown_score)[0] for clip in data.clips)
    return rows_table(row for rows in of_clips for row in rows)


def detect_clip(
    detector: Detector,
    clip: AnnotatedClip,
    plan: RunPlan,
    *,
    score: Callable[[Detection], float] = ranking_score,
) -> tuple[list[tuple[object, ...]], int]:
    """The rows of the annotated frames of a clip, in the order of `ROW_COLUMNS`.

    Args:
        detector: from `load_detector`.
        clip: to run.
        plan: how boxes are picked.
        score: of the rows.

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
            smooth=plan.smooth,
            flow_images=plan.flow_images and flow_folder(plan.flow_images, clip),
        ):
            frames += 1
            if found.frame < clip.frames:
                for box in found.detections:
                    place = (clip.video, found.frame, box.tube)
                    rows.append((*place, box.label, score(box), *box.box_xyxy))
    except VideoError as error:
        raise DatasetError(f"{clip.video}: a clip of the data set is bad: {error}") from error
    agreed_length(clip, frames)
    return rows, frames
