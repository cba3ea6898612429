"""The backbone of `light`: geometry, and batch norm that costs nothing when frozen."""

import torch
from torch import nn

from tests.small_detector import learn_statistics
from tubedet.models.light.efficientnet_lite import (
    ConvNorm,
    EfficientNetLite0,
    EfficientNetLiteTail,
)


def test_published_parameter_count_without_the_classifier() -> None:
    # EfficientNet-Lite0 has 4,652,008 parameters, its classifier 1280*1000 + 1000.
    backbone = EfficientNetLite0()
    expected = 4_652_008 - (1280 * 1000 + 1000)
    assert sum(p.numel() for p in backbone.parameters()) == expected


def test_features_come_at_strides_16_and_32() -> None:
    fine, coarse, wide = EfficientNetLite0().eval()(torch.rand(1, 3, 96, 64))
    assert fine.shape == (1, 112, 6, 4)
    assert coarse.shape == (1, 320, 3, 2)
    assert wide.shape == (1, 1280, 3, 2)


def test_tail_that_starts_from_a_whole_network_answers_as_it_does() -> None:
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 64)
    whole, tail = EfficientNetLite0(), EfficientNetLiteTail().eval()
    learn_statistics(whole, image)
    fine, _, wide = whole(image)
    assert wide.std() > 0.1
    assert not torch.allclose(tail(fine), wide, atol=0.1)
    tail.start_from(whole)
    torch.testing.assert_close(tail(fine), wide, atol=1e-5, rtol=1e-5)


def test_frozen_batch_norm_equals_convolution_then_norm() -> None:
    torch.manual_seed(0)
    block = ConvNorm(6, 10, kernel=3, stride=2)
    norm = block[1]
    assert isinstance(norm, nn.BatchNorm2d)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        assert tensor is not None
        nn.init.normal_(tensor)
    assert norm.running_var is not None
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    block.eval()
    x = torch.randn(2, 6, 8, 8)
    expected = x
    for layer in block:
        expected = layer(expected)
    torch.testing.assert_close(block(x), expected, atol=1e-5, rtol=1e-5)
