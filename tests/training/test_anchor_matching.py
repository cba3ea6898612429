import pytest
import torch

from tubedet.datasets.batching import NO_CLASS, TrainingSample, collate
from tubedet.training.anchor_matching import (
    covered_share,
    generalised_iou,
    match_anchors,
    pairwise_iou,
    responsible_for,
    scaled,
    shape_iou,
    true_boxes,
)

ANCHORS_WH = torch.tensor([[1.0, 1.0], [1.0, 3.0], [3.0, 1.0]])  # a square, a tall and a wide one


def boxes(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("box", "prediction"),
    [
        # A map of 4 rows and 8 columns.
        ((2, 2, 3, 3), (2 * 8 + 2) * 3 + 0),  # one cell, centre (2.5, 2.5)
        ((4, 0.4, 4.8, 3.4), (1 * 8 + 4) * 3 + 1),  # 0.8 x 3 cells, centre (4.4, 1.9)
        ((0, 0, 3.2, 1), (0 * 8 + 1) * 3 + 2),  # 3.2 x 1 cells, centre (1.6, 0.5)
        ((7.6, 3.6, 8.4, 4.8), (3 * 8 + 7) * 3 + 0),  # centre on the far corner: the last cell
    ],
)
def test_the_cell_of_the_centre_and_the_anchor_of_the_nearest_shape_answer(
    box: tuple[float, float, float, float], prediction: int
) -> None:
    found = match_anchors(boxes(box)[None], ANCHORS_WH, rows=4, columns=8)

    assert found.tolist() == [[prediction]]


def test_boxes_of_a_batch_lie_behind_a_row_that_is_no_box() -> None:
    clip = torch.zeros(3, 2, 1, 1)
    row = boxes((0.1, 0.2, 0.3, 0.4))
    batch = collate(
        [
            TrainingSample(clip, row.repeat(2, 1), torch.tensor([4, 0]), boxes()),
            TrainingSample(clip, boxes(), torch.tensor([], dtype=torch.int64), boxes()),
        ]
    )

    found = true_boxes(batch, torch.zeros((), dtype=torch.float64))

    assert found.present.tolist() == [[False, True, True], [False, False, False]]
    assert found.class_indices.tolist() == [[NO_CLASS, 4, 0], [NO_CLASS] * 3]
    torch.testing.assert_close(found.boxes_xyxy[0], torch.cat([row * 0, row, row]).double())
    assert not found.boxes_xyxy[1].any()


def test_a_prediction_is_responsible_for_the_last_box_on_it() -> None:
    on_predictions = torch.tensor([[0, 2, 4, 2], [0, 1, 0, 0]])
    present = torch.tensor([[False, True, True, True], [False, True, False, False]])

    row = responsible_for(on_predictions, present, 5)

    assert row.tolist() == [[0, 0, 3, 0, 2], [0, 1, 0, 0, 0]]


def test_boxes_are_scaled_by_width_and_height() -> None:
    found = scaled(boxes((0.5, 0.25, 1.0, 0.75)), 10, 4)
    torch.testing.assert_close(found, boxes((5, 1, 10, 3)))


def test_shapes_are_compared_on_a_common_corner() -> None:
    # 2x2 beside 1x3: common 1*2 = 2, together 4 + 3 - 2 = 5.
    iou = shape_iou(torch.tensor([[2.0, 2.0]]), ANCHORS_WH)
    torch.testing.assert_close(iou, torch.tensor([[1 / 4, 2 / 5, 2 / 5]]))


def test_generalised_iou_of_boxes_that_meet_touch_and_lie_apart() -> None:
    first = boxes((0, 0, 2, 2), (0, 0, 1, 1), (0, 0, 1, 1), (1, 1, 2, 3))
    second = boxes((1, 1, 3, 3), (1, 0, 2, 1), (3, 0, 4, 1), (1, 1, 2, 3))

    giou, iou = generalised_iou(first, second)

    # Meeting: common 1, together 7, hull 9. Apart: together 2 in a hull of 4.
    torch.testing.assert_close(iou, torch.tensor([1 / 7, 0.0, 0.0, 1.0]))
    torch.testing.assert_close(giou, torch.tensor([1 / 7 - 2 / 9, 0.0, -1 / 2, 1.0]))


def test_generalised_iou_equals_counting_cells() -> None:
    corners = torch.randint(0, 12, (60, 2, 2, 2), generator=torch.Generator().manual_seed(0))
    first, second = torch.cat([corners.amin(2), corners.amax(2) + 1], dim=-1).unbind(1)

    giou, iou = generalised_iou(first.float(), second.float())

    for row, (a, b) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        one, other = (
            {(x, y) for x in range(x1, x2) for y in range(y1, y2)} for x1, y1, x2, y2 in (a, b)
        )
        hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
        union = len(one | other)
        assert iou[row].item() == pytest.approx(len(one & other) / union)
        assert giou[row].item() == pytest.approx(
            len(one & other) / union - (hull - union) / hull, abs=1e-6
        )


def test_generalised_iou_pulls_a_box_that_lies_apart_towards_its_target() -> None:
    box = boxes((0, 0, 1, 1)).requires_grad_()
    (1 - generalised_iou(box, boxes((3, 0, 4, 1)))[0]).sum().backward()  # type: ignore[no-untyped-call]

    assert box.grad is not None
    assert box.grad[0, 2] < 0  # descent moves the right edge to the right


def test_iou_of_all_pairs_and_of_empty_boxes() -> None:
    found = pairwise_iou(
        boxes((0, 0, 2, 2), (5, 5, 5, 9)), boxes((0, 0, 2, 1), (1, 1, 3, 3), (5, 5, 5, 9))
    )
    torch.testing.assert_close(found, torch.tensor([[1 / 2, 1 / 7, 0.0], [0.0, 0.0, 0.0]]))


def test_the_covered_share_is_that_of_the_region_that_covers_most() -> None:
    share = covered_share(
        boxes((0, 0, 4, 2), (8, 8, 9, 9)), boxes((0, 0, 1, 2), (2, 0, 9, 2), (0, 5, 1, 6))
    )
    torch.testing.assert_close(share, torch.tensor([0.5, 0.0]))


def test_without_regions_nothing_is_covered() -> None:
    assert covered_share(boxes((0, 0, 1, 1)), boxes()).tolist() == [0.0]
    padded = torch.zeros(1, 2, 4)
    assert covered_share(boxes((0, 0, 1, 1))[None], padded).tolist() == [[0.0]]
