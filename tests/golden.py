"""Golden vectors of the original networks: where they lie and the rule that re-creates weights.

No weights are stored. Every tensor follows from its state-dict key by `golden_rule.py`, which
lies beside the vectors and is loaded by path. Everything here skips where `../shared` is absent.
"""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor, nn

PROJECT_ROOT = Path(__file__).resolve().parents[1]
REFERENCE = PROJECT_ROOT.parent / "shared" / "reference"


def reference_dir() -> Path:
    """Folder of the reference tables; skips the calling test where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip("reference data (../shared/reference) is not here")
    return REFERENCE


def reference_json(name: str) -> dict[str, Any]:
    """One of the reference tables, such as `flops.json` or `flownet2_keys.json`."""
    table: dict[str, Any] = json.loads((reference_dir() / name).read_text())
    return table


def golden_file(name: str) -> NpzFile:
    """The arrays of `golden/<name>.npz` by key; close it, or use it as a context manager."""
    archive = np.load(reference_dir() / "golden" / f"{name}.npz")
    assert isinstance(archive, NpzFile)
    return archive


def fill_by_rule(
    module: nn.Module, scale: Mapping[str, float] | None = None, key_prefix: str = ""
) -> None:
    """Give every tensor of `module` its golden value.

    Args:
        module: filled in place, through its state dict.
        scale: factor of single tensors, by full key.
        key_prefix: put before a state-dict key to make the full key that seeds its tensor.
    """
    rule = _golden_rule(scale or {})
    with torch.no_grad():
        for key, tensor in module.state_dict().items():
            tensor.copy_(torch.from_numpy(rule.tensor(key_prefix + key, tuple(tensor.shape))))


def golden_tensor(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The golden value of one tensor, by its full key in the original network."""
    value: NDArray[np.float32] = _golden_rule({}).tensor(key, shape)
    return value


def frames(batch: int = 1, height: int = 128, width: int = 192, seed: int = 7) -> Tensor:
    """Golden frame pairs (B, 3, 2, H, W): RGB, whole numbers in 0..255, float32."""
    return torch.from_numpy(_golden_rule({}).frames(batch, height, width, seed))


def image(batch: int = 1, height: int = 160, width: int = 160, seed: int = 11) -> Tensor:
    """Golden images (B, 3, H, W): RGB, fractions in 0..1, float32."""
    return torch.from_numpy(_golden_rule({}).image(batch, height, width, seed))


def _golden_rule(scale: Mapping[str, float]) -> ModuleType:
    """A fresh copy of the rule's module, so that one test's `scale` cannot reach another."""
    path = reference_dir() / "golden" / "golden_rule.py"
    spec = importlib.util.spec_from_file_location("golden_rule", path)
    assert spec is not None
    assert spec.loader is not None
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    vars(rule)["SCALE"] = dict(scale)
    return rule
