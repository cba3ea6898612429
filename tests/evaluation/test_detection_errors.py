"""The kinds of errors on boxes worked out by hand."""

import pytest

from tests.toy_example import detections_of, toy_tables, truth_of
from tubedet.evaluation.detection_errors import error_breakdown, judged
from tubedet.evaluation.frame_map import frame_map, on_annotated_frames

TRUTH = [("v", 0, 0, 0, 0, 10, 10), ("v", 0, 1, 50, 0, 60, 10), ("v", 1, 0, 0, 0, 10, 10)]


@pytest.mark.parametrize(
    ("class_index", "box", "kind", "iou"),
    [
        (0, (0, 0, 10, 10), "right", 1.0),
        (0, (0, 0, 10, 5), "right", 0.5),
        (0, (0, 0, 10, 4), "localisation", 0.4),
        (0, (0, 0, 10, 1), "localisation", 0.1),
        (0, (0, 0, 10, 0.9), "background", 0.09),
        (1, (0, 0, 10, 10), "classification", 0.0),
        (1, (0, 0, 10, 4), "background", 0.0),
        (-1, (50, 0, 60, 10), "classification", 0.0),
        (0, (80, 80, 90, 90), "background", 0.0),
    ],
)
def test_a_single_box_is_of_one_kind(
    class_index: int, box: tuple[float, ...], kind: str, iou: float
) -> None:
    (row,) = judged(detections_of([("v", 0, class_index, 0.5, *box)]), truth_of(TRUTH)).itertuples()

    assert row.kind == kind
    assert row.iou == pytest.approx(iou)


def test_a_second_box_on_an_actor_is_a_duplicate_and_what_nobody_took_is_missed() -> None:
    boxes = [("v", 0, 0, score, 0, 0, 10, 10) for score in (0.3, 0.9)]
    detections = detections_of([*boxes, ("v", 0, 0, 0.1, 30, 30, 40, 40)])

    found = error_breakdown(detections, truth_of(TRUTH)).to_dict()

    assert found["counts"] == {
        "right": 1, "duplicate": 1, "classification": 0, "localisation": 0, "background": 1,
        "missed": 2,
    }  # fmt: skip
    assert found["shares"]["duplicate"] == pytest.approx(1 / 3)
    assert found["shares"]["missed"] == pytest.approx(2 / 3)
    assert judged(detections, truth_of(TRUTH))["score"].tolist() == [0.9, 0.3, 0.1]


def test_right_ones_are_those_that_the_map_counts() -> None:
    detections, truth = toy_tables()
    detections = on_annotated_frames(detections, truth)

    breakdown = error_breakdown(detections, truth)

    (at,) = frame_map(detections, truth, [0.5])
    hits = sum(curve.recall[-1] * curve.ground_truths for curve in at.curves.values())
    assert breakdown.detections["right"] == hits == 4
    assert sum(breakdown.detections.values()) == len(detections)


def test_nothing_found_is_all_missed() -> None:
    found = error_breakdown(detections_of([]), truth_of(TRUTH)).to_dict()

    assert found["counts"]["missed"] == 3
    assert set(found["shares"].values()) == {0.0, 1.0}
