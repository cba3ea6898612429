"""The best and the worst frames of a class."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.drawn_jhmdb import draw_jhmdb
from tests.synthetic_video import draw_picture, square_xyxy
from tubedet.datasets.annotated_clips import AnnotatedClip, LabelledBox
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.detections import Detection
from tubedet.errors import OutputError
from tubedet.evaluation.detection_rows import rows_table
from tubedet.evaluation.frame_outcomes import FrameOutcome
from tubedet.evaluation.outcome_pictures import best_and_worst, write_best_and_worst
from tubedet.evaluation.scoring import EvaluationResult, Protocol, Source, score_rows

TRUTH = (LabelledBox(0, (0.0, 0.0, 4.0, 4.0)),)


def outcome(video: str, frame: int, kind: str, score: float, iou: float) -> FrameOutcome:
    clip = AnnotatedClip(video, Path(video), 0, "a", 8, 8, (TRUTH,) * 9)
    found = None if kind == "missed" else Detection("walk", 0, score, (0, 0, 4, 4))
    return FrameOutcome(clip, frame, TRUTH, found, kind, iou)


def names_of(outcomes: list[FrameOutcome]) -> list[tuple[str, int]]:
    return [(outcome.clip.video, outcome.frame) for outcome in outcomes]


def test_the_best_fit_best_the_worst_are_surest_and_wrong_and_no_clip_comes_twice() -> None:
    outcomes = [
        outcome("a", 0, "right", 0.2, 0.9),
        outcome("a", 1, "right", 0.9, 0.8),
        outcome("b", 0, "right", 0.1, 0.95),
        outcome("b", 1, "background", 0.4, 0.0),
        outcome("b", 2, "classification", 0.6, 0.0),
        outcome("c", 0, "localisation", 0.5, 0.3),
        outcome("d", 0, "missed", 0.0, 0.0),
    ]

    best, worst = best_and_worst(outcomes, 3)

    assert names_of(best) == [("b", 0), ("a", 0)]
    assert names_of(worst) == [("b", 2), ("c", 0), ("d", 0)]
    assert [names_of(few) for few in best_and_worst(outcomes, 1)] == [[("b", 0)], [("b", 2)]]


@pytest.fixture
def result(tmp_path: Path) -> EvaluationResult:
    """Walking is found in one clip of two, running in none."""
    data = load_jhmdb_21(draw_jhmdb(tmp_path, {"walk": ["a", "b"], "run": ["c"]}), part="test")
    walks = [clip.video for clip in data.clips if clip.video.startswith("walk")]
    boxes = [square_xyxy(2, 64, 48), (40, 30, 60, 47)]
    rows = rows_table(
        (video, 2, None, "walk", 0.9, *box) for video, box in zip(walks, boxes, strict=True)
    )
    return score_rows(rows, data, Source("made"), Protocol())


def test_sheets_show_the_frames_with_their_boxes(result: EvaluationResult, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pictures"

    written = list(write_best_and_worst(result, 4, folder))

    names = [path.name for path in written]
    assert names == ["run.worst.png", "walk.best.png", "walk.worst.png"]
    best, worst = (cv2.imread(str(folder / name)) for name in names[1:])
    assert best is not None
    assert worst is not None
    assert best.shape == (48, 64, 3)
    assert worst.shape == (48, 2 * 64 + 4, 3)  # the wrong box, and the first frame without one
    plain = draw_picture(2, 64, 48)[..., ::-1]
    inside = np.s_[22:26, 10:12]  # of the square, away from lines and tags
    assert (best[inside] == plain[inside]).all()
    assert (best != plain).any()


def test_frames_that_did_not_decode_are_not_shown(result: EvaluationResult, tmp_path: Path) -> None:
    (clip,) = (clip for clip in result.data.clips if clip.video.startswith("run"))
    longer = replace(clip, boxes_by_frame=((), (), (), (), clip.boxes_by_frame[0]))
    source = replace(result.source, decoded_frames={clip.video: 4})
    data = replace(result.data, clips=(longer,))

    written = write_best_and_worst(replace(result, data=data, source=source), 4, tmp_path / "p")

    assert list(written) == []


def test_a_folder_that_cannot_be_made_is_named(result: EvaluationResult, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="cannot make the folder"):
        list(write_best_and_worst(result, 1, tmp_path / "file" / "pictures"))
