"""Stride 2 with TensorFlow's padding against slow twins and the library's own gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tubedet.models.light.halving import (
    halved,
    halved_depthwise,
    input_gradient,
    kernel_gradient,
    mean_pooled,
)

SIZES = [(8, 12), (9, 12), (8, 7), (9, 11), (2, 2), (1, 1)]


def padded_as_in_tensorflow(x: Tensor, kernel: int, value: float = 0.0) -> Tensor:
    """`SAME` of TensorFlow at stride 2, by its own formula."""
    pads = []
    for side in reversed(x.shape[-2:]):
        total = max((-(-side // 2) - 1) * 2 + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", SIZES)
def test_padding_is_tensorflow_s(kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, *size).double(), torch.randn(4, 3, kernel, kernel).double()
    bias = torch.randn(4).double()
    expected = F.conv2d(padded_as_in_tensorflow(x, kernel), weight, bias, 2)
    torch.testing.assert_close(halved(x, weight, bias), expected)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", SIZES)
def test_gradient_equals_the_library_s_in_float64(kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    out = F.conv2d(padded_as_in_tensorflow(x, kernel), weight, None, 2, groups=4)
    grad = torch.randn_like(out)
    expected_x, expected_weight = torch.autograd.grad(out, (x, weight), grad)
    torch.testing.assert_close(input_gradient(grad, weight, x.shape[-2:]), expected_x)
    torch.testing.assert_close(kernel_gradient(x, grad, kernel), expected_weight)


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(16, 16), (15, 16), (17, 13)])
def test_depthwise_learns_in_bfloat16_what_it_learns_in_float32(
    kernel: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, 8, *size), torch.randn(8, 1, kernel, kernel), torch.randn(8)]
    inputs = [each.bfloat16().float() for each in inputs]
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        leaves = [each.to(dtype).requires_grad_() for each in inputs]
        loss = halved_depthwise(*leaves).float().square().sum()
        gradients.append(torch.autograd.grad(loss, leaves))
    for exact, rounded in zip(*gradients, strict=True):
        assert (exact - rounded.float()).abs().max() < 0.02 * exact.abs().max()


@pytest.mark.parametrize("size", [*SIZES, (64, 64), (43, 70)])
def test_mean_counts_only_pixels_inside(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size)
    outside = padded_as_in_tensorflow(x, 3, value=float("nan"))
    rows, columns = (-(-side // 2) for side in size)
    expected = torch.empty(2, 3, rows, columns)
    for row in range(rows):
        for column in range(columns):
            window = outside[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected[:, :, row, column] = window.nanmean((2, 3))
    torch.testing.assert_close(mean_pooled(x), expected)
