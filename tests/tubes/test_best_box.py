from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tubedet.detections import Detection
from tubedet.errors import UsageError
from tubedet.tubes.best_box import SelectionRule, select_boxes

CLASSES = ("dive", "run", "walk")
ALL_BOXES = SelectionRule(0.1, max_boxes=None)

Box = tuple[float, float, float, float]
FloatArray = NDArray[np.float32]


def _candidates(
    *rows: tuple[Box, float, tuple[float, float, float]],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Box, overlap and class probabilities of every candidate, as the network gives them."""
    boxes, overlap, class_prob = zip(*rows, strict=True)
    return (
        np.array(boxes, dtype=np.float32),
        np.array(overlap, dtype=np.float32),
        np.array(class_prob, dtype=np.float32),
    )


def _select(
    rule: SelectionRule, *rows: tuple[Box, float, tuple[float, float, float]]
) -> tuple[Detection, ...]:
    return select_boxes(*_candidates(*rows), CLASSES, rule)


# Scores 0.8·0.5 = 0.4 dive, 0.5·1.0 = 0.5 run, 0.9·0.5 = 0.45 run (shifted by one pixel).
SCENE: tuple[tuple[Box, float, tuple[float, float, float]], ...] = (
    ((10, 10, 20, 20), 0.8, (0.5, 0.25, 0.25)),
    ((10, 10, 20, 20), 0.5, (0.0, 1.0, 0.0)),
    ((10, 11, 20, 21), 0.9, (0.25, 0.5, 0.25)),
)


def test_the_papers_rule_keeps_the_highest_overlap_times_probability() -> None:
    assert _select(SelectionRule(0.1), *SCENE) == (
        Detection("run", 1, 0.5, (10.0, 10.0, 20.0, 20.0)),
    )


def test_by_overlap_the_box_that_fits_best_is_kept_whatever_it_is_called() -> None:
    (found,) = _select(SelectionRule(0.1, score="overlap"), *SCENE)
    assert (found.label, found.box_xyxy) == ("run", (10, 11, 20, 21))
    assert found.score == pytest.approx(0.9)
    (none_above,) = _select(SelectionRule(0.85, score="overlap"), *SCENE)
    assert none_above == found
    nan = ((1, 1, 5, 5), 0.95, (float("nan"), 0.0, 0.0))
    assert _select(SelectionRule(0.1, score="overlap"), *SCENE, nan) == (found,)


def test_all_boxes_are_suppressed_within_a_class_and_not_across() -> None:
    found = _select(ALL_BOXES, *SCENE)
    assert [box.label for box in found] == ["run", "dive"]
    assert [box.score for box in found] == pytest.approx([0.5, 0.4])


def test_without_suppression_every_box_is_there_best_first() -> None:
    found = _select(SelectionRule(0.1, max_boxes=None, nms_iou=None), *SCENE)
    assert [box.score for box in found] == pytest.approx([0.5, 0.45, 0.4])


def test_two_boxes_are_the_two_best_that_survive_suppression() -> None:
    found = _select(SelectionRule(0.1, max_boxes=2), *SCENE)
    assert [box.label for box in found] == ["run", "dive"]


def test_a_lower_iou_of_suppression_drops_what_a_higher_one_keeps() -> None:
    # The third box moved: it shares 5 of 15 rows with the second, an IoU of 1/3.
    rows = (*SCENE[:2], ((10.0, 15.0, 20.0, 25.0), *SCENE[2][1:]))
    kept = [
        len(_select(SelectionRule(0.1, max_boxes=None, nms_iou=iou), *rows)) for iou in (0.3, 0.4)
    ]
    assert kept == [2, 3]


@pytest.mark.parametrize("wanted", ["dive", "run", "walk"])
@pytest.mark.parametrize("max_boxes", [1, 2, None])
@pytest.mark.parametrize("nms_iou", [0.45, None])
def test_a_class_filter_leaves_out_what_has_another_label_and_changes_nothing_else(
    wanted: str, max_boxes: int | None, nms_iou: float | None
) -> None:
    rule = SelectionRule(0.1, max_boxes=max_boxes, nms_iou=nms_iou)
    everything = _select(rule, *SCENE)
    found = _select(replace(rule, classes=frozenset({wanted})), *SCENE)
    assert found == tuple(box for box in everything if box.label == wanted)


def test_a_class_filter_does_not_promote_the_runner_up() -> None:
    """The best box runs: with the paper's one box a frame there is none that dives."""
    others = frozenset({"dive", "walk"})
    assert _select(SelectionRule(0.1, classes=others), *SCENE) == ()
    (dive,) = _select(SelectionRule(0.1, classes=others, max_boxes=2), *SCENE)
    assert dive.label == "dive"
    assert dive.score == pytest.approx(0.4)


def test_a_score_at_the_threshold_passes_and_one_below_does_not() -> None:
    rows = (((0.0, 0.0, 4.0, 4.0), 0.5, (0.5, 0.25, 0.25)),)
    assert len(_select(SelectionRule(0.25), *rows)) == 1
    assert _select(SelectionRule(0.2500001), *rows) == ()


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_score_that_is_not_finite_never_passes(broken: float, probability: float) -> None:
    everything = SelectionRule(-np.inf, max_boxes=None)
    rows = (((0.0, 0.0, 4.0, 4.0), broken, (probability, 0.0, 0.0)), SCENE[0])
    assert [box.score for box in _select(everything, *rows)] == pytest.approx([0.4])


def test_a_class_probability_that_is_not_a_number_never_passes() -> None:
    rows = (((0.0, 0.0, 4.0, 4.0), 1.0, (0.9, np.nan, 0.1)),)
    assert _select(ALL_BOXES, *rows) == ()


@pytest.mark.parametrize(
    "hollow", [(3.0, 0.0, 3.0, 4.0), (0.0, 4.0, 3.0, 1.0), (0.0, 0.0, np.nan, 4.0)]
)
def test_a_box_without_area_gives_way_to_the_next_best(hollow: Box) -> None:
    found = _select(SelectionRule(0.1), (hollow, 1.0, (0.0, 0.0, 1.0)), *SCENE)
    assert [box.label for box in found] == ["run"]


def test_ties_keep_the_networks_order() -> None:
    lefts = [float(8 * (7 * i % 40)) for i in range(40)]
    found = _select(ALL_BOXES, *(((x, 0.0, x + 4, 4.0), 0.5, (0.0, 0.0, 1.0)) for x in lefts))
    assert [box.box_xyxy[0] for box in found] == lefts


@pytest.mark.parametrize("rule", [SelectionRule(0.0), ALL_BOXES])
def test_a_frame_without_candidates_has_no_detection(rule: SelectionRule) -> None:
    assert select_boxes(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 3)), CLASSES, rule) == ()


def test_the_detections_are_plain_python() -> None:
    (box,) = _select(SelectionRule(0.1), *SCENE)
    kinds = [type(value) for value in (box.class_index, box.score, *box.box_xyxy)]
    assert kinds == [int, float, float, float, float, float]


def test_zero_boxes_a_frame_are_refused() -> None:
    with pytest.raises(UsageError, match="found 0"):
        SelectionRule(0.1, max_boxes=0)


@pytest.mark.parametrize("iou", [-0.1, 1.1, np.nan])
def test_an_iou_of_suppression_outside_0_to_1_is_refused(iou: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        SelectionRule(0.1, nms_iou=iou)
