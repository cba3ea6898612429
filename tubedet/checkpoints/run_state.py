"""The files of a training run that only training reads: named tensors and where the run stands.

Safetensors like a checkpoint (`native.py`), but of any tensors: optimiser state, averages, or a
flow network alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tubedet.errors import WeightsError

METADATA_KEY = "tubedet_training"


def write_run_state(path: Path, tensors: Mapping[str, Tensor], progress: dict[str, Any]) -> None:
    """Write tensors and progress (plain JSON types); OSError if not all of it could be written."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(whole, path, metadata={METADATA_KEY: json.dumps(progress)})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def read_run_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and progress of a file that `write_run_state` wrote.

    Raises:
        WeightsError: if it is absent, damaged, or not a training state.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads((file.metadata() or {})[METADATA_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, progress  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected the state of a training run, found {error}; start without --resume"
        ) from error


def load_flow_network(path: Path, network: nn.Module) -> None:
    """Fill a flow network with the weights that flow pre-training wrote.

    Raises:
        WeightsError: if the file is absent, damaged, or of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: expected weights of the flow network, found {shorten(str(error), 200)}"
        ) from error
