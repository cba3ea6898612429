import pytest
import torch

from tubedet.models.flownet2.layers import FlowPyramid
from tubedet.training.flow_loss import multi_scale_loss


def _nothing_moves(size: int) -> FlowPyramid:
    return FlowPyramid(*(torch.zeros(1, 2, size >> level, size >> level) for level in range(2, 7)))


def test_the_loss_weighs_levels_as_flownet_did() -> None:
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, 0], flow[:, 1] = 12.0, 16.0  # 20 px, so an error of 1 everywhere and at every level
    loss, error_px = multi_scale_loss(_nothing_moves(64), flow, torch.ones(1, 64, 64).bool())
    # Sums over 256, 64, 16, 4, 1 pixels, weighted 1, 2, 4, 16, 64, over 256 pixels.
    assert loss.item() == pytest.approx((256 + 128 + 64 + 64 + 64) / 256, rel=1e-5)
    assert error_px.item() == pytest.approx(20.0)


def test_pixels_of_unknown_flow_do_not_count() -> None:
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, :, :, 32:] = 1e6
    known = torch.ones(1, 64, 64).bool()
    known[:, :, 32:] = False
    loss, _ = multi_scale_loss(_nothing_moves(64), flow, known)
    assert loss.item() == 0.0
