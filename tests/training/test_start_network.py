"""Training from imported weights, which have no head and no classes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.small_detector import small_config, small_network
from tests.small_training import small_recipe, steps_of
from tubedet.checkpoints.native import CheckpointHeader, load_checkpoint, save_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.errors import WeightsError
from tubedet.models.presets import DetectorConfig, PaperConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import StartWeights, start_network
from tubedet.training.train_detector import prepare_training

RECIPE = small_recipe("flownet2-sd", steps=1)


def write_imported(path: Path, config: DetectorConfig, *missing: str) -> TwoStreamDetector:
    """Save a network without its head and other parts, as an import leaves it."""
    network = small_network(config, seed=7)
    header = CheckpointHeader(
        config={**config.to_dict(), "class_names": [], "anchors_wh": []},
        missing=(*missing, "fusion"),
    )
    save_checkpoint(path, network, header)
    return network


def test_imported_weights_get_a_sceptical_head_for_the_classes_of_the_data(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    stored = small_config("flownet2-sd", input_size=128)
    stored = replace(stored, darknet_layout="conv64", passthrough="darknet", sd_scale=0.05)
    imported = write_imported(tmp_path / "w", stored)

    config, network = start_network(RECIPE, data, StartWeights(checkpoints=(tmp_path / "w",)))

    assert config.class_names == data.class_names
    assert len(config.anchors_wh) == 5
    assert config.input_size == RECIPE.input_size
    assert isinstance(config, PaperConfig)
    assert (config.darknet_layout, config.passthrough) == ("conv64", "darknet")
    assert config.sd_scale == 0.05
    state = imported.state_dict()
    for name, value in network.state_dict().items():
        assert name.startswith("fusion.") or torch.equal(value, state[name]), name
    assert network.fusion.conv.bias is not None
    overlap = network.fusion.conv.bias.view(5, -1)[:, 4].sigmoid()
    torch.testing.assert_close(overlap, torch.full((5,), 0.02))


def test_missing_parts_are_drawn_at_random(data: AnnotatedDataset, tmp_path: Path) -> None:
    config = small_config("flownet2-sd")
    imported = write_imported(tmp_path / "w", config, "flow", "motion_stream.conv4").state_dict()
    start = StartWeights(checkpoints=(tmp_path / "w",))
    networks = [start_network(RECIPE, data, start)[1].state_dict() for _ in range(2)]
    for name, value in networks[0].items():
        if name.startswith(("rgb_stream", "motion_stream.conv1s")):
            assert torch.equal(value, imported[name])
        elif name in ("flow.conv0.0.weight", "motion_stream.conv4.0.conv.weight"):
            assert not torch.equal(value, imported[name])
            assert not torch.equal(value, networks[1][name])


def test_imported_weights_of_another_preset_are_refused(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    write_imported(tmp_path / "w", small_config("flownet2-css"))
    with pytest.raises(WeightsError, match="expected preset flownet2-sd, found flownet2-css"):
        start_network(RECIPE, data, StartWeights(checkpoints=(tmp_path / "w",)))


def test_imported_weights_are_not_joined_like_trained_streams(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    write_imported(tmp_path / "w", small_config("flownet2-sd"))
    start = StartWeights(checkpoints=(tmp_path / "w", tmp_path / "w"))
    with pytest.raises(WeightsError, match="the files before it have all of its parts"):
        start_network(RECIPE, data, start)


def test_a_step_of_training_makes_a_whole_checkpoint_of_imported_weights(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    write_imported(tmp_path / "w", small_config("flownet2-sd"))
    trainer = prepare_training(
        RECIPE,
        data,
        None,
        RunFolder(tmp_path / "run"),
        start=StartWeights(checkpoints=(tmp_path / "w",)),
        device="cpu",
        loader_workers=0,
    )
    steps_of(trainer.train())
    _, header = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert header.missing == ()
    assert header.config["class_names"] == list(data.class_names)
