"""`tubedet fit-actions` on a tiny J-HMDB-21 drawn here, with every class of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from tests.drawn_jhmdb import draw_jhmdb
from tests.small_detector import small_config, small_network
from tubedet.checkpoints.native import CheckpointHeader, load_checkpoint, save_checkpoint
from tubedet.cli.app import app
from tubedet.labels import JHMDB_21
from tubedet.models.light.context_window import CONTEXT_FRAMES


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of every class in the training part, one frame each."""
    clips = {label: ["A"] for label in JHMDB_21}
    return draw_jhmdb(tmp_path_factory.mktemp("jhmdb"), clips, part="trainval", frames=2)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """What training leaves: a light detector with figures and a threshold of its own."""
    config = replace(small_config("light"), class_names=JHMDB_21)
    network = small_network(config)
    torch.nn.init.normal_(network.fusion.action.weight)
    header = CheckpointHeader(
        config=config.to_dict(),
        metrics={"f_map": 0.5},
        min_score=0.3,
        training_data_sha256="0" * 64,
    )
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, network, header)
    return path


def fit(weights: Path, root: Path, output: Path, *more: str) -> Result:
    data = f"jhmdb-21:{root}"
    arguments = ["--weights", weights, "--data", data, "--part", "trainval", "-o", output, *more]
    return CliRunner().invoke(app, ["fit-actions", *map(str, arguments)])


def test_actions_are_read_anew_and_old_figures_are_forgotten(
    root: Path, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mine.safetensors"
    result = fit(trained, root, output)
    assert result.exit_code == 0, result.output
    assert f"weights: {output}" in result.stdout

    (before, old), (after, new) = load_checkpoint(trained), load_checkpoint(output)
    assert new.config == {**old.config, "context_frames": CONTEXT_FRAMES}
    assert (new.metrics, new.min_score) == ({}, None)
    assert new.training_data_sha256 not in (None, old.training_data_sha256)
    boxes, actions = "fusion.conv.weight", "fusion.action.weight"
    kept, fitted = before.state_dict(), after.state_dict()
    # Half precision is what the file holds.
    assert torch.equal(fitted[boxes], kept[boxes].half().float())
    assert not torch.allclose(fitted[actions], kept[actions], atol=1e-2)


def test_an_existing_output_is_replaced_on_demand_alone(
    root: Path, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mine.safetensors"
    output.write_text("precious")
    refused = fit(trained, root, output)
    assert refused.exit_code == 6
    assert f"{output}: exists already; choose another name or give --overwrite" in refused.stderr
    assert output.read_text() == "precious"
    assert fit(trained, root, output, "--overwrite").exit_code == 0
    assert load_checkpoint(output)[1].config["class_names"] == list(JHMDB_21)


def test_weights_without_a_general_context_are_refused_in_one_line(
    root: Path, tmp_path: Path
) -> None:
    config = replace(small_config("flownet2-sd"), class_names=JHMDB_21)
    weights, output = tmp_path / "sd.safetensors", tmp_path / "mine.safetensors"
    save_checkpoint(weights, small_network(config), CheckpointHeader(config=config.to_dict()))
    result = fit(weights, root, output)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "no general context" in result.stderr
    assert not output.exists()
