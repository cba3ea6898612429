"""Both losses on whole batches: those of slow twins, and nothing that makes a GPU wait."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.per_sample_losses import (
    Sample,
    detection_loss_by_samples,
    yolo2_loss_by_samples,
)
from tubedet.datasets.batching import TrainingBatch, TrainingSample, collate
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.training.detection_loss import DetectionLoss, detection_loss
from tubedet.training.yolo2_pytorch_loss import yolo2_pytorch_loss

ANCHORS_WH = torch.tensor([[1.0, 1.5], [2.0, 1.0]], dtype=torch.float64)
CLASSES, ROWS, COLUMNS = 3, 3, 4
SMOOTHING = 0.1


def random_samples(raw: Tensor, most_boxes: int, generator: torch.Generator) -> list[Sample]:
    """Boxes near predictions, some of them shared; from three boxes on the first two are twins."""
    decoded = decode_boxes(raw, ANCHORS_WH, CLASSES).boxes_xyxy

    def near(of_sample: Tensor, count: int) -> Tensor:
        chosen = torch.randint(len(of_sample), (count,), generator=generator)
        noise = torch.randn(count, 4, dtype=raw.dtype, generator=generator) * 0.01
        boxes = (of_sample[chosen] + noise).clamp(0, 1)
        low, high = boxes[:, :2], boxes[:, 2:]
        return torch.cat([low, torch.maximum(high, low + 0.05)], dim=1)

    samples = []
    for of_sample in decoded:
        boxes = near(of_sample, int(torch.randint(most_boxes + 1, (), generator=generator)))
        if len(boxes) > 2:
            boxes[1] = boxes[0] + torch.tensor([0.0, 0.0, 1e-3, 2e-3])
        classes = torch.randint(CLASSES, (len(boxes),), generator=generator)
        regions = near(of_sample, int(torch.randint(3, (), generator=generator)))
        samples.append((boxes, classes, regions))
    return samples


def batch_of(samples: Sequence[Sample]) -> TrainingBatch:
    clip = torch.zeros(3, 2, 4, 4, dtype=torch.uint8)
    return collate([TrainingSample(clip, *sample) for sample in samples])


def giou_loss(raw: Tensor, batch: TrainingBatch, anchors_wh: Tensor) -> DetectionLoss:
    return detection_loss(raw, batch, anchors_wh, CLASSES, SMOOTHING)


def giou_twin(raw: Tensor, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    return detection_loss_by_samples(raw, samples, ANCHORS_WH, SMOOTHING)


def yolo2_loss(raw: Tensor, batch: TrainingBatch, anchors_wh: Tensor) -> DetectionLoss:
    return yolo2_pytorch_loss(raw, batch, anchors_wh, CLASSES)


def yolo2_twin(raw: Tensor, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    return yolo2_loss_by_samples(raw, samples, ANCHORS_WH)


Loss = Callable[[Tensor, TrainingBatch, Tensor], DetectionLoss]
Twin = Callable[[Tensor, Sequence[Sample]], tuple[Tensor, Tensor, Tensor]]


@pytest.mark.parametrize(("loss", "twin"), [(giou_loss, giou_twin), (yolo2_loss, yolo2_twin)])
@pytest.mark.parametrize(("most_boxes", "seed"), [(0, 0), (1, 0), (6, 0), (6, 1), (6, 2)])
def test_a_batch_has_the_loss_and_the_gradient_of_its_samples(
    loss: Loss, twin: Twin, most_boxes: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (4, len(ANCHORS_WH) * (5 + CLASSES), ROWS, COLUMNS)
    raw = torch.randn(shape, dtype=torch.float64, generator=generator) * 0.5
    samples = random_samples(raw, most_boxes, generator)
    own, others = raw.clone().requires_grad_(), raw.clone().requires_grad_()

    found, expected = loss(own, batch_of(samples), ANCHORS_WH), twin(others, samples)
    found.total.backward()  # type: ignore[no-untyped-call]
    torch.stack([term.double() for term in expected]).sum().backward()  # type: ignore[no-untyped-call]

    for term, wanted in zip((found.box, found.overlap, found.label), expected, strict=True):
        assert term.item() == pytest.approx(wanted.item(), rel=1e-6, abs=1e-7)
    assert own.grad is not None
    assert others.grad is not None
    torch.testing.assert_close(own.grad, others.grad, rtol=1e-6, atol=1e-7)


class ValuesFromHost(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts tensors made of Python numbers; with a GPU each would wait for it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += operation.overloadpacket.__name__ == "lift_fresh"
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("loss", [giou_loss, yolo2_loss])
@pytest.mark.parametrize("boxes", [0, 2])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_loss_neither_reads_values_nor_brings_any_to_a_device(
    loss: Loss, boxes: int, device: str
) -> None:
    # `meta` stands in for a GPU: it has no values, so whatever depends on one fails.
    with torch.device(device):
        raw = torch.zeros(3, 2 * (5 + CLASSES), ROWS, COLUMNS, requires_grad=True)
        classes = torch.zeros(3, boxes, dtype=torch.int64)
        of_boxes = torch.zeros(3, boxes, 4)
        batch = TrainingBatch(torch.zeros(3, 1), of_boxes, classes, of_boxes)
        anchors_wh = torch.ones(2, 2)

    with ValuesFromHost() as values:
        total = loss(raw, batch, anchors_wh).total
        total.backward()  # type: ignore[no-untyped-call]

    assert total.device.type == device
    assert values.count == 0
