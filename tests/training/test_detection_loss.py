"""Losses by hand: one anchor of one cell, two classes, a map of 2 x 2 cells.

All raw numbers 0 make every prediction a box of one cell around its cell's centre, (0, 0, .5, .5)
and so on, with an overlap of 1/2 and 1/2 for either class.
"""

import math

import pytest
import torch
from torch import Tensor

from tubedet.datasets.batching import TrainingBatch, TrainingSample, collate
from tubedet.training.detection_loss import DetectionLoss, detection_loss

ANCHORS_WH = torch.tensor([[1.0, 1.0]])
LN2 = math.log(2)
# Weights of the terms: box, responsible prediction, background.
BOX, OBJECT, BACKGROUND = 2.0, 1.0, 0.2


def rows(*boxes: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(boxes).reshape(-1, 4)


def batch_of(
    *samples: tuple[Tensor, list[int]], ignore: tuple[Tensor, ...] | None = None
) -> TrainingBatch:
    clip = torch.zeros(3, 2, 64, 64, dtype=torch.uint8)
    return collate(
        [
            TrainingSample(clip, boxes, torch.tensor(classes, dtype=torch.int64), regions)
            for (boxes, classes), regions in zip(
                samples, ignore or [rows()] * len(samples), strict=True
            )
        ]
    )


def loss_of(raw: Tensor, batch: TrainingBatch, label_smoothing: float = 0.0) -> DetectionLoss:
    return detection_loss(raw, batch, ANCHORS_WH, 2, label_smoothing)


def blank(samples: int = 1) -> Tensor:
    return torch.zeros(samples, 7, 2, 2)


def test_a_perfect_box_leaves_the_overlap_of_the_rest_and_the_class_to_learn() -> None:
    loss = loss_of(blank(), batch_of((rows((0, 0, 0.5, 0.5)), [1])))

    assert loss.box.item() == pytest.approx(0.0, abs=1e-6)
    assert loss.overlap.item() == pytest.approx((OBJECT + 3 * BACKGROUND) * LN2)
    assert loss.label.item() == pytest.approx(LN2)
    assert loss.total.item() == pytest.approx((OBJECT + 3 * BACKGROUND + 1) * LN2)


def test_the_overlap_is_taught_the_iou_that_the_box_has_now() -> None:
    raw = blank()
    raw[0, 4] = torch.tensor([[2.0, -9.0], [-9.0, -9.0]])  # the others are as good as silent
    # The prediction (0, 0, .5, .5) and the box (0, 0, .5, .25): IoU 1/2, hull = union.
    loss = loss_of(raw, batch_of((rows((0, 0, 0.5, 0.25)), [0])))

    taught = -0.5 * math.log(1 / (1 + math.exp(-2))) - 0.5 * math.log(1 / (1 + math.exp(2)))
    silent = 3 * BACKGROUND * math.log(1 + math.exp(-9))
    assert loss.overlap.item() == pytest.approx(OBJECT * taught + silent, rel=1e-4)
    assert loss.box.item() == pytest.approx(BOX * 0.5)


def test_sums_are_divided_by_the_number_of_boxes_and_labels_averaged() -> None:
    raw = blank(2)
    raw[1, 5] = 1.0  # sample 1 leans to class 0
    both = batch_of((rows((0, 0, 0.5, 0.5)), [0]), (rows((0.5, 0.5, 1, 1)), [1]))

    loss = loss_of(raw, both)

    assert loss.overlap.item() == pytest.approx((OBJECT + 3 * BACKGROUND) * LN2)
    assert loss.label.item() == pytest.approx((LN2 + math.log(1 + math.e)) / 2)


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    raw = blank()
    raw[0, 5, 0, 0] = 1.0

    loss = loss_of(raw, batch_of((rows((0, 0, 0.5, 0.5)), [0])), label_smoothing=0.2)

    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.e)
    assert loss.label.item() == pytest.approx(0.9 * right + 0.1 * wrong)


def test_a_sample_without_an_actor_only_pushes_the_overlap_down() -> None:
    raw = blank().requires_grad_()

    loss = loss_of(raw, batch_of((rows(), [])))
    loss.total.backward()  # type: ignore[no-untyped-call]

    assert (loss.box.item(), loss.label.item()) == (0.0, 0.0)
    assert loss.overlap.item() == pytest.approx(4 * BACKGROUND * LN2)
    assert raw.grad is not None
    assert (raw.grad[:, 4] > 0).all()
    assert (raw.grad[:, [0, 1, 2, 3, 5, 6]] == 0).all()


def test_a_prediction_inside_an_ignored_region_is_not_background() -> None:
    upper_half = rows((0, 0, 1, 0.5))

    loss = loss_of(blank(), batch_of((rows(), []), ignore=(upper_half,)))

    assert loss.overlap.item() == pytest.approx(2 * BACKGROUND * LN2)


def test_the_actor_counts_even_inside_an_ignored_region() -> None:
    everything = rows((0, 0, 1, 1))

    loss = loss_of(blank(), batch_of((rows((0, 0, 0.5, 0.5)), [0]), ignore=(everything,)))

    assert loss.overlap.item() == pytest.approx(OBJECT * LN2)


def test_a_prediction_that_overlaps_the_box_well_learns_its_class_and_is_not_background() -> None:
    raw = blank().requires_grad_()
    # Prediction of cell (0, 1) moved to the left, and both widened, so that they nearly agree:
    with torch.no_grad():
        raw[0, 2, 0, :] = LN2  # both a map wide
        raw[0, 0, 0, 0], raw[0, 0, 0, 1] = 9.0, -9.0  # both centres next to the middle
    # The box's centre is a little right of the middle: cell (0, 1) answers.
    loss = loss_of(raw, batch_of((rows((0.02, 0, 1, 0.5)), [1])))
    loss.total.backward()  # type: ignore[no-untyped-call]

    assert raw.grad is not None
    assert raw.grad[0, 4, 0, 0] == 0  # neither object nor background
    assert raw.grad[0, 6, 0, 0] < 0  # descent raises class 1 there
    assert raw.grad[0, 6, 0, 1] < 0
    assert raw.grad[0, 6, 1].tolist() == [0.0, 0.0]


def test_rows_of_several_boxes_and_samples_keep_to_their_own_classes() -> None:
    raw = blank(3).requires_grad_()
    top_left, bottom_right = (0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)
    batch = batch_of(
        (rows(top_left, bottom_right), [0, 1]), (rows(), []), (rows(bottom_right), [0])
    )

    loss_of(raw, batch).total.backward()  # type: ignore[no-untyped-call]

    assert raw.grad is not None
    wanted = -raw.grad[:, 5].sign()  # 1 where class 0 is the target
    assert wanted.tolist() == [[[1, 0], [0, -1]], [[0, 0], [0, 0]], [[0, 0], [0, 1]]]


def test_two_boxes_on_one_prediction_both_enter_the_box_term() -> None:
    batch = batch_of((rows((0, 0, 0.5, 0.5), (0, 0, 0.5, 0.25)), [0, 0]))

    assert loss_of(blank(), batch).box.item() == pytest.approx(BOX * (0 + 0.5) / 2)


def test_a_part_of_a_batch_counts_by_its_share_of_the_boxes() -> None:
    part = batch_of((rows((0, 0, 0.5, 0.25)), [1]))

    loss = detection_loss(blank(), part, ANCHORS_WH, 2, num_boxes=4)

    assert loss.box.item() == pytest.approx(BOX * 0.5 / 4)
    assert loss.overlap.item() == pytest.approx((OBJECT + 3 * BACKGROUND) * LN2 / 4)
    assert loss.label.item() == pytest.approx(LN2 / 4)
