from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tubedet.checkpoints.run_state import load_flow_network, read_run_state, write_run_state
from tubedet.errors import WeightsError


def test_tensors_and_progress_come_back_whatever_their_layout(tmp_path: Path) -> None:
    turned = torch.arange(6.0).reshape(2, 3).T
    write_run_state(tmp_path / "s", {"a": turned, "b": turned}, {"step": 7})

    tensors, progress = read_run_state(tmp_path / "s")

    assert progress == {"step": 7}
    assert tensors["a"].tolist() == tensors["b"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_what_cannot_be_written_is_an_operating_system_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_run_state(tmp_path / "none" / "s", {"a": torch.zeros(1)}, {})


def test_tensors_without_progress_are_no_state(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "s")
    with pytest.raises(WeightsError, match="expected the state of a training run"):
        read_run_state(tmp_path / "s")


def test_a_flow_network_takes_a_state_and_refuses_other_shapes(tmp_path: Path) -> None:
    network, wider = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 3, 1)
    write_run_state(tmp_path / "s", wider.state_dict(), {"step": 1})

    with pytest.raises(WeightsError, match="expected weights of the flow network, found"):
        load_flow_network(tmp_path / "s", network)
    with pytest.raises(WeightsError, match="expected weights of the flow network, found"):
        load_flow_network(tmp_path / "absent", network)
    fitting = nn.Conv2d(1, 3, 1)
    load_flow_network(tmp_path / "s", fitting)
    assert torch.equal(fitting.weight, wider.weight)
