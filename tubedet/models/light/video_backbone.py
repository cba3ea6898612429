"""MoViNet-A0-Stream, the video backbone of `light`: a causal network that was taught Kinetics-600.

Frames go in one after the other; what a temporal convolution needs of the past is its buffer. A
batch of consecutive frames (clip mode) gives the numbers that single frames give (stream mode).

Batch norm is part of the convolutions, as in the published file for TensorFlow Lite, whose padding
it follows: with stride 2 an even side gets no zeros in front and the rest behind.

Source: Kondratyuk et al., "MoViNets: Mobile Video Networks for Efficient Video Recognition", 2021.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn

from tubedet.models.light.depthwise import DepthwiseConv2d
from tubedet.models.light.halving import halved, halved_depthwise, mean_pooled


class BlockShape(NamedTuple):
    """One row of the network's table; `temporal` is the length of its convolution over time."""

    in_channels: int
    hidden: int
    out_channels: int
    kernel: int
    stride: int
    temporal: int


STEM_CHANNELS = 8
BLOCKS = (
    BlockShape(8, 24, 8, 5, 2, 1),
    BlockShape(8, 80, 32, 3, 2, 3),
    BlockShape(32, 80, 32, 3, 1, 3),
    BlockShape(32, 80, 32, 3, 1, 3),  # stride 8 ends here
    BlockShape(32, 184, 56, 3, 2, 5),
    BlockShape(56, 112, 56, 3, 1, 3),
    BlockShape(56, 184, 56, 3, 1, 3),
    BlockShape(56, 184, 56, 3, 1, 5),
    BlockShape(56, 184, 56, 3, 1, 3),
    BlockShape(56, 184, 56, 3, 1, 3),
    BlockShape(56, 184, 56, 3, 1, 3),  # stride 16 ends here
    BlockShape(56, 384, 104, 3, 2, 5),
    BlockShape(104, 280, 104, 5, 1, 1),
    BlockShape(104, 280, 104, 5, 1, 1),
    BlockShape(104, 344, 104, 5, 1, 1),  # stride 32
)
LAST_OF_STRIDE = {8: 3, 16: 10, 32: 14}
MAP_CHANNELS = {8: 32, 16: 56, 32: 104}
WIDE_CHANNELS = 480
STEPS_PER_SECOND = 15  # that it is given: names hardly gain from more
PAST_FRAMES = sum(block.temporal - 1 for block in BLOCKS)  # that the last map depends on: 28

State = tuple[Tensor, ...]
"""Buffers (B, t-1, hidden, h, w), the oldest frame first, of all blocks with a temporal kernel."""


class BackboneMaps(NamedTuple):
    """Activations of T frames, each (B, T, C, h, w), at strides 8, 16 and 32; `wide` at 32."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor
    wide: Tensor


class SpatialConv2d(DepthwiseConv2d):
    """Depthwise, with a bias and TensorFlow's padding."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(channels, kernel, stride)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, ceil(H/stride), ceil(W/stride))."""
        if self.stride[0] == 1:
            return self._conv_forward(input, self.weight, self.bias)
        assert self.bias is not None
        return halved_depthwise(input, self.weight, self.bias)


class StemConv2d(nn.Conv2d):
    """With a stride of 2 and TensorFlow's padding."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', ceil(H/2), ceil(W/2))."""
        return halved(input, self.weight, self.bias)


class TemporalConv(nn.Module):
    """Depthwise over so many frames, the last of which is the present one."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, frames, 1))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.ones_(self.weight[:, :, -1])

    @property
    def frames(self) -> int:
        """Length of the kernel."""
        return self.weight.shape[2]

    def forward(self, x: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C, h, w) behind a buffer (B, t-1, C, h, w) → (B, T, C, h, w), next buffer."""
        batch, times, channels, *size = x.shape
        if times == 1:  # as it runs: a sum is quicker, and needs no other order of axes
            latest = cat([buffer.to(x.dtype), x], dim=1)
            out = self.bias[:, None, None]
            for number in range(self.frames):
                out = out + latest[:, number] * self.weight[:, 0, number, 0, None, None]
            return out[:, None].to(x.dtype), latest[:, 1:]
        # Channels last, as everywhere: times are the rows, and pixels the columns, of one map.
        frames = [part.permute(0, 1, 3, 4, 2) for part in (buffer.to(x.dtype), x)]
        joined = cat(frames, dim=1)
        as_map = joined.flatten(2, 3).permute(0, 3, 1, 2)
        out = F.conv2d(as_map, self.weight, self.bias, groups=channels)
        out = out.permute(0, 2, 3, 1).reshape(batch, times, *size, channels)
        return out.permute(0, 1, 4, 2, 3), joined[:, times:].permute(0, 1, 4, 2, 3)


class Block(nn.Module):
    """1×1 expansion, convolution in space and maybe in time, projection; and a shortcut."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__()
        self.shape = shape
        self.expand = nn.Conv2d(shape.in_channels, shape.hidden, 1)
        self.depthwise = SpatialConv2d(shape.hidden, shape.kernel, shape.stride)
        self.temporal = TemporalConv(shape.hidden, shape.temporal) if shape.temporal > 1 else None
        self.project = nn.Conv2d(shape.hidden, shape.out_channels, 1)
        self.rezero = nn.Parameter(torch.ones(1))
        self.skip = (
            nn.Conv2d(shape.in_channels, shape.out_channels, 1) if shape.stride > 1 else None
        )

    def forward(self, x: Tensor, times: int, buffer: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B·T, C, H, W) → (B·T, C', H/stride, W/stride), and the next buffer."""
        hidden = F.relu6(self.expand(x), inplace=True)
        hidden = F.relu6(self.depthwise(hidden), inplace=True)
        if self.temporal is not None:
            over_time = _by_clip(hidden, times)
            if buffer is None:
                batch, _, *size = over_time.shape
                buffer = over_time.new_zeros(batch, self.temporal.frames - 1, *size)
            over_time, buffer = self.temporal(over_time, buffer)
            # Not in place: of a view, that copies the gradient.
            hidden = F.relu6(over_time.flatten(0, 1))
        shortcut = x if self.skip is None else self.skip(mean_pooled(x))
        project = self.project
        assert project.bias is not None
        # A scaled kernel is quicker than a scaled map.
        weight, bias = project.weight * self.rezero, project.bias * self.rezero
        return shortcut + F.conv2d(hidden, weight, bias), buffer


class VideoBackbone(nn.Module):
    """The network up to its last map; its classifier is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = StemConv2d(3, STEM_CHANNELS, 3, 2, 1)
        self.blocks = nn.ModuleList(map(Block, BLOCKS))
        self.project = nn.Conv2d(BLOCKS[-1].out_channels, WIDE_CHANNELS, 1)

    def forward(
        self, frames: Tensor, state: Sequence[Tensor] | None = None
    ) -> tuple[BackboneMaps, State]:
        """Maps of consecutive frames.

        Args:
            frames: (B, T, 3, H, W) RGB in [0, 1].
            state: what the call for the frames before has returned; None at the beginning.

        Returns:
            Maps of all T frames, and the state for those that follow.
        """
        times = frames.shape[1]
        buffers = iter(state) if state else None
        next_state: list[Tensor] = []
        maps: dict[int, Tensor] = {}
        x = F.relu6(self.stem(frames.flatten(0, 1)), inplace=True)
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            has_buffer = block.temporal is not None
            x, buffer = block(x, times, next(buffers) if buffers and has_buffer else None)
            if buffer is not None:
                next_state.append(buffer)
            for stride, last in LAST_OF_STRIDE.items():
                if number == last:
                    maps[stride] = _by_clip(x, times)
        wide = _by_clip(F.relu6(self.project(x), inplace=True), times)
        return BackboneMaps(maps[8], maps[16], maps[32], wide), tuple(next_state)


def _by_clip(x: Tensor, times: int) -> Tensor:
    """(B·T, C, h, w) → (B, T, C, h, w)."""
    return x.view(-1, times, *x.shape[1:])
