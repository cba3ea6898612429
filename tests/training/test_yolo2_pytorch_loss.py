"""Parity with yolo2-pytorch's own loss, targets, masks and gradient (`golden/yolo2_loss.npz`)."""

import numpy as np
import pytest
import torch
from numpy.lib.npyio import NpzFile
from torch import Tensor

from tests.golden import golden_file
from tubedet.datasets.batching import TrainingBatch, TrainingSample, collate
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
    return batch_of(
        *(
            (torch.from_numpy(golden[f"gt{i}"]).float() / 320, torch.from_numpy(golden[f"cls{i}"]))
            for i in (0, 1)
        )
    )


def batch_of(*samples: tuple[Tensor, Tensor]) -> TrainingBatch:
    clip = torch.zeros(3, 2, 320, 320, dtype=torch.uint8)
    return collate([TrainingSample(clip, *sample, torch.zeros(0, 4)) for sample in samples])


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
    targets = getattr(yolo2_targets(head, batch, ANCHORS_WH, 20), ours)

    np.testing.assert_allclose(targets.reshape(golden[theirs].shape), golden[theirs], atol=1e-5)


def test_of_two_boxes_on_one_prediction_the_last_wins(head: Tensor, batch: TrainingBatch) -> None:
    nothing = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    twice = batch_of((batch.boxes_xyxy[1, :1].repeat(2, 1), torch.tensor([19, 4])), nothing)

    targets = yolo2_targets(head, twice, ANCHORS_WH, 20)

    (row,) = targets.class_mask[0, :, 0].nonzero()
    assert targets.classes[0, row].nonzero()[:, 1].tolist() == [4]
    assert not targets.class_mask[1].any()


def test_a_box_centred_on_the_border_of_cells_belongs_to_the_cell_behind_it(head: Tensor) -> None:
    box_px = torch.tensor([[17.0, 64.0, 47.0, 128.0]])  # centre (32, 96): cell (1, 3)

    batch = batch_of((box_px / 320, torch.tensor([0])))
    targets = yolo2_targets(head[:1], batch, ANCHORS_WH, 20)

    (row,) = targets.class_mask[0, :, 0].nonzero()
    assert divmod(row.item() // 5, 10) == (3, 1)
    assert targets.boxes[0, row, :2].tolist() == [[0.0, 0.0]]


def test_a_prediction_of_one_pixel_in_the_corner_of_an_empty_sample_is_background() -> None:
    head = torch.zeros(1, 125, 10, 10)
    head[0, :4, 0, 0] = -20.0  # the first anchor's box, of no size in the corner of the first cell
    empty = batch_of((torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)))

    mask = yolo2_targets(head, empty, ANCHORS_WH, 20).overlap_mask

    torch.testing.assert_close(mask, torch.full((1, 500, 1), -0.5))


def test_parts_of_a_batch_add_up_to_it(head: Tensor, batch: TrainingBatch) -> None:
    whole = yolo2_pytorch_loss(head, batch, ANCHORS_WH, 20)
    parts = [
        yolo2_pytorch_loss(
            head[i : i + 1],
            TrainingBatch(*(part[i : i + 1] for part in batch)),
            ANCHORS_WH,
            20,
            num_boxes=3,
        )
        for i in (0, 1)
    ]

    for term in whole._fields:
        total = sum(getattr(part, term).item() for part in parts)
        assert total == pytest.approx(getattr(whole, term).item(), rel=1e-6)
