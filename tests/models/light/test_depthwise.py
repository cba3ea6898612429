"""The quick gradient of a depthwise convolution against the library's own."""

import pytest
import torch
import torch.nn.functional as F

from tubedet.models.light.depthwise import DepthwiseConv2d, input_gradient, weight_gradient


@pytest.mark.parametrize("kernel", [3, 5])
def test_gradient_equals_the_library_s_in_float64(kernel: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    out = F.conv2d(x, weight, None, 1, kernel // 2, groups=4)
    grad = torch.randn_like(out)
    expected_x, expected_weight = torch.autograd.grad(out, (x, weight), grad)
    torch.testing.assert_close(input_gradient(grad, weight), expected_x)
    torch.testing.assert_close(weight_gradient(x, grad, kernel), expected_weight)


@pytest.mark.parametrize("stride", [1, 2])
def test_module_in_bfloat16_learns_what_float32_learns(stride: int) -> None:
    torch.manual_seed(0)
    module = DepthwiseConv2d(8, 5, stride)
    x = torch.randn(2, 8, 16, 16)
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        leaf = x.detach().clone().to(dtype).requires_grad_()
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            module(leaf).float().square().sum().backward()
        assert leaf.grad is not None
        assert module.weight.grad is not None
        gradients.append((leaf.grad.float(), module.weight.grad.clone()))
    for exact, rounded in zip(*gradients, strict=True):
        assert (exact - rounded).abs().max() < 0.02 * exact.abs().max()
