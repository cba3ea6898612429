import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from tubedet.boxes import clip_xyxy, iou_rowwise, iou_xyxy, nms_xyxy

NO_BOXES: NDArray[np.float64] = np.zeros((0, 4))


def test_iou_of_every_pair_is_as_worked_out_by_hand() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6]], dtype=np.float64)
    others = np.array([[0, 0, 4, 4], [0, 0, 4, 2], [4, 0, 8, 4]], dtype=np.float64)
    # Touching boxes share nothing: there is no +1 pixel.
    expected = [[1, 8 / 16, 0], [4 / 28, 0, 4 / 28]]
    assert iou_xyxy(boxes, others) == pytest.approx(np.array(expected))


def test_iou_equals_the_count_of_shared_pixels() -> None:
    random = np.random.default_rng(5)
    corners = random.integers(0, 12, (20, 2, 2))
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1)
    masks = np.zeros((20, 13, 13), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    shared = (masks[:, None] & masks[None]).sum(axis=(2, 3))
    covered = (masks[:, None] | masks[None]).sum(axis=(2, 3))
    assert iou_xyxy(boxes.astype(np.float64), boxes.astype(np.float64)) == pytest.approx(
        shared / covered
    )


@pytest.mark.parametrize("hollow", [[3, 3, 3, 5], [4, 4, 1, 1]])
def test_an_empty_or_inverted_box_overlaps_nothing_not_even_itself(hollow: list[float]) -> None:
    boxes = np.array([hollow, [0, 0, 9, 9]], dtype=np.float64)
    assert_array_equal(iou_xyxy(boxes[:1], boxes), [[0, 0]])


def test_iou_without_boxes_keeps_its_shape() -> None:
    assert iou_xyxy(NO_BOXES, np.ones((3, 4))).shape == (0, 3)
    assert iou_xyxy(np.ones((3, 4)), NO_BOXES).shape == (3, 0)


def test_iou_row_by_row_is_that_of_boxes_at_the_same_place() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [3, 3, 3, 5]])
    others = np.array([[0, 0, 4, 2], [0, 0, 4, 4], [3, 3, 3, 5]])
    assert iou_rowwise(boxes, others).tolist() == pytest.approx([1 / 2, 4 / 28, 0])


def test_nms_keeps_the_best_of_a_cluster_and_everything_apart() -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [0, 0, 10, 4]], dtype=np.float64
    )
    scores = np.array([0.5, 0.9, 0.6, 0.4])
    # 0 overlaps 1 by 0.9; 3 overlaps 1 by 4/9, which 0.45 allows.
    assert nms_xyxy(boxes, scores, 0.45).tolist() == [1, 2, 3]


def test_nms_keeps_a_box_whose_overlap_equals_the_threshold() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 2]], dtype=np.float64)
    assert nms_xyxy(boxes, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]


def test_a_box_that_was_itself_suppressed_suppresses_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], dtype=np.float64)
    assert nms_xyxy(boxes, np.array([0.9, 0.8, 0.7]), 0.3).tolist() == [0, 2]


def test_nms_keeps_the_order_of_ties() -> None:
    boxes = np.array([[0, 0, 2, 2], [5, 5, 7, 7], [9, 9, 11, 11]], dtype=np.float64)
    assert nms_xyxy(boxes, np.array([0.5, 0.7, 0.5]), 0.5).tolist() == [1, 0, 2]


def test_nms_without_boxes_keeps_none() -> None:
    assert nms_xyxy(NO_BOXES, np.zeros(0), 0.5).tolist() == []


def test_clipping_ends_at_the_frames_edge_and_leaves_the_input_alone() -> None:
    boxes = np.array([[-5, 2, 50, 30], [np.inf, -np.inf, np.inf, np.inf]])
    before = boxes.copy()
    assert_array_equal(clip_xyxy(boxes, 40, 20), [[0, 2, 40, 20], [40, 0, 40, 20]])
    assert_array_equal(boxes, before)
