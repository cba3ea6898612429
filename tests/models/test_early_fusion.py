"""The paper's fusion, and the prior of its predictions."""

import pytest
import torch

from tests.small_detector import small_config, small_network
from tubedet.models.early_fusion import EarlyFusion


def test_every_number_is_a_weighted_sum_of_both_streams_in_its_cell() -> None:
    fusion = EarlyFusion(stream_channels=(1, 2), num_anchors=2, num_classes=1)
    with torch.no_grad():
        weights = torch.arange(1.0, 13.0)[:, None] * torch.tensor([1.0, 10.0, 100.0])
        fusion.conv.weight.copy_(weights[:, :, None, None])
        assert fusion.conv.bias is not None
        fusion.conv.bias.fill_(0.5)
    rgb, motion = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
    rgb[0, 0, 1, 0] = 1.0
    motion[0, :, 1, 0] = torch.tensor([2.0, 3.0])
    raw = fusion(rgb, motion)
    assert raw[0, :, 1, 0].tolist() == [k * 321 + 0.5 for k in range(1, 13)]
    assert (raw[0, :, 0] == 0.5).all()


@pytest.mark.parametrize("preset", ["flownet2-sd", "light"])
def test_a_head_with_a_prior_predicts_a_small_overlap_everywhere(preset: str) -> None:
    fusion = small_network(small_config(preset)).fusion
    assert fusion.conv.bias is not None
    before = fusion.conv.bias.detach().clone().view(2, -1)
    fusion.set_overlap_prior(0.1)
    after = fusion.conv.bias.detach().view(2, -1)
    torch.testing.assert_close(after[:, 4].sigmoid(), torch.tensor([0.1, 0.1]))
    assert torch.equal(after[:, :4], before[:, :4])
    assert 0.005 < fusion.conv.weight.std() < 0.02
