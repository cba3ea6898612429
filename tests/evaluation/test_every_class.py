"""Every box under every class, and the best box among them, out of one run of the network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import write_video
from tubedet.boxes import nms_xyxy
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.detections import Detection
from tubedet.errors import UsageError
from tubedet.evaluation.detection_rows import best_of_each_frame, rows_table
from tubedet.evaluation.evaluate import (
    BEST_BOX,
    EVERY_CLASS,
    detect_clip,
    evaluate_detector,
    ranking_score,
)
from tubedet.evaluation.scoring import EvaluationResult, Protocol
from tubedet.models.yolov2.box_decoding import DecodedBoxes
from tubedet.run.plan import RunPlan
from tubedet.runtime.detector import PairPrediction, PairTask, StepPrediction, StreamState
from tubedet.tubes.best_box import SelectionRule, select_boxes

NAMES = ("dive", "run", "walk")
FRAMES, WIDTH, HEIGHT, CANDIDATES = 6, 64, 48, 40
RULE = SelectionRule(0.1, max_boxes=None, nms_iou=0.3, every_class=True)
# Scores by class: 0.4 0.2 0.2; 0 0.5 0; 0.225 0.45 0.225, a pixel below the others.
BOXES = np.array([(10, 10, 20, 20), (10, 10, 20, 20), (10, 11, 20, 21)], dtype=np.float32)
OVERLAP = np.array([0.8, 0.5, 0.9], dtype=np.float32)
CLASS_PROB = np.array([(0.5, 0.25, 0.25), (0, 1, 0), (0.25, 0.5, 0.25)], dtype=np.float32)


class UnsureDetector(ScriptedDetector):
    """Forty boxes a frame with a probability of each class; frame 2 has hardly any overlap."""

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        self.batch_sizes.append(clip.shape[0])
        return [PairPrediction(torch.tensor(sum(self.batch_sizes) - 1))], None  # one a batch

    def decode(
        self, prediction: PairPrediction, window: Sequence[StepPrediction] = ()
    ) -> DecodedBoxes:
        assert prediction.raw is not None
        number = int(prediction.raw)
        rng = np.random.default_rng(number)
        corners = rng.random((CANDIDATES, 2)) * 0.5
        boxes = np.concatenate([corners, corners + 0.1 + 0.4 * rng.random((CANDIDATES, 2))], axis=1)
        overlap = rng.random(CANDIDATES) * (0.004 if number == 2 else 0.9)
        class_prob = rng.dirichlet([0.5] * len(self.class_names), CANDIDATES)
        found = (torch.from_numpy(each).float()[None] for each in (boxes, overlap, class_prob))
        return DecodedBoxes(*found)


@pytest.fixture
def data(tmp_path: Path) -> AnnotatedDataset:
    path = write_video(tmp_path / "a.avi", frames=FRAMES, width=WIDTH, height=HEIGHT)
    boxes = ((LabelledBox(1, (4.0, 4.0, 30.0, 30.0)),),) * FRAMES
    clip = AnnotatedClip("a", path, 1, "a", WIDTH, HEIGHT, boxes)
    return AnnotatedDataset("d", 1, "test", NAMES, (clip,))


def test_a_box_stands_under_every_class_and_is_suppressed_within_each() -> None:
    found = select_boxes(BOXES, OVERLAP, CLASS_PROB, NAMES, RULE)

    assert [(box.label, box.class_index, box.box_xyxy[1]) for box in found] == [
        ("run", 1, 10.0),
        ("dive", 0, 10.0),
        ("walk", 2, 11.0),
    ]
    assert [box.score for box in found] == pytest.approx([0.5, 0.4, 0.225])
    assert [box.class_scores[box.class_index] for box in found] == [box.score for box in found]


def test_at_most_so_many_are_kept_of_all_classes_together() -> None:
    few = SelectionRule(0.1, max_boxes=2, nms_iou=0.3, every_class=True)

    found = select_boxes(BOXES, OVERLAP, CLASS_PROB, NAMES, few)

    assert [box.label for box in found] == ["run", "dive"]


def test_the_best_box_of_a_frame_is_there_whatever_its_score() -> None:
    high = SelectionRule(0.6, max_boxes=None, nms_iou=0.3, every_class=True)

    assert select_boxes(BOXES, OVERLAP, CLASS_PROB, NAMES, high) == select_boxes(
        BOXES, OVERLAP, CLASS_PROB, NAMES, BEST_BOX
    )
    assert select_boxes(BOXES, OVERLAP * 0, CLASS_PROB, NAMES, high)[0].score == 0
    assert select_boxes(BOXES[:0], OVERLAP[:0], CLASS_PROB[:0], NAMES, high) == ()


@pytest.mark.parametrize("seed", range(5))
def test_random_boxes_agree_with_one_class_after_the_other(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.random((50, 2)) * 30
    boxes = np.concatenate([corners, corners + 5 + 20 * rng.random((50, 2))], axis=1)
    overlap, class_prob = rng.random(50), rng.dirichlet([0.5] * 3, 50)
    expected = []
    for index, name in enumerate(NAMES):
        scores = overlap * class_prob[:, index]
        passing = np.flatnonzero(scores >= 0.1)
        for kept in passing[nms_xyxy(boxes[passing], scores[passing], 0.3)]:
            expected.append((float(scores[kept]), name, tuple(boxes[kept].tolist())))

    found = select_boxes(boxes, overlap, class_prob, NAMES, RULE)

    assert [(box.score, box.label, box.box_xyxy) for box in found] == sorted(
        expected, key=lambda row: -row[0]
    )


def test_one_run_gives_the_rows_of_the_best_boxes_to_the_last_bit(data: AnnotatedDataset) -> None:
    (clip,) = data.clips
    best, every = (
        detect_clip(UnsureDetector(class_names=NAMES), clip, RunPlan(rule=rule, link=False))[0]
        for rule in (BEST_BOX, EVERY_CLASS)
    )

    assert len(best) == FRAMES < len(every)
    assert [row for row in best if row[1] == 2] == [row for row in every if row[1] == 2]
    among = best_of_each_frame(rows_table(every)).sort_values("frame")
    assert among.drop(columns="tube").to_numpy().tolist() == [[*row[:2], *row[3:]] for row in best]


def test_both_f_maps_come_of_one_run_each_with_its_rule(data: AnnotatedDataset) -> None:
    detector = UnsureDetector(class_names=NAMES)

    *_, alone = evaluate_detector(UnsureDetector(class_names=NAMES), data)
    *_, result = evaluate_detector(detector, data, Protocol(all_classes=True))

    assert isinstance(alone, EvaluationResult)
    assert isinstance(result, EvaluationResult)
    assert sum(detector.batch_sizes) == FRAMES
    figures, before = result.to_dict(), alone.to_dict()
    rate = "frames_per_second"
    assert {**figures, "all_classes": None, rate: None} == {**before, rate: None}
    assert figures["all_classes"]["f_map"]["0.2"] > figures["f_map"]["0.2"]
    assert "annotated frames, one box a frame; rule tubedet: VOC" in figures["protocol"]
    assert (
        "annotated frames, every box under every class, scores from 0.005, suppressed in each "
        "class at IoU 0.3, the best 100 a frame; rule tubedet: VOC"
    ) in figures["all_classes"]["protocol"]
    assert figures["f_map_interval"] is figures["intervals"] is None  # of one source


def test_linked_boxes_have_no_other_classes(data: AnnotatedDataset) -> None:
    with pytest.raises(UsageError, match="a linked box has the one class of its tube"):
        list(evaluate_detector(UnsureDetector(), data, Protocol(all_classes=True), link=True))


def test_boxes_are_ranked_by_overlap_times_probability_whatever_score_is_shown() -> None:
    shown = Detection("run", 1, 0.9, (0, 0, 1, 1), class_scores=(0.1, 0.3))

    assert ranking_score(shown) == 0.3
    assert ranking_score(Detection("run", 1, 0.9, (0, 0, 1, 1))) == 0.9
    # Its tube's class is another than its own best, which class_scores do not know.
    assert ranking_score(Detection("run", 1, 0.9, (0, 0, 1, 1), 4, (0.8, 0.3))) == 0.9
