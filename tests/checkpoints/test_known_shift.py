"""The pair with a known shift, as a trained network and OpenCV see it."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tubedet.checkpoints.catalog import resolve_weights
from tubedet.checkpoints.known_shift import ShiftAnswer, flow_of_known_shift
from tubedet.checkpoints.native import load_flow


class Dis(nn.Module):
    """OpenCV's DIS flow of the two frames."""

    def forward(self, clip: Tensor) -> Tensor:
        first, second = (
            cv2.cvtColor(frame.permute(1, 2, 0).numpy().astype(np.uint8), cv2.COLOR_RGB2GRAY)
            for frame in clip[0].unbind(1)
        )
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        flow = np.asarray(dis.calc(first, second, np.zeros((*first.shape, 2), np.float32)))
        return torch.from_numpy(flow).permute(2, 0, 1)[None]


def test_opencv_finds_the_shift() -> None:
    assert flow_of_known_shift(Dis()) == pytest.approx((2, 0), abs=0.05)


def test_a_trained_network_finds_the_shift() -> None:
    flow, _ = load_flow(resolve_weights("light"))
    answer = flow_of_known_shift(flow)
    assert answer == pytest.approx((2, 0), abs=0.1)
    assert answer.is_right


@pytest.mark.parametrize(
    "answer", [(800, 0), (0.005, 0), (-2, 0), (2, 1), (0, 2), (float("nan"), 0)]
)
def test_a_wrong_scale_sign_or_axis_is_not_right(answer: tuple[float, float]) -> None:
    assert not ShiftAnswer(*answer).is_right
