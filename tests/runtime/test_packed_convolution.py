from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tubedet.runtime import packed_convolution
from tubedet.runtime.packed_convolution import pack_kernels

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(),  # type: ignore[no-untyped-call]
    reason="PyTorch without oneDNN",
)
DTYPES = [
    torch.float32,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(
            not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
            reason="oneDNN has no bfloat16 on this processor",
        ),
    ),
]
# Without AVX-512, oneDNN takes another kernel for a packed weight of some shapes.
ROUNDING = 0 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 1e-6
KINDS = [
    nn.Conv2d(6, 16, 3, padding=1),
    nn.Conv2d(6, 16, (1, 5), stride=(2, 1), padding=(0, 2), bias=False),
    nn.Conv2d(6, 12, 3, dilation=2),
    nn.ConvTranspose2d(6, 10, 4, stride=2, padding=1),
    nn.ConvTranspose2d(6, 10, 3, stride=2, padding=1, output_padding=1, bias=False),
]


class Twice(nn.Module):
    """One convolution on maps of two sizes, as a flow network's on several levels."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, maps: Tensor) -> list[Tensor]:
        small = nn.functional.avg_pool2d(maps.float(), 4).to(maps.dtype)
        return [self.convolution(small), self.convolution(maps), self.convolution(small)]


@needs_onednn
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("convolution", KINDS, ids=str)
def test_answers_are_the_same_to_the_last_bit(
    convolution: nn.Conv2d, layout: Any, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    network = Twice(convolution).to(dtype)
    convolution.to(memory_format=layout)  # type: ignore[call-overload]
    maps = torch.randn(2, 6, 24, 32)
    plain = type(convolution)
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected = network(maps)
        pack_kernels(network)
        try:
            assert type(network.convolution) is not plain
            found = [*network(maps), *network(maps)]
        finally:
            network.convolution.__class__ = plain
            vars(network.convolution).pop("_packed", None)
            network.float()
    assert [each.dtype for each in found] == [each.dtype for each in expected * 2]
    for one, other in zip(found, expected * 2, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=ROUNDING)


def test_a_bfloat16_convolution_stays_where_onednn_does_not_compute_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    network = nn.Sequential(nn.Conv2d(3, 3, 3, dtype=torch.bfloat16))
    pack_kernels(network)
    assert type(network[0]) is nn.Conv2d


def test_other_layers_stay_as_they_are() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding="same"),
        nn.Conv2d(3, 3, 3, padding_mode="reflect", padding=1),
        nn.Conv2d(6, 6, 5, groups=6),
        nn.Conv2d(3, 3, 3, dtype=torch.float16),
    )
    pack_kernels(network)
    assert {type(module) for module in network} == {nn.Conv2d}


def test_without_the_operations_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_convolution, "OPERATIONS", ("_an_operation_of_another_version",))
    network = nn.Sequential(nn.Conv2d(3, 3, 3))
    pack_kernels(network)
    assert type(network[0]) is nn.Conv2d
