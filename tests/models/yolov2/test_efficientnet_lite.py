"""The backbone of `light`: geometry, and batch norm that costs nothing when frozen."""

import torch
from torch import nn

from tubedet.models.yolov2.efficientnet_lite import ConvNorm, EfficientNetLite0


def test_published_parameter_count_without_the_classifier() -> None:
    # EfficientNet-Lite0 has 4,652,008 parameters; classifier 1280*1000 + 1000, the 1x1 convolution
    # before it 320*1280, its batch norm 2*1280.
    backbone = EfficientNetLite0()
    expected = 4_652_008 - (1280 * 1000 + 1000) - 320 * 1280 - 2 * 1280
    assert sum(p.numel() for p in backbone.parameters()) == expected


def test_features_come_at_strides_16_and_32() -> None:
    fine, coarse = EfficientNetLite0().eval()(torch.rand(1, 3, 96, 64))
    assert fine.shape == (1, 112, 6, 4)
    assert coarse.shape == (1, 320, 3, 2)


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
