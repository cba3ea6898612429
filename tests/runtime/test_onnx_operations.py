import numpy as np
import pytest
import torch
import torch.nn.functional as F

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
