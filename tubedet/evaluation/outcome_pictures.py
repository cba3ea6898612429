"""Figure 3 of the paper: frames with the true box and what was found, the best and the worst."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.clip_frames import decode_clip
from tubedet.detections import Detection
from tubedet.errors import OutputError
from tubedet.evaluation.frame_outcomes import FrameOutcome, frame_outcomes
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.render.annotate import annotate
from tubedet.render.contact_sheet import contact_sheet, write_picture

COLUMNS = 4


def write_best_and_worst(result: EvaluationResult, number: int, folder: Path) -> Iterator[Path]:
    """Two sheets a class, CLASS.best.png and CLASS.worst.png; none for a kind that doesn't occur.

    Clips whose video isn't there, and frames that did not decode, are left out. The sheets show the
    data set's footage: mind its licence before they are passed on.

    Args:
        result: whose rows are drawn.
        number: of frames of each kind; fewer where a class has fewer clips.
        folder: made if absent.

    Raises:
        DatasetError: if a clip can't be read.
        OutputError: if a picture can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot make the folder: {error}") from error
    there = tuple(clip for clip in result.data.clips if clip.path.exists())
    data, decoded = replace(result.data, clips=there), result.source.decoded_frames
    seen = (
        outcome
        for outcome in frame_outcomes(result.rows, data)
        if outcome.frame < decoded.get(outcome.clip.video, outcome.clip.frames)
    )
    for label, outcomes in _by_class(data, seen):
        for kind, chosen in zip(("best", "worst"), best_and_worst(outcomes, number), strict=True):
            if chosen:
                path = folder / f"{label}.{kind}.png"
                write_picture(path, contact_sheet([draw(outcome) for outcome in chosen], COLUMNS))
                yield path


def best_and_worst(
    outcomes: Sequence[FrameOutcome], number: int
) -> tuple[list[FrameOutcome], list[FrameOutcome]]:
    """The best and the worst frames, one a clip, as frames of a clip look alike.

    The best have a right action and the highest IoU; the worst are wrong, the highest scores first:
    those that a threshold would not hide.
    """
    right = [outcome for outcome in outcomes if outcome.action_right]
    best = sorted(right, key=lambda o: (-o.iou, -_score(o)))
    wrong = [outcome for outcome in outcomes if not outcome.action_right]
    worst = sorted(wrong, key=lambda o: -_score(o))
    return _one_a_clip(best)[:number], _one_a_clip(worst)[:number]


def draw(outcome: FrameOutcome) -> NDArray[np.uint8]:
    """The frame (H, W, 3) with the true boxes, tagged "truth", under the one that was found."""
    found = [outcome.found] if outcome.found else []
    truth = [Detection("truth", box.class_index, 1.0, box.box_xyxy) for box in outcome.truth]
    return annotate(decode_clip(outcome.clip)[outcome.frame], [*found, *truth])


def _score(outcome: FrameOutcome) -> float:
    return outcome.found.score if outcome.found else 0.0


def _one_a_clip(outcomes: Iterable[FrameOutcome]) -> list[FrameOutcome]:
    first: dict[str, FrameOutcome] = {}
    for outcome in outcomes:
        first.setdefault(outcome.clip.video, outcome)
    return list(first.values())


def _by_class(
    data: AnnotatedDataset, outcomes: Iterable[FrameOutcome]
) -> Iterator[tuple[str, list[FrameOutcome]]]:
    of_class: dict[int, list[FrameOutcome]] = {}
    for outcome in outcomes:
        of_class.setdefault(outcome.clip.class_index, []).append(outcome)
    for index in sorted(of_class):
        yield data.class_names[index], of_class[index]
