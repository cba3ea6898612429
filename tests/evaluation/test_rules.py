"""Every published rule against the outputs of the published codes on one toy example."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.golden import reference_json
from tests.toy_example import toy_tables
from tubedet.errors import UsageError
from tubedet.evaluation.frame_map import ClassCurve, frame_map
from tubedet.evaluation.rules import (
    RULES,
    ScoringRule,
    all_points,
    eleven_points,
    rule_named,
    trapezoid,
)

THRESHOLDS = (0.2, 0.5, 0.75)
AREAS = {"voc_all_points": all_points, "voc07_11pt": eleven_points, "act_trapezoid": trapezoid}


def hits_of(curve: ClassCurve) -> list[int]:
    """Which detections were correct, read off the recall."""
    steps = np.diff(curve.recall, prepend=0.0) * curve.ground_truths
    return [round(step) for step in steps.tolist()]


@pytest.mark.parametrize(
    ("threshold", "inclusive", "best_remaining"),
    [*product(THRESHOLDS, (False, True), (False, True))],
)
def test_every_matching_and_area_gives_the_published_figures(
    threshold: float, inclusive: bool, best_remaining: bool
) -> None:
    key = f"plus1={inclusive},rule={'remove' if best_remaining else 'voc'}"
    expected: dict[str, Any] = reference_json("toy_eval.json")["results"][str(threshold)][key]

    for name, area in AREAS.items():
        rule = ScoringRule(name, inclusive, best_remaining, area)
        (found,) = frame_map(*toy_tables(), [threshold], rule)
        for index in (0, 1):
            assert hits_of(found.curves[index]) == expected[f"tp_sequence_class{index}"]
            assert found.curves[index].ground_truths == expected[f"npos{index}"]
        per_class = [found.curves[index].average_precision for index in (0, 1)]
        assert per_class == pytest.approx(expected[name]["per_class"], abs=1e-6)
        assert found.mean == pytest.approx(expected[name]["mean"], abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "code"), [("gurkirt", "gurkirt_python"), ("yowo", "yowo"), ("act", "act_moc")]
)
def test_a_named_rule_gives_what_the_code_of_that_name_gave(rule: str, code: str) -> None:
    outputs = reference_json("toy_eval.json")["reference_code_outputs"]

    for found in frame_map(*toy_tables(), THRESHOLDS, RULES[rule], class_count=2):
        mean, per_class = outputs[f"{code}_{found.iou_threshold}"]
        of_class = [found.curves[index].average_precision for index in (0, 1)]
        assert of_class == pytest.approx(per_class, abs=1e-6)
        assert found.mean == pytest.approx(mean, abs=1e-6)


def test_gurkirts_mean_counts_classes_without_ground_truth_as_nothing() -> None:
    detections, truth = toy_tables()

    (of_two,) = frame_map(detections, truth, [0.5], RULES["gurkirt"], class_count=2)
    (of_four,) = frame_map(detections, truth, [0.5], RULES["gurkirt"], class_count=4)
    (ours,) = frame_map(detections, truth, [0.5], RULES["tubedet"], class_count=4)

    assert of_four.mean == of_two.mean / 2 == ours.mean / 2


def test_yowos_boxes_are_rounded_before_they_are_compared() -> None:
    detections, truth = toy_tables()
    rounded = detections.assign(x1=detections["x1"].round(), x2=detections["x2"].round())
    by_hand = ScoringRule("by hand", inclusive=True, best_remaining=False)
    strict = [0.75, 0.756]  # 87 / 115 = 0.7565 of whole pixels, 86.65 / 115.35 = 0.7512 before

    found = frame_map(detections, truth, strict, RULES["yowo"])

    assert [at.mean for at in found] == [
        at.mean for at in frame_map(rounded, truth, strict, by_hand)
    ]
    assert found[1].mean > frame_map(detections, truth, strict, by_hand)[1].mean


def test_a_rule_says_what_it_does_and_an_unknown_one_is_refused() -> None:
    descriptions = {rule.describe() for rule in RULES.values()}

    assert len(descriptions) == len(RULES)
    assert "trapezoid area, IoU with +1" in RULES["act"].describe()
    assert "time not counted" in RULES["yowo"].describe_tubes()
    with pytest.raises(UsageError, match="expected one of tubedet, gurkirt, act, yowo, voc2007"):
        rule_named("padilla")
