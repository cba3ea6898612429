import platform
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tubedet.models.graphs import Graph
from tubedet.runtime.onnx_graphs import OnnxGraph, write_graphs
from tubedet.runtime.onnx_operations import _filters


@pytest.mark.parametrize(
    ("old", "new"), [(256, 192), (192, 64), (128, 64), (320, 192), (96, 64), (64, 63)]
)
def test_a_side_is_made_shorter_as_pytorch_does_it(old: int, new: int) -> None:
    side = torch.rand(old, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(side[None, None, None], (1, new), mode="bilinear", antialias=True)
    filters = _filters(old, new)
    padded = np.pad(side.numpy(), (filters.before, filters.after))
    length = filters.kernels.shape[1]
    pieces = [padded[at : at + length] for at in range(0, len(padded) - length + 1, filters.step)]
    found = np.concatenate([filters.kernels @ piece for piece in pieces]) * filters.share
    np.testing.assert_allclose(found, expected.flatten().numpy(), atol=1e-5)


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="known of x86-64 alone"
)
@pytest.mark.parametrize(
    ("module", "size"),
    [
        (nn.Conv2d(98, 32, 3, padding=1), 8),
        (nn.Conv2d(194, 64, 3, stride=2, padding=1, bias=False), 24),
        (nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1), 1),
        (nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1), 4),
        (nn.ConvTranspose2d(3, 5, 3, stride=2, output_padding=1), 1),
    ],
)
def test_sums_do_not_depend_on_the_number_of_threads(
    module: Any,
    size: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    x = torch.randn(1, module.in_channels, size, size, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(
        "tubedet.runtime.onnx_graphs.graphs_of",
        lambda *_: {"one": Graph(module, {"x": x}, ("y",))},
    )
    write_graphs(module, size, tmp_path, {})
    found: list[torch.Tensor] = []
    for threads in (1, 2, 3, 6, 12):
        monkeypatch.setattr(torch, "get_num_threads", partial(int, threads))
        found += OnnxGraph(tmp_path, "one")(x)
    assert all(torch.equal(found[0], other) for other in found)
    torch.testing.assert_close(found[0], module(x), atol=1e-5, rtol=1e-5)
