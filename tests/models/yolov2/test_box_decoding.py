import math

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from tests.golden import golden_file
from tubedet.models.yolov2.anchors import UCF101_24, VOC_2016, YOLOV2_VOC, AnchorsWH
from tubedet.models.yolov2.box_decoding import decode_boxes


def test_one_cell_decodes_to_the_box_worked_out_by_hand() -> None:
    # Row 1, column 2 of a grid of 2 rows and 4 columns; anchor 1 of two; three classes.
    raw = torch.zeros(1, 2 * 8, 2, 4)
    raw[0, 8:, 1, 2] = torch.tensor(
        [math.log(3), 0.0, math.log(2), math.log(0.5), -math.log(4), 0.0, math.log(2), 0.0]
    )
    boxes, overlap, class_prob = decode_boxes(raw, torch.tensor([[9.0, 9.0], [0.6, 0.8]]), 3)

    n = (1 * 4 + 2) * 2 + 1
    # Centre ((2 + 0.75) / 4, (1 + 0.5) / 2), size (0.6·2 / 4, 0.8·0.5 / 2).
    assert boxes[0, n].tolist() == pytest.approx([0.5375, 0.65, 0.8375, 0.85])
    assert overlap[0, n].item() == pytest.approx(0.2)
    assert class_prob[0, n].tolist() == pytest.approx([0.25, 0.5, 0.25])


def test_every_box_equals_the_slow_loop_over_cells_and_anchors() -> None:
    raw = torch.randn(2, len(UCF101_24) * 9, 3, 5, generator=torch.Generator().manual_seed(3))
    decoded = decode_boxes(raw, torch.tensor(UCF101_24), num_classes=4)
    boxes, overlap, class_prob = _decode_slowly(raw, UCF101_24, num_classes=4)
    torch.testing.assert_close(decoded.boxes_xyxy, boxes)
    torch.testing.assert_close(decoded.overlap, overlap)
    torch.testing.assert_close(decoded.class_prob, class_prob)


def test_the_values_equal_those_of_yolo2_pytorch() -> None:
    with golden_file("darknet19_yolo2pytorch") as arrays:
        decoded = decode_boxes(torch.from_numpy(arrays["head"]), torch.tensor(VOC_2016), 20)
        expected = (
            arrays["boxes_xyxy_01"].reshape(1, 125, 4),
            arrays["iou_pred"].reshape(1, 125),
            arrays["prob_pred"].reshape(1, 125, 20),
        )
    for found, golden in zip(decoded, expected, strict=True):
        assert_allclose(found.numpy(), golden, atol=2e-6)


@pytest.mark.parametrize(
    ("config", "anchors"), [("yolo-voc-2016", VOC_2016), ("yolov2-voc", YOLOV2_VOC)]
)
def test_the_boxes_equal_opencvs_region_layer(config: str, anchors: AnchorsWH) -> None:
    with golden_file("darknet19_cv2") as arrays:
        head, region = torch.from_numpy(arrays[f"{config}_head"]), arrays[f"{config}_region"]
    decoded = decode_boxes(head, torch.tensor(anchors), num_classes=20)
    # A row of `region` is centre, size, overlap, and class scores that its threshold zeroed.
    low, high = decoded.boxes_xyxy[0, :, :2], decoded.boxes_xyxy[0, :, 2:]
    assert_allclose(torch.cat([(low + high) / 2, high - low], dim=1), region[:, :4], atol=2e-6)
    assert_allclose(decoded.overlap[0], region[:, 4], atol=2e-6)


def test_a_map_that_does_not_fit_anchors_and_classes_says_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"124 channels.*need 125"):
        decode_boxes(torch.zeros(1, 124, 2, 2), torch.tensor(VOC_2016), num_classes=20)


def _decode_slowly(
    raw: Tensor, anchors: AnchorsWH, num_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    boxes, overlaps, probabilities = [], [], []
    for sample in raw:
        rows, columns = sample.shape[1:]
        for row in range(rows):
            for column in range(columns):
                for a, (anchor_w, anchor_h) in enumerate(anchors):
                    fields = sample[a * (5 + num_classes) : (a + 1) * (5 + num_classes)]
                    tx, ty, tw, th, to, *logits = fields[:, row, column].double()
                    x = (column + torch.sigmoid(tx)) / columns
                    y = (row + torch.sigmoid(ty)) / rows
                    w, h = anchor_w * tw.exp() / columns, anchor_h * th.exp() / rows
                    boxes.append(torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2]))
                    overlaps.append(torch.sigmoid(to))
                    probabilities.append(torch.softmax(torch.stack(logits), dim=0))
    stacked = (torch.stack(column).float() for column in (boxes, overlaps, probabilities))
    flat = [column.reshape(len(raw), -1, *column.shape[1:]) for column in stacked]
    return flat[0], flat[1], flat[2]
