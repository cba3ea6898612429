"""Correlation against NVIDIA's values, a slow twin, and one match placed by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden import golden_file
from tubedet.models.flownet2.correlation import Correlation


def shifted_products(first: Tensor, second: Tensor) -> Tensor:
    """The definition, one displacement after the other."""
    height, width = first.shape[-2:]
    padded = F.pad(second, (20, 20, 20, 20))
    shifts = [(dy, dx) for dy in range(0, 41, 2) for dx in range(0, 41, 2)]
    return torch.stack(
        [(first * padded[..., dy : dy + height, dx : dx + width]).mean(1) for dy, dx in shifts], 1
    )


def test_correlation_equals_the_original() -> None:
    with golden_file("ops") as golden:
        first, second, expected = (
            torch.from_numpy(golden[key]) for key in ("corr_a", "corr_b", "corr_out")
        )
    torch.testing.assert_close(Correlation()(first, second), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (5, 46), (46, 5), (1, 1)])
def test_values_and_gradients_equal_the_slow_twin(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(2, 2, 3, *size, dtype=torch.float64, generator=generator)
    first, second = maps.unbind()
    weights = torch.randn(2, 441, *size, dtype=torch.float64, generator=generator)
    results = []
    for correlate in (Correlation(), shifted_products):
        inputs = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        output = correlate(*inputs)
        results.append((output, *torch.autograd.grad((output * weights).sum(), inputs)))
    torch.testing.assert_close(results[0], results[1])


def test_a_match_four_down_and_six_left_answers_in_channel_259_only() -> None:
    first, second = torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16)
    first[0, 0, 5, 9] = 3.0
    second[0, 0, 5 + 4, 9 - 6] = 4.0
    response = Correlation()(first, second)
    assert response.nonzero().tolist() == [[0, 21 * (2 + 10) + (-3 + 10), 5, 9]]
    assert response.sum() == 3.0 * 4.0 / 2


def test_an_odd_displacement_answers_nowhere() -> None:
    first, second = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    first[0, 0, 3, 3] = second[0, 0, 3, 4] = 1.0
    assert not Correlation()(first, second).any()


def test_gradients_equal_finite_differences() -> None:
    generator = torch.Generator().manual_seed(4)
    maps = torch.randn(2, 1, 2, 3, 4, dtype=torch.float64, generator=generator)
    inputs = [features.clone().requires_grad_() for features in maps]
    # Every single output would take a backward pass each, more than a minute in all.
    assert torch.autograd.gradcheck(Correlation(), inputs, fast_mode=True)
