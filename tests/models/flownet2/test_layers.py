"""What FlowNetC, FlowNetS and FlowNetSD share, on narrow seeded networks."""

import pytest
import torch
from torch import nn

from tubedet.models.flownet2.flownet_c import FlowNetC
from tubedet.models.flownet2.flownet_s import FlowNetS
from tubedet.models.flownet2.flownet_sd import FlowNetSD
from tubedet.models.flownet2.layers import FlowPyramid, conv_block

NETWORKS = [FlowNetC, FlowNetS, FlowNetSD]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("network_class", NETWORKS)
def test_flow_comes_at_five_levels_in_training_and_evaluation(
    network_class: type[nn.Module], training: bool
) -> None:
    network = network_class(width=1 / 16).train(training)
    with torch.no_grad():
        pyramid = network(torch.zeros(2, 6, 64, 128))
    assert isinstance(pyramid, FlowPyramid)
    sizes = [(2, 2, 64 // scale, 128 // scale) for scale in (4, 8, 16, 32, 64)]
    assert [tuple(flow.shape) for flow in pyramid] == sizes


@pytest.mark.parametrize("size", [(64, 100), (96, 64), (0, 64)])
@pytest.mark.parametrize("network_class", NETWORKS)
def test_a_size_that_64_does_not_divide_is_refused_by_name(
    network_class: type[nn.Module], size: tuple[int, int]
) -> None:
    network = network_class(width=1 / 16)
    with pytest.raises(ValueError, match=rf"multiples of 64, found {size[1]}x{size[0]}"):
        network(torch.zeros(1, 6, *size))


def test_twenty_fresh_layers_keep_the_variance_of_their_input() -> None:
    torch.manual_seed(7)
    network = nn.Sequential(*(conv_block(32, 32) for _ in range(20)))
    with torch.no_grad():
        power = network(torch.randn(1, 32, 64, 64)).square().mean()
    assert 0.1 < power < 10  # PyTorch's own initial weights leave about 1e-12
