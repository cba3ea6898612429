from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.scripted_run import TellingDetector, pictures_of, telling_video
from tubedet.datasets.annotated_clips import AnnotatedClip, LabelledBox
from tubedet.detections import Detection
from tubedet.evaluation.false_alarms import best_scores, threshold_table
from tubedet.evaluation.frame_outcomes import FrameOutcome
from tubedet.pipeline import detect_video
from tubedet.runtime.detector import TemporalReach
from tubedet.tubes.best_box import SelectionRule

TRUTH = (LabelledBox(0, (0.0, 0.0, 4.0, 4.0)),)
CLIP = AnnotatedClip("a", Path("a"), 0, "a", 8, 8, (TRUTH,))


def pictures(count: int) -> list[NDArray[np.uint8]]:
    return [np.zeros((48, 64, 3), dtype=np.uint8)] * count


def outcome(
    score: float | None, *, right: bool, truth: tuple[LabelledBox, ...] = TRUTH
) -> FrameOutcome:
    found = None if score is None else Detection("walk", 0, score, (0, 0, 4, 4))
    kind = "missed" if found is None else "right" if right else "background"
    return FrameOutcome(CLIP, 0, truth, found, kind, iou=float(right))


def test_the_best_score_of_every_frame_is_kept() -> None:
    low, high = ScriptedBox(0, 0, 0.5, 0.5, score=0.2), ScriptedBox(0, 0, 0.5, 0.5, 1, score=0.7)

    scores = best_scores(ScriptedDetector(script=[(low, high), (), (low,)]), pictures(3))

    assert scores.tolist() == pytest.approx([0.7, 0.0, 0.2])


def test_a_detector_with_a_memory_is_asked_as_in_a_video_and_by_overlap(tmp_path: Path) -> None:
    temporal = TemporalReach(1 / 15, 3, 0.2, 0.15)
    video = telling_video(tmp_path / "clip.mp4", frames=20, fps=Fraction(30))

    scores = best_scores(TellingDetector(temporal), pictures_of(video))

    rule = SelectionRule(min_score=0)
    settings: dict[str, Any] = {"rule": rule, "link": False}
    found = detect_video(video, TellingDetector(temporal), **settings)
    of_boxes = [max((box.score for box in each.detections), default=0) for each in found]
    assert [score for score, box in zip(scores, of_boxes, strict=True) if box] == pytest.approx(
        [box for box in of_boxes if box]
    )
    assert sum(map(bool, of_boxes)) > 15


def test_a_threshold_trades_recall_for_precision_and_silence() -> None:
    outcomes = [
        outcome(0.9, right=True),
        outcome(0.5, right=False),
        outcome(0.3, right=True, truth=TRUTH * 2),
        outcome(None, right=False),
    ]

    low, middle, high = threshold_table(outcomes, np.array([0.5, 0.1, 0.2, 0.1]), (0.3, 0.5, 0.95))

    assert (low.precision, low.recall) == (2 / 3, 2 / 5)  # five true boxes in four frames
    assert (middle.precision, middle.recall) == (1 / 2, 1 / 5)
    assert (high.precision, high.recall) == (None, 0)
    assert [row.alarms_a_minute for row in (low, middle, high)] == [450, 450, 0]


def test_without_frames_of_either_kind_there_is_no_table() -> None:
    with pytest.raises(ValueError, match="no annotated frame, or no actor-free one"):
        threshold_table([], np.array([0.1]), (0.5,))
    with pytest.raises(ValueError, match="no annotated frame, or no actor-free one"):
        threshold_table([outcome(0.9, right=True)], np.array([]), (0.5,))
