"""PyTorch's operations that ONNX lacks, or that some program for ONNX does wrongly.

Each function writes one of them with others; its arguments are those of the operation in PyTorch,
with values of the graph in place of tensors, whose shapes are known.
"""

from collections.abc import Callable, Sequence
from math import ceil, floor, gcd
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

OPSET = 18
CHANNELS = 4  # ONNX Runtime's convolutions on x86-64 take multiples of it in blocks


def median(values: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
    """The smaller of the two middle values and its place, for which ONNX has no operation."""
    op = _operations()
    smaller = (values.shape[dim] + 1) // 2
    ascending = op.TopK(values, _numbers(smaller), axis=dim, largest=0)
    found = [op.Gather(each, _numbers(smaller - 1), axis=dim) for each in ascending]
    if not keepdim:
        found = [op.Squeeze(each, _numbers(dim)) for each in found]
    return found[0], found[1]


def made_smaller(pictures: Any, size: Sequence[int], align_corners: bool, *_: float | None) -> Any:
    """Pictures (B, C, H, W) resized to `size` without aliasing, by a convolution.

    ONNX has an operation for that, but OpenVINO leaves its filter out without a word. In ONNX
    Runtime both take about the same time.
    """
    assert not align_corners
    op = _operations()
    batch, channels, *old = pictures.shape
    rows, columns = (_filters(*lengths) for lengths in zip(old, size, strict=True))
    kernels = np.einsum("iy,jx->ijyx", rows.kernels, columns.kernels)
    by_place = op.Conv(
        op.Reshape(pictures, _numbers(batch * channels, 1, *old)),
        _constant(kernels.reshape(-1, 1, *kernels.shape[2:])),
        pads=[rows.before, columns.before, rows.after, columns.after],
        strides=[rows.step, columns.step],
    )
    phases = [len(each.kernels) for each in (rows, columns)]
    cells = [length // phase for length, phase in zip(size, phases, strict=True)]
    split = op.Reshape(by_place, _numbers(batch * channels, *phases, *cells))
    woven = op.Transpose(split, perm=[0, 3, 1, 4, 2])
    small = op.Reshape(woven, _numbers(batch, channels, *size))
    return op.Mul(small, _constant(np.outer(rows.share, columns.share)))


class _Filters(NamedTuple):
    """How a side is made shorter.

    Every `step` old pixels become as many new ones as there are `kernels` (P, K), of the old pixels
    from `before` in front of them on; `after` zeros make the last whole. New pixels at the border
    are multiplied by `share`, since a part of their kernel lies outside.
    """

    kernels: NDArray[np.float64]
    step: int
    before: int
    after: int
    share: NDArray[np.float64]


def _filters(old: int, new: int) -> _Filters:
    """Triangles as wide as two new pixels, as PyTorch has them."""
    step, phases = old // gcd(old, new), new // gcd(old, new)
    scale = old / new
    centres = (np.arange(phases) + 0.5) * scale
    first, behind = floor(centres[0] - scale), ceil(centres[-1] + scale)
    pixels = np.arange(first, behind) + 0.5
    kernels = np.maximum(0, 1 - np.abs(pixels - centres[:, None]) / scale)
    kernels /= kernels.sum(axis=1, keepdims=True)
    inside = np.pad(np.ones(old), (-first, behind - step))
    parts = np.lib.stride_tricks.sliding_window_view(inside, behind - first)[::step]
    return _Filters(kernels, step, -first, behind - step, 1 / (parts @ kernels.T).ravel())


def deconvolved(  # noqa: PLR0917
    pictures: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Any:
    """Pictures (B, C, H, W), convolved by the transpose; beside a single pixel comes one of zeros.

    Without, it would be summed in an order that depends on how many threads there are.
    """
    op = _operations()
    pads = [*padding, *padding]
    if tuple(pictures.shape[2:]) == (1, 1):
        pictures = op.Pad(pictures, _numbers(*[0] * 7, 1))
        pads[-1] += stride[1]
    return op.ConvTranspose(
        pictures,
        weight,
        bias,
        strides=list(stride),
        pads=pads,
        output_padding=list(output_padding),
        dilations=list(dilation),
        group=groups,
    )


def convolved(  # noqa: PLR0917
    pictures: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Any:
    """Pictures (B, C, H, W), convolved; C above 4 is made a multiple of it by channels of zeros.

    With another C, ONNX Runtime would take longer, and sum in an order that depends on how many
    threads there are.
    """
    op = _operations()
    missing = -pictures.shape[1] % CHANNELS
    if missing and groups == 1 and pictures.shape[1] > CHANNELS:
        more = _numbers(0, 0, 0, 0, 0, missing, 0, 0)
        pictures, weight = op.Pad(pictures, more), op.Pad(weight, more)
    return op.Conv(
        pictures,
        weight,
        bias,
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=groups,
    )


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.ops.aten.conv2d.default: convolved,
    torch.ops.aten.conv_transpose2d.input: deconvolved,
    torch.ops.aten.median.dim: median,
    torch.ops.aten._upsample_bilinear2d_aa.default: made_smaller,
}


def _operations() -> Any:
    from onnxscript import opset18  # noqa: PLC0415

    return opset18


def _numbers(*values: int) -> Any:
    return _operations().Constant(value_ints=[int(value) for value in values])


def _constant(array: NDArray[np.float64]) -> Any:
    import onnx  # noqa: PLC0415

    tensor = onnx.numpy_helper.from_array(np.asarray(array, dtype=np.float32))
    return _operations().Constant(value=tensor)
