import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tubedet
from tests.small_detector import seeded_clip, small_config, small_network
from tests.small_training import small_recipe, steps_of
from tubedet.checkpoints.native import CheckpointHeader, load_checkpoint, save_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.errors import DatasetError, UsageError, WeightsError
from tubedet.models.presets import Streams, build_detector
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.detection_training import Trainer
from tubedet.training.events import Validated
from tubedet.training.recipes import Recipe
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import StartWeights
from tubedet.training.train_detector import prepare_training

Prepare = Callable[..., Trainer]


@pytest.fixture
def prepare(data: AnnotatedDataset, tmp_path: Path) -> Prepare:
    """`prepare_training` of a one-step run in `tmp_path/run`, with what a test says otherwise."""

    def call(recipe: Recipe | None = None, **options: Any) -> Trainer:
        training, validation = options.pop("training", data), options.pop("validation", None)
        run, recipe = RunFolder(tmp_path / "run"), recipe or small_recipe(steps=1)
        return prepare_training(recipe, training, validation, run, device="cpu", **options)

    return call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A `light` of two classes and two anchors."""
    config = small_config("light")
    path = tmp_path / "start.safetensors"
    header = CheckpointHeader(config=config.to_dict())
    save_checkpoint(path, small_network(config, seed=5), header)
    return path


def same_weights(one: TwoStreamDetector, other: TwoStreamDetector) -> bool:
    values = other.state_dict()
    return all(torch.equal(value, values[name]) for name, value in one.state_dict().items())


def test_a_run_leaves_a_checkpoint_and_says_what_it_was_trained_on(
    data: AnnotatedDataset, prepare: Prepare, tmp_path: Path
) -> None:
    recipe = small_recipe(steps=1, evaluate_every=1)
    trainer = prepare(recipe, validation=data)

    (validated,) = (event for event in trainer.train() if isinstance(event, Validated))

    network, header = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert header.config["class_names"] == ["walk", "run"]
    assert len(header.config["anchors_wh"]) == 5
    assert header.recipe == recipe.to_dict()
    assert header.training_data_sha256 == data.sha256
    assert header.metrics["validation_f_map@0.5"] == validated.measures["0.5"]
    average = trainer.average.tensors["fusion.conv.weight"]
    assert torch.equal(network.fusion.conv.weight, average.half().float())

    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert config["tubedet_version"] == tubedet.__version__
    assert config["recipe"] == recipe.to_dict()
    assert config["detector"] == header.config
    assert config["data"]["sha256"] == config["validation"]["sha256"] == data.sha256
    assert (config["data"]["name"], config["data"]["clips"]) == ("d", 2)
    assert config["start"].pop("licence") is None
    assert config["start"] == {"checkpoints": [], "imagenet": None, "flow": None}
    assert config["git_revision"] == header.git_revision


def test_equal_seeds_prepare_equal_networks(prepare: Prepare) -> None:
    first, second, other = (
        prepare(small_recipe(seed=seed, batch_size=1)).network for seed in (1, 1, 2)
    )
    assert same_weights(first, second)
    assert not same_weights(first, other)


def test_a_run_resumed_from_its_folder_alone_goes_on_to_the_same_losses(
    prepare: Prepare, tmp_path: Path, checkpoint: Path
) -> None:
    recipe, start = small_recipe(), StartWeights(checkpoints=(checkpoint,))
    both = [step.losses for step in steps_of(prepare(recipe, start=start).train(), most=2)]
    killed = prepare(recipe, start=start)
    steps_of(killed.train(), most=1)
    killed.save()
    config = (tmp_path / "run" / "config.json").read_text("utf-8")

    resumed = prepare(recipe, resume=True)

    assert [step.losses for step in steps_of(resumed.train(), most=1)] == both[1:]
    assert (tmp_path / "run" / "config.json").read_text("utf-8") == config


def test_a_run_is_not_resumed_on_other_clips(
    prepare: Prepare, data: AnnotatedDataset, checkpoint: Path
) -> None:
    prepare(start=StartWeights(checkpoints=(checkpoint,))).save()
    mirrored = replace(data.clips[0], boxes_by_frame=data.clips[0].boxes_by_frame[::-1])
    other = replace(data, clips=(mirrored, data.clips[1]))

    with pytest.raises(UsageError, match=r"config\.json: this run has other data: resume with"):
        prepare(training=other, resume=True)


def test_a_run_is_not_resumed_with_other_ignore_regions(
    prepare: Prepare, tmp_path: Path, checkpoint: Path
) -> None:
    prepare(start=StartWeights(checkpoints=(checkpoint,))).save()
    (tmp_path / "regions.json").write_text("{}")

    with pytest.raises(UsageError, match="this run has other ignore regions"):
        prepare(ignore_regions=tmp_path / "regions.json", resume=True)


def test_a_run_is_not_resumed_as_another_preset(prepare: Prepare, checkpoint: Path) -> None:
    prepare(start=StartWeights(checkpoints=(checkpoint,))).save()

    with pytest.raises(UsageError, match="preset=brox: the run to resume trains light"):
        prepare(small_recipe(preset="brox"), resume=True)


def test_a_folder_without_a_run_is_not_resumed(prepare: Prepare) -> None:
    with pytest.raises(WeightsError, match=r"config\.json: expected the settings of a run"):
        prepare(resume=True)


def test_a_run_killed_before_its_first_save_is_not_resumed(
    prepare: Prepare, checkpoint: Path
) -> None:
    prepare(start=StartWeights(checkpoints=(checkpoint,)))
    with pytest.raises(WeightsError, match=r"last\.safetensors: .*start without --resume"):
        prepare(resume=True)


def test_a_checkpoint_gives_its_weights_and_anchors_but_not_its_settings(
    prepare: Prepare, checkpoint: Path
) -> None:
    recipe = small_recipe(dropout=0.25, stream_dropout=0.5)

    trainer = prepare(recipe, start=StartWeights(checkpoints=(checkpoint,)))

    assert trainer.config.anchors_wh == small_config().anchors_wh
    assert trainer.network.fusion.dropout.p == 0.25
    assert trainer.network.fusion.stream_dropout == 0.5
    assert same_weights(load_checkpoint(checkpoint)[0], trainer.network)


@pytest.fixture
def one_stream_checkpoints(tmp_path: Path) -> tuple[Path, Path]:
    """A `light` of the RGB stream alone, and one of the motion stream alone."""
    paths = []
    chosen: tuple[Streams, ...] = ("rgb", "motion")
    for seed, streams in enumerate(chosen):
        config = replace(small_config("light"), streams=streams)
        path = tmp_path / f"{streams}.safetensors"
        save_checkpoint(
            path, small_network(config, seed=seed), CheckpointHeader(config=config.to_dict())
        )
        paths.append(path)
    return paths[0], paths[1]


def test_two_one_stream_checkpoints_start_as_the_mean_of_their_predictions(
    prepare: Prepare, one_stream_checkpoints: tuple[Path, Path]
) -> None:
    joined = prepare(start=StartWeights(checkpoints=one_stream_checkpoints)).network.eval()

    rgb, motion = (load_checkpoint(path)[0] for path in one_stream_checkpoints)
    clip = seeded_clip(64, batch=2)
    torch.testing.assert_close(joined(clip), (rgb(clip) + motion(clip)) / 2)


def test_checkpoints_that_do_not_make_two_streams_are_refused(
    prepare: Prepare, checkpoint: Path, one_stream_checkpoints: tuple[Path, Path]
) -> None:
    rgb, motion = one_stream_checkpoints
    for paths, complaint in (
        ((motion, rgb), "expected streams rgb, found motion"),
        ((rgb, checkpoint), "expected streams motion, found both"),
        ((rgb,), "expected streams both, found rgb"),
    ):
        with pytest.raises(WeightsError, match=complaint):
            prepare(start=StartWeights(checkpoints=paths))
    with pytest.raises(UsageError, match="3 checkpoints to start from: expected one"):
        prepare(start=StartWeights(checkpoints=(rgb, motion, motion)))


def test_streams_with_other_anchors_are_not_joined(
    prepare: Prepare, one_stream_checkpoints: tuple[Path, Path]
) -> None:
    rgb, motion = one_stream_checkpoints
    network, header = load_checkpoint(motion)
    header.config["anchors_wh"] = [[2.0, 2.0], [0.5, 0.5]]
    save_checkpoint(motion, network, header)

    with pytest.raises(WeightsError, match=r"motion\.safetensors: expected the anchors of"):
        prepare(start=StartWeights(checkpoints=(rgb, motion)))


@pytest.mark.parametrize("streams", ["rgb", "motion"])
def test_one_stream_learns_by_itself(prepare: Prepare, streams: str) -> None:
    trainer = prepare(small_recipe(streams=streams, steps=1))
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}

    steps_of(trainer.train())

    changed = {n for n, value in trainer.network.state_dict().items() if value.ne(before[n]).any()}
    assert f"{streams}_stream.join.1.0.weight" in changed


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"class_names": ("walk", "swim")}, "expected classes"),
        ({"preset": "brox"}, "expected preset light, found brox"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(
    prepare: Prepare, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    config = replace(small_config("light"), **changes)
    header = CheckpointHeader(config=config.to_dict())
    save_checkpoint(tmp_path / "other", build_detector(config), header)

    with pytest.raises(WeightsError, match=complaint):
        prepare(start=StartWeights(checkpoints=(tmp_path / "other",)))


def test_flow_weights_reach_the_flow_network_and_it_alone(
    prepare: Prepare, checkpoint: Path, tmp_path: Path
) -> None:
    flow = small_network(small_config("light"), seed=9).get_submodule("flow.network")
    save_file(flow.state_dict(), tmp_path / "flow.safetensors")
    start = StartWeights(checkpoints=(checkpoint,), flow=tmp_path / "flow.safetensors")

    network = prepare(start=start).network

    before, wanted = load_checkpoint(checkpoint)[0].state_dict(), flow.state_dict()
    for name, value in network.state_dict().items():
        inner = name.removeprefix("flow.network.")
        assert torch.equal(value, before[name] if inner == name else wanted[inner])


def test_weights_for_a_part_that_the_preset_lacks_are_refused(
    prepare: Prepare, tmp_path: Path
) -> None:
    for start, complaint in (
        (StartWeights(flow=tmp_path / "f"), "preset brox, streams both: no flow network"),
        (StartWeights(imagenet=tmp_path / "i"), "preset brox has no EfficientNet-Lite0"),
    ):
        with pytest.raises(UsageError, match=complaint):
            prepare(small_recipe(preset="brox"), start=start)


def test_a_file_of_something_else_is_no_flow_network(
    prepare: Prepare, tmp_path: Path, checkpoint: Path
) -> None:
    start = StartWeights(checkpoints=(checkpoint,), flow=checkpoint)
    with pytest.raises(WeightsError, match="expected weights of the flow network") as failure:
        prepare(start=start)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(("key", "value"), [("preset", "heavy"), ("input_size", 100)])
def test_a_recipe_that_fits_no_network_is_a_usage_error(
    prepare: Prepare, key: str, value: object
) -> None:
    with pytest.raises(UsageError, match=str(value)):
        prepare(small_recipe(**{key: value}))


def test_a_class_without_a_clip_is_named(prepare: Prepare, data: AnnotatedDataset) -> None:
    with pytest.raises(DatasetError, match="no clip of run"):
        prepare(training=replace(data, clips=data.clips[:1]))


def test_an_unreadable_clip_is_named(
    prepare: Prepare, data: AnnotatedDataset, tmp_path: Path, checkpoint: Path
) -> None:
    bad = tmp_path / "bad.avi"
    bad.write_bytes(b"this is no video")
    broken = replace(data, clips=(replace(data.clips[0], path=bad), data.clips[1]))
    trainer = prepare(
        small_recipe(), training=broken, start=StartWeights(checkpoints=(checkpoint,))
    )

    with pytest.raises(DatasetError, match=r"bad\.avi: a clip of the data set is bad"):
        list(trainer.train())


def test_anchors_come_from_the_boxes_of_the_training_clips(prepare: Prepare) -> None:
    # Every square is 12x12 px of 64x48, in a grid of 2x2 cells.
    anchors = prepare(small_recipe(batch_size=1)).config.anchors_wh
    np.testing.assert_allclose(anchors, [[0.375, 0.5]] * 5)
