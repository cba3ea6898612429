from pathlib import Path

import numpy as np
import pytest

from tests.jhmdb_layout import real_jhmdb_root
from tubedet.datasets.anchor_clusters import box_sizes, cluster_anchors, size_iou
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.errors import DatasetError


def test_sizes_are_in_cells_of_the_stretched_frame() -> None:
    boxes = (
        (LabelledBox(0, (0, 0, 64, 60)),),
        (),
        (LabelledBox(0, (10, 10, 170, 250)), LabelledBox(0, (0, 0, 320, 240))),
    )
    clip = AnnotatedClip("v", Path("v.avi"), 0, "v", 320, 240, (boxes[0], boxes[1]))
    tall = AnnotatedClip("w", Path("w.avi"), 0, "w", 320, 480, (boxes[2],))
    dataset = AnnotatedDataset("d", 1, "train", ("a",), (clip, tall))

    assert box_sizes(dataset, cells=10).tolist() == [[2.0, 2.5], [5.0, 5.0], [10.0, 5.0]]


def test_sizes_share_a_corner() -> None:
    iou = size_iou(np.array([[2.0, 2.0]]), np.array([[1.0, 3.0], [2.0, 2.0], [4.0, 4.0]]))
    np.testing.assert_allclose(iou, [[2 / 5, 1.0, 4 / 16]])


def test_anchors_are_the_medians_of_clear_clusters_smallest_first() -> None:
    sizes = np.array([[8.0, 8.2], [1.0, 2.0], [8.0, 7.8], [1.2, 2.2], [8.3, 8.0], [1.1, 1.8]])

    anchors = cluster_anchors(sizes, anchors=2)

    np.testing.assert_allclose(anchors, [[1.1, 2.0], [8.0, 8.0]])


def test_equal_seeds_give_equal_anchors() -> None:
    sizes = np.random.default_rng(0).uniform(0.5, 7, (400, 2))

    first, second, other = (cluster_anchors(sizes, seed=seed) for seed in (3, 3, 4))

    assert (first == second).all()
    assert (first != other).any()


def test_fewer_boxes_than_anchors_are_an_error() -> None:
    with pytest.raises(DatasetError, match="5 anchors need as many boxes; the data has 2"):
        cluster_anchors(np.ones((2, 2)))


def test_the_anchors_of_the_real_data_fit_it_better_than_those_of_another_data_set() -> None:
    """On a 10x10 grid, beside UCF101-24's (`models/yolov2/anchors.py`), by mean best IoU."""
    sizes = box_sizes(load_jhmdb_21(real_jhmdb_root(), 1, "validation"), cells=10)
    ucf101_24 = np.array(
        [[0.906, 1.458], [1.531, 3.042], [2.031, 4.833], [2.875, 6.667], [4.188, 8.333]]
    )

    own, foreign = (
        size_iou(sizes, anchors).max(axis=1).mean()
        for anchors in (cluster_anchors(sizes), ucf101_24)
    )

    assert own > 0.75
    assert own > foreign
