"""The norm over channels against NVIDIA's values and gradients, and at zero."""

import torch

from tests.golden import golden_file
from tubedet.models.flownet2.channel_norm import ChannelNorm


def test_values_and_gradients_equal_the_original() -> None:
    with golden_file("ops") as golden:
        vectors, norm, norm_gradient, expected_gradient = (
            torch.from_numpy(golden[key]) for key in ("cn_x", "cn_out", "cn_gout", "cn_gx")
        )
    vectors.requires_grad_()
    output = ChannelNorm()(vectors)
    (gradient,) = torch.autograd.grad(output, vectors, grad_outputs=norm_gradient)
    torch.testing.assert_close(output, norm, atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient, expected_gradient, atol=1e-6, rtol=0)


def test_the_gradient_at_a_zero_vector_is_zero() -> None:
    vectors = torch.zeros(1, 3, 1, 2)
    vectors[0, :2, 0, 1] = torch.tensor([3.0, -4.0])
    vectors.requires_grad_()
    norm = ChannelNorm()(vectors)
    norm.sum().backward()
    assert norm.flatten().tolist() == [0.0, 5.0]
    assert vectors.grad is not None
    torch.testing.assert_close(
        vectors.grad[0, :, 0], torch.tensor([[0.0, 0.6], [0.0, -0.8], [0.0, 0.0]])
    )


def test_gradients_equal_finite_differences() -> None:
    generator = torch.Generator().manual_seed(6)
    vectors = torch.randn(2, 3, 2, 2, dtype=torch.float64, generator=generator).requires_grad_()
    assert torch.autograd.gradcheck(ChannelNorm(), vectors)
