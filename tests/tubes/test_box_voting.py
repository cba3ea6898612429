"""What voting makes of boxes, by hand."""

import numpy as np

from tubedet.tubes.best_box import SelectionRule, select_boxes
from tubedet.tubes.box_voting import voted_boxes

CHOSEN = np.array([[0.0, 0.0, 10.0, 10.0]])


def test_a_box_becomes_the_mean_of_what_overlaps_it_weighted_by_squared_overlap() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 15.0], [50.0, 50.0, 60.0, 60.0]])

    voted = voted_boxes(CHOSEN, boxes, np.array([0.8, 0.4, 0.9]))

    # Weights 0.64 and 0.16; the IoU of the second with the chosen one is 2/3.
    np.testing.assert_allclose(voted, [[0.0, 0.0, 10.0, (0.64 * 10 + 0.16 * 15) / 0.8]])


def test_a_box_that_overlaps_too_little_has_no_vote_and_one_of_just_half_has() -> None:
    half = np.array([[0.0, 0.0, 10.0, 20.0]])
    less = np.array([[0.0, 0.0, 10.0, 20.1]])

    alone, both = (
        voted_boxes(CHOSEN, np.concatenate([CHOSEN, other]), np.array([0.5, 0.5]))
        for other in (less, half)
    )

    np.testing.assert_array_equal(alone, CHOSEN)
    np.testing.assert_allclose(both, [[0.0, 0.0, 10.0, 15.0]])


def test_an_estimate_that_is_no_number_has_no_vote() -> None:
    boxes = np.concatenate([CHOSEN, CHOSEN + 1, CHOSEN + 1])

    voted = voted_boxes(CHOSEN, boxes, np.array([0.5, np.nan, np.inf]))

    np.testing.assert_array_equal(voted, CHOSEN)


def test_without_any_vote_a_box_stays() -> None:
    np.testing.assert_array_equal(voted_boxes(CHOSEN, CHOSEN, np.array([0.0])), CHOSEN)


def test_a_rule_with_votes_moves_boxes_and_neither_scores_nor_labels() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 12.0]])
    overlap, prob = np.array([0.9, 0.6]), np.array([[0.7, 0.3], [0.2, 0.8]])
    plain, voted = (
        select_boxes(
            boxes, overlap, prob, ("walk", "run"), SelectionRule(0.5, score="overlap", vote=vote)
        )
        for vote in (False, True)
    )

    assert (
        [(box.label, box.score) for box in voted]
        == [("walk", 0.9)]
        == [(box.label, box.score) for box in plain]
    )
    assert plain[0].box_xyxy == (0.0, 0.0, 10.0, 10.0)
    bottom = (0.81 * 10 + 0.36 * 12) / (0.81 + 0.36)
    np.testing.assert_allclose(voted[0].box_xyxy, (0.0, 0.0, 10.0, bottom))
