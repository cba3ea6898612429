"""Anchors for a data set: k-means over box sizes with 1 - IoU as the distance.

Source: YOLOv2 §2 (dimension clusters).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tubedet.boxes import iou_xyxy
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.errors import DatasetError

SizesWh = NDArray[np.float64]
ROUNDS = 100  # J-HMDB's training part settles after about thirty


def box_sizes(dataset: AnnotatedDataset, cells: int) -> SizesWh:
    """Width and height (N, 2) of every box, in cells of a `cells`×`cells` grid over the frame."""
    return np.array(
        [
            ((x2 - x1) / clip.width * cells, (y2 - y1) / clip.height * cells)
            for clip in dataset.clips
            for boxes in clip.boxes_by_frame
            for _, (x1, y1, x2, y2), _ in boxes
        ]
    ).reshape(-1, 2)


def cluster_anchors(sizes_wh: SizesWh, anchors: int = 5, *, seed: int = 0) -> SizesWh:
    """Anchors (A, 2), smallest area first, that the sizes (N, 2) overlap best on average.

    Equal sizes and an equal seed give equal anchors.

    Raises:
        DatasetError: if there are fewer sizes than anchors.
    """
    if len(sizes_wh) < anchors:
        raise DatasetError(f"{anchors} anchors need as many boxes; the data has {len(sizes_wh)}")
    rng = np.random.default_rng(seed)
    centers = sizes_wh[rng.choice(len(sizes_wh), anchors, replace=False)]
    nearest = np.full(len(sizes_wh), -1)
    for _ in range(ROUNDS):
        previous, nearest = nearest, size_iou(sizes_wh, centers).argmax(axis=1)
        if (previous == nearest).all():
            break
        for index in np.unique(nearest):
            # The median overlaps its sizes better than the mean: UCF101-24 0.753 against 0.749.
            centers[index] = np.median(sizes_wh[nearest == index], axis=0)
    ordered: SizesWh = centers[centers.prod(axis=1).argsort()]
    return ordered


def mean_best_iou(sizes_wh: SizesWh, anchors_wh: ArrayLike) -> float:
    """How well the anchors (A, 2) fit: every size's IoU with its best one, on average."""
    return float(size_iou(sizes_wh, np.asarray(anchors_wh, dtype=np.float64)).max(axis=1).mean())


def size_iou(sizes_wh: SizesWh, anchors_wh: SizesWh) -> NDArray[np.float64]:
    """IoU (N, A) of sizes (N, 2) and anchors (A, 2) that share a corner."""
    sizes, anchors = (np.pad(wh, ((0, 0), (2, 0))) for wh in (sizes_wh, anchors_wh))
    return iou_xyxy(sizes, anchors)
