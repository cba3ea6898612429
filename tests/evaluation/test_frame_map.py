"""f-mAP against published numbers, a slow twin and cases done by hand."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest

from tests.golden import reference_json
from tests.toy_example import Row, detections_of, toy_tables, truth_of
from tubedet.boxes import iou_xyxy
from tubedet.errors import DatasetError
from tubedet.evaluation.frame_map import (
    boxes_right,
    frame_map,
    on_annotated_frames,
)

THRESHOLDS = (0.2, 0.5, 0.75)


def best_of_each_frame(detections: pd.DataFrame) -> pd.DataFrame:
    ranked = detections.sort_values("score", ascending=False)
    return ranked.drop_duplicates(["video", "frame"])


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_toy_example_gives_the_published_figures(threshold: float) -> None:
    expected = reference_json("toy_eval.json")["results"][str(threshold)]
    expected = expected["plus1=False,rule=remove"]["voc_all_points"]

    (found,) = frame_map(*toy_tables(), [threshold])

    per_class = [found.curves[k].average_precision for k in sorted(found.curves)]
    assert per_class == pytest.approx(expected["per_class"], abs=1e-6)
    assert found.mean == pytest.approx(expected["mean"], abs=1e-6)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_the_best_box_of_each_frame_gives_the_published_top_1_figures(threshold: float) -> None:
    toy = reference_json("toy_eval.json")
    detections, truth = toy_tables()
    best = best_of_each_frame(detections)

    (all_frames,) = frame_map(best, truth, [threshold])
    (trimmed,) = frame_map(on_annotated_frames(best, truth), truth, [threshold])

    key = "paper_rule_top1_per_frame"
    assert all_frames.mean == pytest.approx(toy[key][str(threshold)]["mean"], abs=1e-6)
    key += "_trimmed_only_annotated_frames"
    assert trimmed.mean == pytest.approx(toy[key][str(threshold)]["mean"], abs=1e-6)


def slow_average_precision(
    detections: list[Row], truth: list[Row], threshold: float
) -> dict[int, float]:
    """The rule in plain loops: match one detection at a time, then sum the area point by point."""
    free = defaultdict(list)
    count: dict[int, int] = defaultdict(int)
    for video, frame, class_index, *box in truth:
        free[video, frame, class_index].append(box)
        count[class_index] += 1  # type: ignore[index]
    outcome: dict[int, list[bool]] = defaultdict(list)
    for video, frame, class_index, _, *box in sorted(detections, key=lambda row: -row[3]):  # type: ignore[operator]
        rivals = free[video, frame, class_index]
        overlaps = iou_xyxy(np.array(box), np.array(rivals).reshape(-1, 4))[0]
        hit = bool(overlaps.size) and overlaps.max() >= threshold
        if hit:
            rivals.pop(int(overlaps.argmax()))
        outcome[class_index].append(hit)  # type: ignore[index]
    return {index: area_under(outcome[index], total) for index, total in count.items()}


def area_under(outcome: list[bool], total: int) -> float:
    area = 0.0
    for position, hit in enumerate(outcome):
        if hit:
            to_come = [sum(outcome[: end + 1]) / (end + 1) for end in range(position, len(outcome))]
            area += max(to_come) / total
    return area


def random_rows(rng: np.random.Generator, number: int, with_score: bool) -> list[Row]:
    corner = rng.integers(0, 12, (number, 2))
    boxes = np.concatenate([corner, corner + rng.integers(4, 12, (number, 2))], axis=1)
    return [
        (
            f"v{rng.integers(2)}",
            int(rng.integers(8)),
            int(rng.integers(3)),
            *([float(rng.random())] if with_score else []),
            *map(float, box),
        )
        for box in boxes
    ]


@pytest.mark.parametrize("seed", range(8))
def test_random_tables_agree_with_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    detections, truth = random_rows(rng, 250, True), random_rows(rng, 90, False)

    found = frame_map(detections_of(detections), truth_of(truth), THRESHOLDS)

    for at in found:
        expected = slow_average_precision(detections, truth, at.iou_threshold)
        assert {k: c.average_precision for k, c in at.curves.items()} == pytest.approx(expected)
    assert found[0].mean > found[1].mean > 0


def test_a_detection_takes_the_best_ground_truth_and_a_second_one_the_other() -> None:
    truth = truth_of([("v", 0, 0, 0, 0, 10, 10), ("v", 0, 0, 2, 0, 12, 10)])
    detections = detections_of([("v", 0, 0, 0.9, 2, 0, 12, 10), ("v", 0, 0, 0.8, 1, 0, 11, 10)])

    (found,) = frame_map(detections, truth, [0.5])

    assert found.curves[0].recall.tolist() == [0.5, 1.0]


def test_a_duplicate_is_a_false_alarm() -> None:
    truth = truth_of([("v", 0, 0, 0, 0, 10, 10)])
    detections = detections_of([("v", 0, 0, s, 0, 0, 10, 10) for s in (0.9, 0.8)])

    (found,) = frame_map(detections, truth, [0.5])

    assert found.curves[0].precision.tolist() == [1.0, 0.5]
    assert found.mean == 1.0


def test_an_iou_of_exactly_the_threshold_is_enough() -> None:
    truth = truth_of([("v", 0, 0, 0, 0, 10, 10)])
    detections = detections_of([("v", 0, 0, 0.9, 0, 0, 10, 5)])

    assert frame_map(detections, truth, [0.5])[0].mean == 1.0


def test_classes_without_ground_truth_do_not_count() -> None:
    truth = truth_of([("v", 0, 0, 0, 0, 10, 10)])
    detections = detections_of([("v", 0, 0, 0.9, 0, 0, 10, 10), ("v", 0, 5, 1.0, 0, 0, 10, 10)])

    (found,) = frame_map(detections, truth, [0.5])

    assert list(found.curves) == [0]
    assert found.mean == 1.0


def test_without_a_detection_everything_is_zero() -> None:
    truth = truth_of([("v", 0, 0, 0, 0, 10, 10)])
    nothing = on_annotated_frames(detections_of([]), truth)

    assert frame_map(nothing, truth, [0.5])[0].mean == 0.0
    assert boxes_right(nothing, truth, 0.5) == 0.0


def test_without_ground_truth_there_is_no_figure() -> None:
    with pytest.raises(DatasetError, match="no frame is annotated"):
        frame_map(detections_of([("v", 0, 0, 0.9, 0, 0, 10, 10)]), truth_of([]), [0.5])


def test_a_right_box_of_a_wrong_class_is_a_right_box() -> None:
    truth = truth_of([("v", t, 0, 0, 0, 10, 10) for t in range(4)])
    boxes = [(0, 0, 10, 10), (0, 0, 10, 6), (0, 0, 10, 4)]
    detections = detections_of([("v", t, 1, 0.5, *box) for t, box in enumerate(boxes)])

    assert boxes_right(detections, truth, 0.5) == 0.5
