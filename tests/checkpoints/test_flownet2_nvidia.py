"""NVIDIA's checkpoints: golden flow from files made by rule, and what is refused."""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.golden import fill_by_rule, frames, golden_file, reference_json
from tests.old_checkpoints import LAYOUTS, save_as
from tubedet.checkpoints.flownet2_nvidia import LEGACY_START, read_flownet2, write_flownet2
from tubedet.checkpoints.foreign_weights import import_weights
from tubedet.checkpoints.native import load_flow, save_checkpoint
from tubedet.errors import WeightsError
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD

NARROW = 1 / 16


def published(network: nn.Module, **changes: Any) -> dict[str, Any]:
    """What NVIDIA's files hold; `changes` replace tensors."""
    state = OrderedDict({**network.state_dict(), **changes})
    return {"epoch": 0, "state_dict": state, "best_EPE": 1e10}


@pytest.fixture(scope="module")
def narrow() -> FlowNet2SD:
    torch.manual_seed(3)
    return FlowNet2SD(width=NARROW)


def read(path: Path, network: nn.Module) -> dict[str, Tensor]:
    return read_flownet2(path, network.state_dict(), "FlowNet2-SD")


def complaint(path: Path, network: nn.Module) -> str:
    with pytest.raises(WeightsError) as failure:
        read(path, network)
    message = str(failure.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


GOLDEN_FILES = [
    *(("flownet2-sd", layout) for layout in LAYOUTS),
    *(("flownet2", layout) for layout in ("v1 py2 legacy", "v2 py3 legacy")),
]


@pytest.mark.parametrize(("preset", "layout"), GOLDEN_FILES)
def test_a_file_made_by_the_golden_rule_gives_the_golden_flow_once_imported(
    preset: str, layout: str, tmp_path: Path
) -> None:
    path = tmp_path / "FlowNet2_checkpoint.pth.tar"
    name = preset.replace("-", "")
    with torch.device("meta"):
        network = FlowNet2SD() if name == "flownet2sd" else FlowNet2()
    source = network.to_empty(device="cpu")
    # Without it the small-displacement branch would warp by 0.02 px and go untested.
    scale = {f"flownets_d.predict_flow2.{each}": 100.0 for each in ("weight", "bias")}
    fill_by_rule(source, scale if preset == "flownet2" else {})
    state, names = source.state_dict(), reference_json(f"{name}_keys.json")
    ordered = OrderedDict((key, state[key]) for key in names["order_in_checkpoint"])
    save_as(layout, {"epoch": 0, "state_dict": ordered, "best_EPE": 1e10}, path)
    del source, state, ordered

    imported = import_weights([path], preset, allow_random=True)
    save_checkpoint(tmp_path / "start.safetensors", imported.network, imported.header)
    del imported
    path.unlink()
    flow, _ = load_flow(tmp_path / "start.safetensors")

    with torch.inference_mode(), golden_file(name) as golden:
        found, expected = flow(frames(2, 64, 128)), torch.from_numpy(golden["b2_flow"])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)
    (tmp_path / "start.safetensors").unlink()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_checkpoint_is_read(
    layout: str, narrow: FlowNet2SD, tmp_path: Path
) -> None:
    save_as(layout, {**published(narrow), "arch": "FlowNet2SD"}, tmp_path / "w")
    old_torch, old_python, zipped = LAYOUTS[layout]
    content = (tmp_path / "w").read_bytes()
    assert content.startswith(b"PK" if zipped else b"\x80\x02")
    assert (b"_rebuild_tensor_v2" in content) is not old_torch
    assert (b"U\x0cconv0.0.bias" not in content) is not old_python
    loaded = read(tmp_path / "w", narrow)
    assert list(loaded) == list(narrow.state_dict())
    assert all(torch.equal(loaded[n], tensor) for n, tensor in narrow.state_dict().items())


@pytest.mark.parametrize("network_class", [FlowNet2SD, FlowNet2CSS, FlowNet2])
@pytest.mark.parametrize("zipped", [False, True], ids=["legacy", "zip"])
@pytest.mark.parametrize("bare", [False, True], ids=["checkpoint", "state dict"])
def test_every_network_comes_back_from_every_form_of_file(
    network_class: type[nn.Module], zipped: bool, bare: bool, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = network_class(width=NARROW)
    content = published(network)
    saved = content["state_dict"] if bare else {**content, "arch": "FlowNet2"}
    torch.save(saved, tmp_path / "w", _use_new_zipfile_serialization=zipped)
    loaded = read(tmp_path / "w", network)
    assert list(loaded) == list(network.state_dict())
    assert all(torch.equal(loaded[n], tensor) for n, tensor in network.state_dict().items())


def test_parameters_and_attributes_of_a_state_dict_are_read(
    narrow: FlowNet2SD, tmp_path: Path
) -> None:
    state = narrow.state_dict(keep_vars=True)  # Parameters, and _metadata beside them
    torch.save(state, tmp_path / "w")
    assert torch.equal(
        read(tmp_path / "w", narrow)["conv0.0.bias"], narrow.get_parameter("conv0.0.bias")
    )


def test_an_export_is_what_nvidias_code_expects(narrow: FlowNet2SD, tmp_path: Path) -> None:
    write_flownet2(tmp_path / "w", narrow)
    content = torch.load(tmp_path / "w", weights_only=True)
    assert list(content) == ["epoch", "state_dict", "best_EPE"]
    assert list(content["state_dict"]) == list(narrow.state_dict())
    assert (tmp_path / "w").read_bytes()[:2] == b"\x80\x02"  # any PyTorch reads it
    assert all(torch.equal(v, narrow.state_dict()[n]) for n, v in content["state_dict"].items())
    assert all(
        torch.equal(v, narrow.state_dict()[n]) for n, v in read(tmp_path / "w", narrow).items()
    )


def test_every_name_and_shape_that_does_not_fit_is_listed_at_once(
    narrow: FlowNet2SD, tmp_path: Path
) -> None:
    content = published(narrow, extra=torch.zeros(1), other=torch.zeros(1))
    del content["state_dict"]["conv1.0.bias"]
    del content["state_dict"]["conv2.0.bias"]
    content["state_dict"]["conv0.0.bias"] = torch.zeros(5)
    content["state_dict"]["conv3.0.bias"] = torch.zeros(6)
    torch.save(content, tmp_path / "w")
    message = complaint(tmp_path / "w", narrow)
    for part in (
        "2 missing (conv1.0.bias, conv2.0.bias)",
        "2 unexpected (extra, other)",
        "2 of wrong shape (conv0.0.bias is (5,), not (4,), conv3.0.bias is (6,), not (16,))",
    ):
        assert part in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused_by_name(
    value: float, narrow: FlowNet2SD, tmp_path: Path
) -> None:
    torch.save(published(narrow, **{"conv1.0.bias": torch.full((4,), value)}), tmp_path / "w")
    assert "infinite values in conv1.0.bias" in complaint(tmp_path / "w", narrow)


def test_a_pickle_with_a_foreign_global_is_refused_and_not_run(
    narrow: FlowNet2SD, tmp_path: Path
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    class Memory:
        def __reduce__(self) -> tuple[Any, ...]:
            return bytearray, (1 << 40,)

    for bomb in (Bomb(), Memory()):
        for zipped in (False, True):
            torch.save(
                {**published(narrow), "bomb": bomb},
                tmp_path / "w",
                _use_new_zipfile_serialization=zipped,
            )
            assert "a pickle" in complaint(tmp_path / "w", narrow)
    (tmp_path / "w").write_bytes(pickle.dumps(Bomb()))
    assert "a file of another kind" in complaint(tmp_path / "w", narrow)
    assert not (tmp_path / "exploded").exists()


def test_a_tensor_larger_than_its_storage_is_refused(narrow: FlowNet2SD, tmp_path: Path) -> None:
    bias = narrow.state_dict()["conv1.0.bias"]
    thin = torch.as_strided(torch.ones(1), bias.shape, (0,))
    torch.save(published(narrow, **{"conv1.0.bias": thin}), tmp_path / "w")
    assert "only a part of a storage" in complaint(tmp_path / "w", narrow)


def test_other_files_are_told_apart(narrow: FlowNet2SD, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "another kind" in complaint(tmp_path / "empty", narrow)
    assert "No such file" in complaint(tmp_path / "absent", narrow)
    (tmp_path / "escape").write_bytes(LEGACY_START + b"S'\\q'\n.")  # of which Python would warn
    complaint(tmp_path / "escape", narrow)
    torch.save([1, 2, 3], tmp_path / "list")
    assert "no state dict" in complaint(tmp_path / "list", narrow)
    torch.save({"state_dict": {"a": torch.tensor([1])}}, tmp_path / "whole")
    assert "whole numbers in 'a'" in complaint(tmp_path / "whole", narrow)
    torch.save({"state_dict": {"a": "b"}}, tmp_path / "text")
    assert "'a', which is no tensor" in complaint(tmp_path / "text", narrow)
