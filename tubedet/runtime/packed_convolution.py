"""Convolutions whose kernels are kept in the order in which the processor multiplies them.

PyTorch reorders a kernel for oneDNN on every call, which for large kernels on small maps takes
longer than the convolution. Kept, it gives the same numbers to the last bit on processors with
AVX-512, and to within rounding on older ones. Measured on a core of an AMD EPYC in bfloat16:
`light` takes a seventh less time.
"""

from typing import Any

import torch
from torch import Tensor, nn

OPERATIONS = (
    "_reorder_convolution_weight",
    "_reorder_convolution_transpose_weight",
    "_convolution_pointwise",
    "_convolution_transpose_pointwise",
)


class PackedConv2d(nn.Conv2d):
    """A convolution that packs its kernel when it is first called; for inference on a CPU alone."""

    _packed: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        """As the base."""
        how = (self.padding, self.stride, self.dilation, self.groups)
        if self._packed is None:
            self._packed = _run("_reorder_convolution_weight", self.weight, *how, input.shape)
        given = input.to(self.weight.dtype)  # as autocast does, which doesn't know the operation
        return _run("_convolution_pointwise", given, self._packed, self.bias, *how, "none", [], "")


class PackedConvTranspose2d(nn.ConvTranspose2d):
    """A transposed one."""

    _packed: Tensor | None = None

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As the base, without `output_size`."""
        assert output_size is None
        how = (self.padding, self.output_padding, self.stride, self.dilation, self.groups)
        if self._packed is None:
            reorder = "_reorder_convolution_transpose_weight"
            self._packed = _run(reorder, self.weight, *how, input.shape)
        convolve = "_convolution_transpose_pointwise"
        given = input.to(self.weight.dtype)
        return _run(convolve, given, self._packed, self.bias, *how, "none", [], "")


def pack_kernels(network: nn.Module) -> None:
    """Let a network on the CPU, which is no longer trained, keep its kernels packed.

    Nothing happens where PyTorch has no oneDNN, or lacks the operations, which are not part of its
    public interface. Convolutions in groups, which PyTorch computes by other means, stay too, and
    so do those in a half precision that oneDNN does not compute on this processor.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    if not all(hasattr(torch.ops.mkldnn, name) for name in OPERATIONS):
        return
    for module in network.modules():
        if type(module) is nn.Conv2d and _can_be_packed(module):
            module.__class__ = PackedConv2d
        if type(module) is nn.ConvTranspose2d and _can_be_packed(module):
            module.__class__ = PackedConvTranspose2d


def _can_be_packed(module: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    is_plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    return is_plain and module.groups == 1 and _is_computed(module.weight.dtype)


def _is_computed(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes in it here: few processors know float16, older ones no bfloat16."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def _run(name: str, *arguments: Any) -> Tensor:
    result: Tensor = getattr(torch.ops.mkldnn, name)(*arguments)
    return result
