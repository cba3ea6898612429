"""The RGB stream of `light`: its joined maps and their context against slow twins."""

import pytest
import torch
from torch import Tensor

from tests.small_detector import learn_statistics
from tubedet.checkpoints.native import lay_out
from tubedet.models.light.video_backbone import BackboneMaps
from tubedet.models.light.video_stream import VideoStream, context


def seeded_stream() -> VideoStream:
    """One whose last activations vary with what it sees."""
    torch.manual_seed(0)
    stream = VideoStream(out_channels=12)
    for name, parameter in stream.backbone.named_parameters():
        if "temporal.weight" in name:  # a fresh one sees the present frame alone
            torch.nn.init.normal_(parameter)
    learn_statistics(stream, torch.rand(2, 3, 3, 64, 96))
    return stream


def random_maps() -> BackboneMaps:
    """Of two clips of three frames of 64x96 px."""
    sides = ((32, 8, 12), (56, 4, 6), (104, 2, 3), (480, 2, 3))
    return BackboneMaps(*(torch.randn(2, 3, *side) for side in sides))


@torch.inference_mode()
def test_maps_are_joined_at_stride_16() -> None:
    stream, maps = seeded_stream(), random_maps()

    found = stream.joined(maps)

    assert found.shape == (2, 3, 12, 4, 6)
    assert found.std() > 0.1
    for clip, frame in ((0, 0), (0, 2), (1, 1)):
        fine, middle, coarse, _ = (each[clip, frame] for each in maps)
        # Of every cell of 16 px: its four fine pixels, channel by channel; and the cell of 32 px
        # that it lies in.
        folded, repeated = torch.zeros(4 * 32, 4, 6), torch.zeros(96, 4, 6)
        of_coarse = stream.coarse(coarse[None])[0]
        for row in range(4):
            for column in range(6):
                square = fine[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                folded[:, row, column] = square.flatten()
                repeated[:, row, column] = of_coarse[:, row // 2, column // 2]
        joined = torch.cat([stream.fine(folded[None])[0], middle, repeated])
        expected = stream.join(joined[None])[0]
        torch.testing.assert_close(found[clip, frame], expected, rtol=1e-5, atol=1e-5)


def slow_context(wide: Tensor) -> Tensor:
    """Of a map (C, h, w) cell by cell, (2C, h, w)."""
    channels, rows, columns = wide.shape
    out = torch.empty(2 * channels, rows, columns)
    for row in range(rows):
        for column in range(columns):
            near = wide[:, max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
            out[:channels, row, column] = near.mean(dim=(1, 2))
    out[channels:] = wide.mean(dim=(1, 2))[:, None, None]
    return out


def test_context_is_the_mean_of_the_cells_around_that_exist_and_of_the_frame() -> None:
    wide = torch.zeros(1, 1, 1, 3, 7)
    wide[0, 0, 0, 0, 0] = 84.0
    near, whole = context(wide)[0, 0]
    # Three rows are within reach of all; of the columns 3, 4 and 5.
    row = torch.tensor([84 / 9, 84 / 12, 84 / 15, 0, 0, 0, 0])
    torch.testing.assert_close(near, row.expand(3, 7))
    assert torch.equal(whole, torch.full((3, 7), 4.0))


@pytest.mark.parametrize("size", [(8, 8), (2, 3), (1, 1), (4, 9)])
def test_context_of_random_maps_is_that_of_a_slow_twin(size: tuple[int, int]) -> None:
    wide = torch.randn(2, 3, 4, *size)
    found = context(wide)
    assert found.shape == (2, 3, 8, *size)
    for clip in range(2):
        for frame in range(3):
            torch.testing.assert_close(found[clip, frame], slow_context(wide[clip, frame]))


def test_context_is_computed_in_single_precision() -> None:
    wide = torch.randn(1, 2, 3, 4, 4).bfloat16()
    assert torch.equal(context(wide), context(wide.float()))


@torch.inference_mode()
def test_features_are_those_of_the_backbone_s_maps_frame_by_frame() -> None:
    stream, frames = seeded_stream(), torch.rand(1, 4, 3, 64, 96)
    maps, _ = stream.backbone(frames)
    whole, _ = stream(frames)
    torch.testing.assert_close(whole.last, stream.joined(maps))
    torch.testing.assert_close(whole.context, context(maps.wide))
    state, parts = None, []
    for piece in frames.tensor_split([1, 3], dim=1):
        features, state = stream(piece, state)
        parts.append(features)
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        atol = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(torch.cat(found, dim=1), expected, rtol=1e-5, atol=atol)
    forgotten, _ = stream(frames[:, 3:])
    assert (forgotten.last - whole.last[:, 3:]).abs().max() > 0.01


def test_it_can_be_laid_out_without_memory() -> None:
    (last, of_frame), state = lay_out(VideoStream)(torch.empty(2, 3, 3, 96, 128, device="meta"))
    assert (last.shape, of_frame.shape) == ((2, 3, 128, 6, 8), (2, 3, 960, 3, 4))
    assert last.is_meta
    assert of_frame.is_meta
    assert all(buffer.is_meta for buffer in state)
