"""Convolutions and means of stride 2 with TensorFlow's padding.

An even side gets one row of zeros less in front than behind, an odd one as many. No input is padded
for that: a kernel that begins with a row of zeros reads the same numbers.

The gradient of the depthwise convolution is put together from passes of stride 1, for what
`depthwise.py` says. Pixels of even and odd rows and columns are four maps of half the size, and of
a map whose channels lie together, a pair of columns is a pixel of twice the channels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, cat

from tubedet.models.light.depthwise import weight_gradient_3x3

STRIDE = 2


def halved(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int = 1) -> Tensor:
    """Convolve with an odd square kernel: (B, C, H, W) → (B, C', ceil(H/2), ceil(W/2))."""
    rows, columns = (1 - side % 2 for side in x.shape[-2:])
    begun_later = F.pad(weight, (columns, 0, rows, 0))
    return F.conv2d(x, begun_later, bias, STRIDE, weight.shape[-1] // 2, groups=groups)


def halved_depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`halved` with one 3×3 or 5×5 filter (C, 1, k, k) a channel."""
    quick = x.device.type == "cpu" and x.dtype == torch.bfloat16
    if not (quick and torch.is_grad_enabled()):
        return halved(x, weight, bias, x.shape[1])
    out: Tensor = _QuickGradient.apply(  # type: ignore[no-untyped-call]
        x, weight.to(x.dtype), bias.to(x.dtype)
    )
    return out


def mean_pooled(x: Tensor) -> Tensor:
    """Means of 3×3 pixels at stride 2; what is outside doesn't count."""
    rows, columns = (side % 2 for side in x.shape[-2:])
    if rows and columns:
        return F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    # Whole windows first; ceil_mode cuts the last one short where the side is even.
    return F.avg_pool2d(x, 3, 2, (rows, columns), ceil_mode=True, count_include_pad=False)


class _QuickGradient(torch.autograd.Function):
    """The depthwise convolution with its gradient spelled out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return halved(x, weight, bias, x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_input, need_weight, need_bias = ctx.needs_input_grad
        return (
            input_gradient(grad, weight, x.shape[-2:]) if need_input else None,
            kernel_gradient(x, grad, weight.shape[-1]) if need_weight else None,
            grad.sum((0, 2, 3)) if need_bias else None,
        )


def input_gradient(grad: Tensor, weight: Tensor, size: torch.Size) -> Tensor:
    """Gradient of the input (B, C, *size) of a depthwise convolution of stride 2."""
    batch, channels, height, width = grad.shape
    taps = _as_six(weight).flip(2, 3)
    twice = cat([grad, grad], dim=1)
    rows = []
    for row in (1, 0):  # flipped, the kernel for even rows and columns begins at 1
        kernels = cat([taps[:, :, row::2, 1::2], taps[:, :, row::2, ::2]])
        pairs = F.conv2d(twice, kernels, None, 1, 1, groups=2 * channels)
        rows.append(pairs.permute(0, 2, 3, 1))
    full = torch.stack(rows, dim=2).reshape(batch, 2 * height, 2 * width, channels)
    return full.permute(0, 3, 1, 2)[:, :, size[0] % 2 :, size[1] % 2 :]


def kernel_gradient(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """Gradient of the weight (C, 1, kernel, kernel) of a depthwise convolution of stride 2."""
    rows, columns = (side % 2 for side in x.shape[-2:])
    if kernel == 3:
        grad = grad.contiguous(memory_format=torch.channels_last)
        return weight_gradient_3x3(F.pad(x, (columns, 1, rows, 1)), grad, STRIDE, padding=0)
    if rows or columns:
        x = F.pad(x, (columns, 0, rows, 0))
    batch, channels, height, width = x.shape
    pairs = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2 * channels)
    twice = cat([grad, grad], dim=1).contiguous(memory_format=torch.channels_last)
    six = x.new_empty((channels, 1, 6, 6))
    for row in (0, 1):
        half = pairs[:, :, row].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        taps = weight_gradient_3x3(half, twice, 1, padding=1)
        six[:, :, row::2, ::2], six[:, :, row::2, 1::2] = taps.chunk(2)
    return six[:, :, 1:, 1:]


def _as_six(weight: Tensor) -> Tensor:
    """A kernel within 6×6 zeros, whose even and odd taps meet even and odd pixels.

    Output o is the sum of taps t of pixels 2·o + t - 2; every second tap makes a 3×3 kernel that is
    in the middle of maps of half the size.
    """
    front = 3 - weight.shape[-1] // 2
    back = 6 - weight.shape[-1] - front
    return F.pad(weight, (front, back, front, back))
