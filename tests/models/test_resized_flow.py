"""A flow network that works at a size of its own."""

import torch
from torch import Tensor, nn

from tubedet.models.resized_flow import ResizedFlow


def test_resized_flow_is_in_pixels_of_the_clip_it_was_given() -> None:
    class OnePixelRight(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            assert clip.shape[-2:] == (64, 64)
            return torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(len(clip), 2, 64, 64)

    flow = ResizedFlow(OnePixelRight(), 64)(torch.zeros(1, 3, 2, 128, 256))
    assert flow.shape == (1, 2, 128, 256)
    torch.testing.assert_close(flow[0, :, 5, 5], torch.tensor([4.0, 0.0]))


def test_flow_at_the_size_of_the_clip_is_the_same_as_resized_to_that_size() -> None:
    class Difference(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            return clip[:, :2, 1] - clip[:, :2, 0]

    clip = torch.rand(2, 3, 2, 64, 128) * 255
    torch.testing.assert_close(
        ResizedFlow(Difference(), (64, 128))(clip), Difference()(clip), atol=0, rtol=0
    )
