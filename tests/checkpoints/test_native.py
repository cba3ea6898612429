import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.full_disk import full_disk
from tests.small_detector import seeded_clip, small_config, small_network
from tubedet.checkpoints.native import (
    CheckpointHeader,
    load_checkpoint,
    load_partial,
    read_header,
    save_checkpoint,
)
from tubedet.errors import OutputError, WeightsError
from tubedet.models.presets import PRESETS, config_from_dict
from tubedet.models.two_stream import TwoStreamDetector

CONFIG = small_config()
HEADER = CheckpointHeader(
    config=CONFIG.to_dict(),
    recipe={"epochs": 3},
    training_data_sha256="ab" * 32,
    git_revision="1234567",
    metrics={"f_map@0.5": 0.5},
    min_score=0.125,
    source="a test",
    licence="Apache-2.0",
)


@pytest.fixture
def network() -> TwoStreamDetector:
    return small_network(CONFIG)


@pytest.fixture
def checkpoint(tmp_path: Path, network: TwoStreamDetector) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, network, HEADER)
    return path


def rewrite(
    path: Path, edit: Callable[[dict[str, Tensor], dict[str, Any]], object], key: str = "tubedet"
) -> None:
    """Apply `edit` to the tensors and the parsed header of a checkpoint, in place."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["tubedet"])
    tensors = load_file(path)
    edit(tensors, header)
    save_file(tensors, path, metadata={key: json.dumps(header)})


def complaint(path: Path) -> str:
    """The one line with which loading `path` fails; it names the file."""
    with pytest.raises(WeightsError) as failure:
        load_checkpoint(path)
    message = str(failure.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("preset", PRESETS)
def test_the_file_alone_gives_back_network_and_header(preset: str, tmp_path: Path) -> None:
    config = small_config(preset)
    network = small_network(config)
    save_checkpoint(tmp_path / "w", network, CheckpointHeader(config=config.to_dict()))
    loaded, header = load_checkpoint(tmp_path / "w")
    clip = seeded_clip(config.input_size)
    assert config_from_dict(header.config) == config
    assert not loaded.training
    torch.testing.assert_close(loaded(clip), network(clip))
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_every_field_of_the_header_comes_back(checkpoint: Path) -> None:
    header = read_header(checkpoint)
    assert config_from_dict(header.config) == CONFIG
    assert header.recipe == {"epochs": 3}
    assert header.training_data_sha256 == "ab" * 32
    assert header.git_revision == "1234567"
    assert header.metrics == {"f_map@0.5": 0.5}
    assert header.min_score == 0.125
    assert (header.source, header.licence) == ("a test", "Apache-2.0")


def test_half_precision_halves_the_kernels_and_loads_as_float32(
    tmp_path: Path, network: TwoStreamDetector
) -> None:
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, network, HEADER, dtype=torch.float16)
    stored = load_file(path)
    loaded, _ = load_checkpoint(path)
    kernel, mean = "fusion.conv.weight", "rgb_stream.conv2.1.bn.running_mean"
    assert (stored[kernel].dtype, stored[mean].dtype) == (torch.float16, torch.float32)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.state_dict()[kernel], network.state_dict()[kernel].half().float())


def test_loading_draws_no_random_number_and_leaves_trainable_parameters(checkpoint: Path) -> None:
    before = torch.get_rng_state()
    network, _ = load_checkpoint(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.requires_grad and p.device.type == "cpu" for p in network.parameters())


def test_an_unknown_key_in_the_header_is_passed_over(checkpoint: Path) -> None:
    rewrite(checkpoint, lambda _, header: header.update(mood="good"))
    assert read_header(checkpoint).recipe == {"epochs": 3}


def test_a_missing_file_a_folder_and_an_empty_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert "no such file" in complaint(tmp_path / "missing")
    assert "a folder" in complaint(tmp_path)
    assert "an empty file" in complaint(tmp_path / "empty")


def test_files_of_other_kinds_are_named_and_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    (tmp_path / "note").write_text("not a network, but longer than a header\n")
    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb()))
    torch.save({"w": torch.zeros(1)}, tmp_path / "old.pth")
    assert "a file of another kind" in complaint(tmp_path / "note")
    assert "pickled" in complaint(tmp_path / "pickle")
    assert "pickled" in complaint(tmp_path / "old.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_a_truncated_checkpoint_is_called_so(kept: float, checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: int(len(whole) * kept)])
    assert "truncated" in complaint(checkpoint)


def test_a_header_that_promises_terabytes_is_refused(tmp_path: Path) -> None:
    shape = {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}
    text = json.dumps({"fusion.conv.weight": shape}).encode()
    (tmp_path / "bold").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 64)
    assert "truncated or damaged" in complaint(tmp_path / "bold")


def test_safetensors_of_somebody_else_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "foreign", metadata={"format": "pt"})
    save_file({"w": torch.zeros(1)}, tmp_path / "bare")
    assert "without a tubedet header" in complaint(tmp_path / "foreign")
    assert "without a tubedet header" in complaint(tmp_path / "bare")


@pytest.mark.parametrize("version", [2, 1e400])
def test_a_newer_format_asks_for_an_update(version: float, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda _, header: header.update(format_version=version, shape="new"))
    message = complaint(checkpoint)
    assert f"format {version}" in message
    assert "update tubedet" in message


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "yolov9"},
        {"input_size": 100},
        {"class_names": []},
        {"anchors_wh": [[1.0]]},
        {"width": "wide"},
        {"width": 1e30},
        {"width": 1e308},
        {"mood": "good"},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_built_is_refused(
    change: dict[str, Any], checkpoint: Path
) -> None:
    rewrite(checkpoint, lambda _, header: header["config"].update(change))
    assert "describes no network" in complaint(checkpoint)


def test_light_of_former_releases_is_refused_by_name(checkpoint: Path) -> None:
    former = {"preset": "light", "streams": "both", "context_frames": 16, "coarse_to_fine": True}
    rewrite(checkpoint, lambda _, header: header["config"].update(former))
    assert "light as it was before it had a video backbone is no longer" in complaint(checkpoint)


@pytest.mark.parametrize("config", [None, [], "flownet2"], ids=repr)
def test_a_configuration_that_is_not_an_object_is_refused(config: Any, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda _, header: header.update(config=config))
    assert "config is no object" in complaint(checkpoint)


@pytest.mark.parametrize("min_score", [1.5, -0.1, float("nan"), "high", []], ids=repr)
def test_a_threshold_that_is_no_probability_is_refused(min_score: Any, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda _, header: header.update(min_score=min_score))
    assert "unreadable tubedet header" in complaint(checkpoint)


def test_a_header_without_version_or_of_other_json_is_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    rewrite(checkpoint, lambda _, header: header.pop("format_version"))
    assert "unreadable tubedet header" in complaint(checkpoint)
    for text in ("", "[1]", "[" * 100_000):
        save_file({"w": torch.zeros(1)}, tmp_path / "odd", metadata={"tubedet": text})
        assert "unreadable tubedet header" in complaint(tmp_path / "odd")


def test_a_missing_or_unexpected_tensor_is_named(checkpoint: Path) -> None:
    rewrite(checkpoint, lambda tensors, _: tensors.pop("fusion.conv.bias"))
    assert "lacks 1 of" in (message := complaint(checkpoint))
    assert "'fusion.conv.bias'" in message
    rewrite(checkpoint, lambda tensors, _: tensors.update({"fusion.conv.bias": torch.zeros(14)}))
    rewrite(checkpoint, lambda tensors, _: tensors.update(extra=torch.zeros(1)))
    assert "should not hold 1 of" in (message := complaint(checkpoint))
    assert "'extra'" in message


@pytest.mark.parametrize(
    "tensor", [torch.zeros(13), torch.zeros(14, dtype=torch.int64)], ids=["shape", "kind"]
)
def test_a_tensor_of_another_shape_or_kind_is_named(tensor: Tensor, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda tensors, _: tensors.update({"fusion.conv.bias": tensor}))
    message = complaint(checkpoint)
    assert "'fusion.conv.bias' should be F16 or BF16 or F32 of shape (14,)" in message
    assert f"of shape {tuple(tensor.shape)};" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value: float, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda tensors, _: tensors["fusion.conv.bias"][3:4].fill_(value))
    assert "'fusion.conv.bias' holds values that are not finite" in complaint(checkpoint)


def test_a_network_that_overflows_the_stored_type_is_not_written(
    tmp_path: Path, network: TwoStreamDetector
) -> None:
    network.fusion.get_parameter("conv.weight").data[0] = 1e6  # float16 ends at 65504
    with pytest.raises(WeightsError, match=r"'fusion\.conv\.weight'.*not finite"):
        save_checkpoint(tmp_path / "w", network, HEADER, dtype=torch.float16)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_previous_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"previous")
    network = small_network(CONFIG)
    with full_disk(), pytest.raises(OutputError, match="could not be written"):
        save_checkpoint(path, network, HEADER)
    assert path.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_may_be_read_by_whoever_may_read_other_files(checkpoint: Path) -> None:
    other = checkpoint.with_name("other")
    other.touch()
    assert checkpoint.stat().st_mode == other.stat().st_mode


def test_a_folder_that_does_not_exist_is_an_output_error(
    tmp_path: Path, network: TwoStreamDetector
) -> None:
    with pytest.raises(OutputError, match="could not be written"):
        save_checkpoint(tmp_path / "absent" / "w", network, HEADER)


def test_a_partial_file_holds_no_tensor_of_the_parts_that_it_lacks(
    tmp_path: Path, network: TwoStreamDetector
) -> None:
    path, missing = tmp_path / "w", ("rgb_stream.conv4", "fusion")
    config = {**CONFIG.to_dict(), "class_names": [], "anchors_wh": []}
    save_checkpoint(path, network, CheckpointHeader(config=config, missing=missing))
    tensors, header = load_partial(path)
    assert header.missing == missing
    absent = {name for name in network.state_dict() if name.startswith(missing)}
    assert tensors.keys() == network.state_dict().keys() - absent
    assert all(torch.equal(network.state_dict()[name], t) for name, t in tensors.items())
    assert "without rgb_stream.conv4, fusion; train first" in complaint(path)


def test_a_file_with_a_tensor_of_a_part_called_missing_is_refused(checkpoint: Path) -> None:
    rewrite(checkpoint, lambda _, header: header.update(missing=["fusion"]))
    with pytest.raises(WeightsError, match="should not hold 2 of"):
        load_partial(checkpoint)


@pytest.mark.parametrize("missing", ["fusion", [""], [3], 5, None], ids=repr)
def test_missing_parts_that_are_no_names_are_refused(missing: Any, checkpoint: Path) -> None:
    rewrite(checkpoint, lambda _, header: header.update(missing=missing))
    assert "unreadable tubedet header" in complaint(checkpoint)
