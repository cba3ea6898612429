"""The motion stream of `light` on flow that is constant over cells."""

import pytest
import torch
import torch.nn.functional as F

from tests.small_detector import learn_statistics
from tubedet.checkpoints.native import lay_out
from tubedet.models.light.flow_histograms import motion_maps
from tubedet.models.light.flow_stream import FlowStream


def test_features_are_of_the_motion_maps_at_half_a_cell_and_of_the_flow_s_at_a_cell() -> None:
    torch.manual_seed(0)
    stream = FlowStream()
    flow_uv = 3 * torch.randn(2, 2, 4, 6).repeat_interleave(16, 2).repeat_interleave(16, 3)
    learn_statistics(stream, flow_uv)

    last, maps = stream(flow_uv)

    # A vector for 4x4 px, and 4x4 of them a cell of 16 px.
    fine = F.avg_pool2d(motion_maps(flow_uv[..., ::4, ::4]), 4)
    expected = stream.join((fine + 1e-4).sqrt())
    assert expected.std() > 0.1
    torch.testing.assert_close(last, expected, atol=1e-5, rtol=1e-5)
    for row in range(2):
        for column in range(3):
            square = fine[:, :9, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(maps[..., row, column], square.mean(dim=(2, 3)))


@pytest.mark.parametrize("channels", [8, 64])
def test_it_can_be_laid_out_without_memory(channels: int) -> None:
    stream = lay_out(lambda: FlowStream(out_channels=channels))
    last, maps = stream(torch.empty(2, 2, 96, 128, device="meta"))
    assert (last.shape, maps.shape) == ((2, channels, 6, 8), (2, 9, 3, 4))
    assert last.is_meta
    assert maps.is_meta
