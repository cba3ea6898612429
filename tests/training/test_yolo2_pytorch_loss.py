"""Parity with yolo2-pytorch's own loss, targets, masks and gradient (`golden/yolo2_loss.npz`)."""

import numpy as np
import pytest
import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor

from tests.golden import golden_file
from tubedet.datasets.batching import TrainingBatch
from tubedet.models.yolov2.anchors import VOC_2016
from tubedet.training.yolo2_pytorch_loss import yolo2_pytorch_loss, yolo2_targets

ANCHORS_WH = torch.tensor(VOC_2016)


@pytest.fixture(scope="module")
def golden() -> NpzFile:
    return golden_file("yolo2_loss")


@pytest.fixture
def head(golden: NpzFile) -> Tensor:
    return torch.from_numpy(golden["head"])


@pytest.fixture
def batch(golden: NpzFile) -> TrainingBatch:
    boxes = tuple(torch.from_numpy(golden[f"gt{i}"]).float() / 320 for i in (0, 1))
    return TrainingBatch(
        clip=torch.zeros(2, 3, 2, 320, 320),
        boxes_xyxy=boxes,
        class_indices=tuple(torch.from_numpy(golden[f"cls{i}"]) for i in (0, 1)),
        ignore_xyxy=(torch.zeros(0, 4),) * 2,
    )


def test_the_loss_and_its_gradient_are_those_of_yolo2_pytorch(
    golden: NpzFile, head: Tensor, batch: TrainingBatch
) -> None:
    head.requires_grad_()

    loss = yolo2_pytorch_loss(head, batch, ANCHORS_WH, 20)
    loss.total.backward()  # type: ignore[no-untyped-call]

    assert loss.box.item() == pytest.approx(golden["bbox_loss"].item(), rel=1e-5)
    assert loss.overlap.item() == pytest.approx(golden["iou_loss"].item(), rel=1e-5)
    assert loss.label.item() == pytest.approx(golden["cls_loss"].item(), rel=1e-5)
    assert head.grad is not None
    np.testing.assert_allclose(head.grad.numpy(), golden["grad_head"], atol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("t_boxes", "boxes"),
        ("t_ious", "overlap"),
        ("t_classes", "classes"),
        ("box_mask", "box_mask"),
        ("iou_mask", "overlap_mask"),
        ("class_mask", "class_mask"),
    ],
)
def test_targets_and_masks_are_those_of_yolo2_pytorch(
    golden: NpzFile, head: Tensor, batch: TrainingBatch, theirs: str, ours: str
) -> None:
    told = getattr(yolo2_targets(head, batch, ANCHORS_WH, 20), ours)

    np.testing.assert_allclose(told.reshape(golden[theirs].shape), golden[theirs], atol=1e-5)


def test_of_two_boxes_on_one_prediction_the_last_wins(head: Tensor, batch: TrainingBatch) -> None:
    twice = batch._replace(
        boxes_xyxy=(batch.boxes_xyxy[1].repeat(2, 1), torch.zeros(0, 4)),
        class_indices=(torch.tensor([19, 4]), torch.zeros(0, dtype=torch.int64)),
    )

    told = yolo2_targets(head, twice, ANCHORS_WH, 20)

    (row,) = told.class_mask[0, :, 0].nonzero()
    assert told.classes[0, row].nonzero()[:, 1].tolist() == [4]
    assert not told.class_mask[1].any()


def test_parts_of_a_batch_add_up_to_it(head: Tensor, batch: TrainingBatch) -> None:
    whole = yolo2_pytorch_loss(head, batch, ANCHORS_WH, 20)
    parts = [
        yolo2_pytorch_loss(
            head[i : i + 1],
            TrainingBatch(
                batch.clip[i : i + 1],
                batch.boxes_xyxy[i : i + 1],
                batch.class_indices[i : i + 1],
                batch.ignore_xyxy[i : i + 1],
            ),
            ANCHORS_WH,
            20,
            num_boxes=3,
        )
        for i in (0, 1)
    ]

    for term in whole._fields:
        total = sum(getattr(part, term).item() for part in parts)
        assert total == pytest.approx(getattr(whole, term).item(), rel=1e-6)
