"""The backbone of `light`: geometry, and batch norm that costs nothing when frozen."""

import torch
from torch import cat, nn

from tubedet.models.yolov2.efficientnet_lite import (
    ConvNorm,
    EfficientNetLite0,
    EfficientNetLiteStream,
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


def test_context_is_the_mean_of_the_widest_features_nearby_and_over_the_frame() -> None:
    stream = EfficientNetLiteStream().eval()
    image = torch.rand(1, 3, 224, 224)
    contexts = stream(image)[0, stream.out_channels :].chunk(2)
    fine, _, tuned = stream.backbone(image)
    mirrored_fine, _, mirrored_tuned = stream.backbone(image.flip(3))
    wides = (tuned[0], stream.general(fine)[0])
    mirrored_wides = (mirrored_tuned[0], stream.general(mirrored_fine)[0])
    for context, wide, mirrored in zip(contexts, wides, mirrored_wides, strict=True):
        near, scene = context.chunk(2)
        # Of seven columns the mirror image has 0..4 where the frame has 6..2.
        inner = (wide[:, 1:6, 0:5].mean(dim=(1, 2)) + mirrored[:, 1:6, 2:7].mean(dim=(1, 2))) / 2
        corner = (wide[:, 0:3, 4:7].mean(dim=(1, 2)) + mirrored[:, 0:3, 0:3].mean(dim=(1, 2))) / 2
        torch.testing.assert_close(near[:, 3, 2], inner)
        torch.testing.assert_close(near[:, 0, 6], corner)
        both = (wide.mean(dim=(1, 2)) + mirrored.mean(dim=(1, 2))) / 2
        torch.testing.assert_close(scene[:, 5, 1], both)


def test_boxes_are_found_in_the_frame_alone() -> None:
    stream = EfficientNetLiteStream().eval()
    image = torch.rand(2, 3, 96, 64)
    fine, coarse, _ = stream.backbone(image)
    expected = stream.join(cat([stream.passthrough(stream.lateral(fine)), coarse], dim=1))
    torch.testing.assert_close(stream(image)[:, : stream.out_channels], expected)


def test_tail_that_starts_from_a_whole_network_answers_as_it_does() -> None:
    whole, tail = EfficientNetLite0().eval(), EfficientNetLiteTail().eval()
    tail.start_from(whole)
    fine, _, wide = whole(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(tail(fine), wide)


def test_training_leaves_a_sample_with_either_context_both_or_none() -> None:
    torch.manual_seed(0)
    stream = EfficientNetLiteStream()
    stream.backbone.eval()
    stream.general.eval()
    seen = set()
    for features in stream(torch.rand(1, 3, 64, 64).expand(32, -1, -1, -1)):
        tuned, general = features[stream.out_channels :].chunk(2)
        seen.add((bool(tuned.any()), bool(general.any())))
    assert len(seen) == 4


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
