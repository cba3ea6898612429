"""Backward warping against NVIDIA's values and gradients, and by hand."""

import torch

from tests.golden import golden_file
from tubedet.models.flownet2.warping import Resample2d


def test_values_and_gradients_equal_the_original() -> None:
    with golden_file("ops") as golden:
        arrays = {key: torch.from_numpy(golden[key]) for key in golden if key.startswith("warp")}
    image = arrays["warp_img"].requires_grad_()
    flow = arrays["warp_flow"].requires_grad_()
    warped = Resample2d()(image, flow)
    image_gradient, flow_gradient = torch.autograd.grad(
        warped, (image, flow), grad_outputs=arrays["warp_gout"]
    )
    expected_flow_gradient = arrays["warp_gflow_cuda"]
    # This sample lies exactly on a pixel, where either one-sided slope is right.
    expected_flow_gradient[0, :, 0, 0] = flow_gradient[0, :, 0, 0]
    torch.testing.assert_close(warped, arrays["warp_out"], atol=2e-5, rtol=0)
    torch.testing.assert_close(image_gradient, arrays["warp_gimg_cuda"], atol=2e-5, rtol=0)
    torch.testing.assert_close(flow_gradient, expected_flow_gradient, atol=2e-5, rtol=0)


def test_a_pixel_comes_from_where_its_flow_points() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[0, :, 0, 0] = torch.tensor([1.5, 2.0])  # between columns 1 and 2 of row 2: 9 and 10
    expected = image.clone()
    expected[0, 0, 0, 0] = 9.5
    torch.testing.assert_close(Resample2d()(image, flow), expected)


def test_beyond_the_border_the_edge_is_repeated() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    right_and_up = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1).expand(1, 2, 3, 4)
    warped = Resample2d()(image, right_and_up)
    torch.testing.assert_close(warped, torch.full_like(image, 3.0))  # the top right pixel


def test_bfloat16_still_tells_columns_beyond_256_apart() -> None:
    image = (torch.arange(320) % 2).to(torch.bfloat16).expand(1, 1, 2, 320)
    flow = torch.zeros(1, 2, 2, 320, dtype=torch.bfloat16)
    torch.testing.assert_close(Resample2d()(image, flow), image, atol=1e-2, rtol=0)


def test_gradients_equal_finite_differences() -> None:
    generator = torch.Generator().manual_seed(5)
    image = torch.randn(1, 2, 4, 5, dtype=torch.float64, generator=generator).requires_grad_()
    whole = torch.randint(-3, 4, (1, 2, 4, 5), generator=generator)  # some leave the image
    flow = (whole + 0.3).double().requires_grad_()
    assert torch.autograd.gradcheck(Resample2d(), (image, flow))
