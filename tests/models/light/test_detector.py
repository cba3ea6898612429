"""The detector of `light`: what each of its stages takes, and how their answers are joined."""

import pytest
import torch
from torch import Tensor

from tests.small_detector import learn_statistics, seeded_clip
from tubedet.checkpoints.native import lay_out
from tubedet.models.light.detector import (
    VIDEO_BACKBONE,
    LightDetector,
    LightFusion,
    joined_predictions,
)
from tubedet.models.light.video_stream import context
from tubedet.models.presets import LightConfig, build_detector

CONFIG = LightConfig(
    class_names=("walk", "run"),
    anchors_wh=((1.0, 1.5), (0.5, 0.5)),
    input_size=64,
    flow_size=64,
)
THIRTIETH = torch.tensor([1 / 30, 1 / 30])


@pytest.fixture(scope="module")
def network() -> LightDetector:
    """One whose predictions vary with what it sees."""
    torch.manual_seed(0)
    network = build_detector(CONFIG)
    for name, parameter in network.rgb_stream.backbone.named_parameters():
        if "temporal.weight" in name:  # a fresh one sees the present frame alone
            torch.nn.init.normal_(parameter)
    for layer in (network.context_window.appearance, network.context_window.motion):
        torch.nn.init.normal_(layer.weight, std=0.1)
    learn_statistics(network, seeded_clip(64, batch=4))
    return network


def seeded_frames(batch: int, times: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return 255 * torch.rand(batch, times, 3, 64, 64, generator=generator)


class FixedFlow(torch.nn.Module):
    """Answers a given flow (B, 2, S, S) whatever the clip."""

    def __init__(self, flow_uv: Tensor) -> None:
        super().__init__()
        self.flow_uv = flow_uv

    def forward(self, clip: Tensor) -> Tensor:
        return self.flow_uv


@torch.inference_mode()
def test_steps_tell_where_somebody_is_and_what_is_done(network: LightDetector) -> None:
    frames = seeded_frames(2, 3)

    steps, _ = network.steps(frames)

    maps, _ = network.rgb_stream.backbone(frames / 255)
    torch.testing.assert_close(steps.last, network.rgb_stream.joined(maps))
    layer = network.context_window.appearance
    weight, bias = layer.weight[:, :, 0, 0], layer.bias
    assert bias is not None
    expected = torch.einsum("ck,btkhw->btchw", weight, context(maps.wide))
    assert (steps.last.shape, steps.logits.shape) == ((2, 3, 128, 4, 4), (2, 3, 2, 2, 2))
    torch.testing.assert_close(steps.logits, expected + bias.view(2, 1, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("ends", [[1, 2, 3, 4], [2], [4]])
@torch.inference_mode()
def test_steps_may_be_taken_in_pieces(network: LightDetector, ends: list[int]) -> None:
    frames = seeded_frames(1, 5)
    whole, _ = network.steps(frames)
    state, pieces = None, []
    for piece in frames.tensor_split(ends, dim=1):
        steps, state = network.steps(piece, state)
        pieces.append(steps)
    for found, expected in zip(zip(*pieces, strict=True), whole, strict=True):
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(torch.cat(found, dim=1), expected, rtol=1e-5, atol=atol)
    forgotten, _ = network.steps(frames[:, -1:])
    assert (forgotten.last - whole.last[:, -1:]).abs().max() > 0.01


@torch.inference_mode()
def test_a_pair_alone_is_two_steps_a_motion_and_a_window_of_both(network: LightDetector) -> None:
    clip = seeded_clip(64, batch=2)

    found = network(clip)

    assert found.shape == (2, 2 * 7, 4, 4)
    motion = network.motion(clip, THIRTIETH)
    for pair in (0, 1):
        first, state = network.steps(clip[pair, None, None, :, 0])
        second, _ = network.steps(clip[pair, None, None, :, 1], state)
        boxes = network.fusion(second.last[0], motion.last[pair : pair + 1])
        logits = torch.cat([first.logits[0], second.logits[0]])
        maps = motion.maps[pair]
        actions = network.context_window(logits, torch.stack([maps, maps]))
        expected = joined_predictions(boxes, actions[None])[0]
        assert expected.std(dim=(1, 2)).min() > 1e-4
        torch.testing.assert_close(found[pair], expected, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_motion_is_measured_per_thirtieth_of_a_second() -> None:
    torch.manual_seed(0)
    network = build_detector(CONFIG).eval()
    clip = seeded_clip(64, batch=2)
    flow_uv = 4 * torch.randn(1, 2, 64, 64)
    # Pairs a thirtieth and a fifteenth of a second apart, of something as fast.
    network.flow = FixedFlow(torch.cat([flow_uv, 2 * flow_uv]))
    last, maps = network.motion(clip, torch.tensor([1 / 30, 1 / 15]))
    torch.testing.assert_close(last[0], last[1])
    torch.testing.assert_close(maps[0], maps[1])
    alone = network.motion_stream(flow_uv)
    torch.testing.assert_close(last[:1], alone.last)
    torch.testing.assert_close(maps[:1], alone.maps)
    assert not torch.allclose(network.motion(clip, THIRTIETH).maps[1], maps[1])


@torch.inference_mode()
def test_motion_is_that_of_the_flow_network(network: LightDetector) -> None:
    clip = seeded_clip(64, batch=2)
    assert network.flow is not None
    expected = network.motion_stream(network.flow(clip))
    for found, each in zip(network.motion(clip, THIRTIETH), expected, strict=True):
        torch.testing.assert_close(found, each)


def test_boxes_are_a_convolution_of_both_streams_side_by_side() -> None:
    torch.manual_seed(0)
    fusion = LightFusion(stream_channels=(3, 2), num_anchors=2, dropout=0.5)
    rgb, motion = torch.rand(1, 3, 2, 2), torch.rand(1, 2, 2, 2)
    weight, bias = fusion.conv.weight[:, :, 0, 0], fusion.conv.bias
    assert bias is not None
    expected = weight[:, :3] @ rgb[0, :, 1, 0] + weight[:, 3:] @ motion[0, :, 1, 0] + bias
    torch.testing.assert_close(fusion.eval()(rgb, motion)[0, :, 1, 0], expected)
    assert not torch.equal(fusion.train()(rgb, motion), fusion(rgb, motion))  # drops features


def test_predictions_are_joined_anchor_by_anchor() -> None:
    boxes = torch.arange(2.0 * 10 * 2 * 4).view(2, 10, 2, 4)
    actions = torch.tensor([[[[0.1, 0.2]], [[0.3, 0.4]], [[0.5, 0.6]]]]).repeat(2, 1, 1, 1)
    actions[1] += 10

    raw = joined_predictions(boxes, actions)

    assert raw.shape == (2, 2 * 8, 2, 4)
    # tx, ty, tw, th, to of the first anchor are channels 0 to 4 of the boxes; a cell of 32 px on
    # the left is the left two columns of cells of 16 px, with its logits of three classes.
    left, right = [0.1, 0.3, 0.5], [0.2, 0.4, 0.6]
    expected = [0, 8, 16, 24, 32, *left, 40, 48, 56, 64, 72, *left]
    torch.testing.assert_close(raw[0, :, 0, 0], torch.tensor(expected))
    for row, column, logits in ((0, 1, left), (1, 1, left), (0, 2, right), (1, 3, right)):
        cell = 4 * row + column
        expected = [*range(cell, 40, 8), *logits, *range(40 + cell, 80, 8), *logits]
        torch.testing.assert_close(raw[0, :, row, column], torch.tensor(expected))
        expected = [80.0 + each for each in range(cell, 40, 8)]
        torch.testing.assert_close(raw[1, :5, row, column], torch.tensor(expected))
        torch.testing.assert_close(raw[1, 13:, row, column], 10 + torch.tensor(logits))


def test_predictions_are_joined_in_single_precision() -> None:
    boxes, actions = torch.rand(1, 5, 2, 2).half(), torch.rand(1, 2, 1, 1)
    assert joined_predictions(boxes, actions).dtype == torch.float32


def test_parameters_are_grouped_by_what_their_weights_start_from(network: LightDetector) -> None:
    groups = network.parameter_groups()
    assert list(groups) == ["flow", "rgb", "motion", "head"]
    names = [name for group in groups.values() for name, _ in group]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    assert all(network.get_parameter(name) is each for name, each in groups["head"])
    starts = {
        part: {".".join(name.split(".")[:2]) for name, _ in group} for part, group in groups.items()
    }
    assert starts == {
        "flow": {"flow.network"},
        "rgb": {VIDEO_BACKBONE},
        "motion": set(),
        "head": {
            "rgb_stream.fine",
            "rgb_stream.coarse",
            "rgb_stream.join",
            "motion_stream.join",
            "fusion.conv",
            "context_window.appearance",
            "context_window.motion",
        },
    }


def test_it_can_be_laid_out_without_memory() -> None:
    network = lay_out(lambda: build_detector(CONFIG)).eval()
    raw = network(torch.empty(3, 3, 2, 96, 96, device="meta"))
    assert (raw.shape, raw.is_meta) == ((3, 14, 6, 6), True)
    steps, state = network.steps(torch.empty(1, 4, 3, 64, 128, device="meta"))
    again, _ = network.steps(torch.empty(1, 2, 3, 64, 128, device="meta"), state)
    assert (steps.last.shape, again.logits.shape) == ((1, 4, 128, 4, 8), (1, 2, 2, 2, 4))
