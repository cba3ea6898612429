"""Depthwise convolution whose gradient is quick on a CPU in bfloat16.

The library's own gradient is exact but, for stride 2 and for 5×5 kernels in bfloat16, 10 to 100
times slower than its forward pass (measured on AVX-512: 672 channels at 14×14, 5×5, stride 2:
83 ms against 0.4 ms), which made it four fifths of a training step. The same gradient is put
together from the passes that are quick, forward convolutions and 3×3 weight gradients: here for
stride 1, in `halving.py` for stride 2.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` with one filter a channel, an odd square kernel and half of it as padding."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        quick = input.device.type == "cpu" and input.dtype == torch.bfloat16
        if not (quick and torch.is_grad_enabled() and self.stride == (1, 1)):
            plain: Tensor = super()._conv_forward(input, weight, bias)
            return plain
        if bias is None:
            bias = weight.new_zeros(weight.shape[0])
        out: Tensor = _QuickGradient.apply(  # type: ignore[no-untyped-call]
            input, weight.to(input.dtype), bias.to(input.dtype)
        )
        return out


class _QuickGradient(torch.autograd.Function):
    """The convolution of stride 1 with its gradient spelled out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, 1, weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        need_input, need_weight, need_bias = ctx.needs_input_grad
        return (
            input_gradient(grad, weight) if need_input else None,
            weight_gradient(x, grad, weight.shape[-1]) if need_weight else None,
            grad.sum((0, 2, 3)) if need_bias else None,
        )


def input_gradient(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the input (B, C, H, W): `grad` convolved with the mirrored kernel."""
    return F.conv2d(grad, weight.flip(2, 3), None, 1, weight.shape[-1] // 2, groups=grad.shape[1])


def weight_gradient(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """Gradient of the weight (C, 1, kernel, kernel), read off in overlapping 3×3 windows of taps.

    A k×k weight gradient restricted to 3×3 of its taps is the weight gradient of a 3×3 convolution
    of the shifted input.
    """
    if kernel == 3:
        return weight_gradient_3x3(x, grad, 1, padding=1)
    padded = F.pad(x, [kernel // 2] * 4)
    rows, columns = (side + 2 for side in grad.shape[-2:])
    full = x.new_empty((x.shape[1], 1, kernel, kernel))
    for i in range(0, kernel - 2, 2):
        for j in range(0, kernel - 2, 2):
            window = padded[:, :, i : i + rows, j : j + columns]
            window = window.contiguous(memory_format=torch.channels_last)
            full[:, :, i : i + 3, j : j + 3] = weight_gradient_3x3(window, grad, 1, padding=0)
    return full


def weight_gradient_3x3(x: Tensor, grad: Tensor, stride: int, padding: int) -> Tensor:
    """Gradient of the weight (C, 1, 3, 3)."""
    channels = x.shape[1]
    weight = x.new_empty((channels, 1, 3, 3))  # only its shape is read
    gradient: Tensor = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [stride, stride],
        [padding, padding],
        [1, 1],
        False,
        [0, 0],
        channels,
        [False, True, False],
    )[1]
    return gradient
