import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tubedet
from tests.drawn_jhmdb import save_small_checkpoint
from tests.small_detector import small_config, small_network
from tests.small_training import save, small_recipe, steps_of
from tubedet.checkpoints.catalog import sha256_of
from tubedet.checkpoints.movinet_tflite import load_video_backbone
from tubedet.checkpoints.native import CheckpointHeader, load_checkpoint, save_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.errors import DatasetError, UsageError, WeightsError
from tubedet.models.light.detector import LightDetector, LightFusion
from tubedet.models.light.video_backbone import VideoBackbone
from tubedet.models.presets import build_detector
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.torch import TorchDetector
from tubedet.training import detection_objective
from tubedet.training.loop import Trainer
from tubedet.training.objective import Validated
from tubedet.training.recipes import Recipe
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import StartWeights
from tubedet.training.train_detector import prepare_training

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"
BACKBONE = WEIGHTS / "movinet-a0-stream-int8.tflite"
Prepare = Callable[..., Trainer[TwoStreamDetector]]


@pytest.fixture
def prepare(data: AnnotatedDataset, tmp_path: Path) -> Prepare:
    """`prepare_training` of a one-step run in `tmp_path/run`, with what a test says otherwise."""

    def call(recipe: Recipe | None = None, **options: Any) -> Trainer[TwoStreamDetector]:
        training, validation = options.pop("training", data), options.pop("validation", None)
        run, recipe = RunFolder(tmp_path / "run"), recipe or small_recipe(steps=1)
        options = {"device": "cpu", "loader_workers": 0, **options}
        return prepare_training(recipe, training, validation, run, **options)

    return call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A `light` of two classes and two anchors."""
    config = small_config("light")
    path = tmp_path / "start.safetensors"
    header = CheckpointHeader(config=config.to_dict())
    save_checkpoint(path, small_network(config, seed=5), header)
    return path


@pytest.fixture
def narrow(tmp_path: Path) -> StartWeights:
    """A `flownet2-sd` that is 1/64 as wide, which runs of that preset start from."""
    return StartWeights(checkpoints=(save_small_checkpoint(tmp_path / "narrow"),))


def detector_of(trainer: Trainer[TwoStreamDetector]) -> dict[str, Any]:
    """The configuration of its network, as config.json has it."""
    detector: dict[str, Any] = trainer.run.read_config()["detector"]
    return detector


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
    assert config["start"] == {"checkpoints": [], "video_backbone": None, "flow": None}
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
    save(killed)
    config = (tmp_path / "run" / "config.json").read_text("utf-8")

    resumed = prepare(recipe, resume=True)

    assert [step.losses for step in steps_of(resumed.train(), most=1)] == both[1:]
    assert (tmp_path / "run" / "config.json").read_text("utf-8") == config


def test_a_run_without_all_of_its_settings_is_not_resumed(
    prepare: Prepare, tmp_path: Path, checkpoint: Path
) -> None:
    save(prepare(start=StartWeights(checkpoints=(checkpoint,))))
    path = tmp_path / "run" / "config.json"
    stored = json.loads(path.read_text("utf-8"))
    del stored["start"]
    path.write_text(json.dumps(stored), "utf-8")

    with pytest.raises(WeightsError, match=r"config\.json: .* found none of start; start without"):
        prepare(resume=True)


def test_a_run_is_not_resumed_on_other_clips(
    prepare: Prepare, data: AnnotatedDataset, checkpoint: Path
) -> None:
    save(prepare(start=StartWeights(checkpoints=(checkpoint,))))
    mirrored = replace(data.clips[0], boxes_by_frame=data.clips[0].boxes_by_frame[::-1])
    other = replace(data, clips=(mirrored, data.clips[1]))

    with pytest.raises(UsageError, match=r"config\.json: this run has other data: resume with"):
        prepare(training=other, resume=True)


def test_a_run_is_not_resumed_with_other_ignore_regions(
    prepare: Prepare, tmp_path: Path, checkpoint: Path
) -> None:
    save(prepare(start=StartWeights(checkpoints=(checkpoint,))))
    (tmp_path / "regions.json").write_text("{}")

    with pytest.raises(UsageError, match="this run has other ignore regions"):
        prepare(ignore_regions=tmp_path / "regions.json", resume=True)


def test_a_run_is_not_resumed_as_another_preset(prepare: Prepare, checkpoint: Path) -> None:
    save(prepare(start=StartWeights(checkpoints=(checkpoint,))))

    with pytest.raises(UsageError, match="preset=flownet2-sd: the run to resume trains light"):
        prepare(small_recipe("flownet2-sd"), resume=True)


def test_a_folder_without_a_run_is_not_resumed(prepare: Prepare) -> None:
    with pytest.raises(
        WeightsError, match="run: expected a run, found none; start without --resume"
    ):
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
    recipe = small_recipe(dropout=0.25)

    trainer = prepare(recipe, start=StartWeights(checkpoints=(checkpoint,)))

    assert detector_of(trainer)["anchors_wh"] == [list(wh) for wh in small_config().anchors_wh]
    fusion = trainer.network.fusion
    assert isinstance(fusion, LightFusion)
    assert fusion.dropout.p == 0.25
    assert same_weights(load_checkpoint(checkpoint)[0], trainer.network)


def test_a_checkpoint_of_other_classes_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    config = replace(small_config("light"), class_names=("walk", "swim"))
    header = CheckpointHeader(config=config.to_dict())
    save_checkpoint(tmp_path / "other", build_detector(config), header)

    with pytest.raises(WeightsError, match="expected classes"):
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
        (StartWeights(flow=tmp_path / "f"), "preset brox has no flow network for"),
        (StartWeights(video_backbone=tmp_path / "v"), "preset brox has no video backbone"),
    ):
        with pytest.raises(UsageError, match=complaint):
            prepare(small_recipe("brox"), start=start, flow_images=tmp_path)


def test_a_file_of_something_else_is_no_flow_network(
    prepare: Prepare, tmp_path: Path, checkpoint: Path
) -> None:
    start = StartWeights(checkpoints=(checkpoint,), flow=checkpoint)
    with pytest.raises(WeightsError, match="expected weights of the flow network") as failure:
        prepare(start=start)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("changes", [{"preset": "heavy"}, {"input_size": 100}], ids=str)
def test_a_recipe_that_fits_no_network_is_a_usage_error(
    prepare: Prepare, changes: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=str(*changes.values())):
        prepare(small_recipe(**changes))


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
    # Every square is 12x12 px of 64x48, in a grid of 4x4 cells.
    anchors = detector_of(prepare(small_recipe(batch_size=1)))["anchors_wh"]
    np.testing.assert_allclose(anchors, [[0.75, 1.0]] * 5)


def test_a_checkpoint_of_another_preset_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    config = small_config("flownet2-sd")
    header = CheckpointHeader(config=config.to_dict())
    save_checkpoint(tmp_path / "other", build_detector(config), header)

    with pytest.raises(WeightsError, match="expected preset light, found flownet2-sd"):
        prepare(start=StartWeights(checkpoints=(tmp_path / "other",)))


def test_a_network_of_the_paper_is_kept_in_float32_and_light_in_half_of_it(
    prepare: Prepare, tmp_path: Path, narrow: StartWeights, checkpoint: Path
) -> None:
    light = StartWeights(checkpoints=(checkpoint,))
    for preset, start, dtype in (
        ("flownet2-sd", narrow, torch.float32),
        ("light", light, torch.float16),
    ):
        steps_of(prepare(small_recipe(preset, steps=1), start=start).train())
        stored = load_file(tmp_path / "run" / "best.safetensors")
        assert stored["fusion.conv.weight"].dtype == dtype


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_a_recipe_in_float32_is_measured_in_float32(
    prepare: Prepare,
    data: AnnotatedDataset,
    narrow: StartWeights,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    asked: list[str] = []

    class Detector(TorchDetector):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            asked.append(options["precision"])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(detection_objective, "TorchDetector", Detector)
    recipe = small_recipe("flownet2-sd", steps=1, evaluate_every=1, precision=precision)
    list(prepare(recipe, validation=data, start=narrow).train())
    assert asked == [precision]


def test_worker_processes_make_the_batches_that_this_one_would(
    prepare: Prepare, checkpoint: Path
) -> None:
    start, recipe = StartWeights(checkpoints=(checkpoint,)), small_recipe(steps=2)
    alone, by_two = (
        [step.losses for step in steps_of(prepare(recipe, start=start, loader_workers=n).train())]
        for n in (0, 2)
    )
    assert by_two == alone


def test_a_published_backbone_reaches_the_rgb_stream_and_is_what_the_run_holds_to(
    prepare: Prepare, tmp_path: Path
) -> None:
    if not BACKBONE.is_file():
        pytest.skip("MoViNet-A0-Stream (../shared/data/weights) is not here")
    published = VideoBackbone()
    load_video_backbone(BACKBONE, published)
    config = small_config("light")
    header = CheckpointHeader(config=config.to_dict(), missing=("fusion", "context_window"))
    imported = small_network(config)
    imported.rgb_stream.backbone.load_state_dict(published.state_dict())
    save_checkpoint(tmp_path / "imported", imported, header)

    for path in (BACKBONE, tmp_path / "imported"):
        trainer = prepare(start=StartWeights(video_backbone=path))
        network = trainer.network
        assert isinstance(network, LightDetector)
        for name, value in published.state_dict().items():
            assert torch.equal(network.rgb_stream.backbone.state_dict()[name], value)
            assert torch.equal(trainer.kept[name], value)
        start = trainer.run.read_config()["start"]["video_backbone"]
        assert start == {"file": path.name, "sha256": sha256_of(path)}


def test_a_file_without_a_video_backbone_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    config = small_config("flownet2-sd")
    header = CheckpointHeader(config=config.to_dict())
    save_checkpoint(tmp_path / "paper", build_detector(config), header)
    (tmp_path / "cut").write_bytes(b"\0\0\0\0TFL3")

    for name, complaint in (
        ("paper", "expected the video backbone of preset light, found preset flownet2-sd"),
        ("cut", "expected MoViNet-A0-Stream"),
        ("absent", "absent"),
    ):
        with pytest.raises(WeightsError, match=complaint) as failure:
            prepare(start=StartWeights(video_backbone=tmp_path / name))
        assert "\n" not in str(failure.value)


def test_what_a_run_holds_to_survives_a_resume_while_it_is_tuned(
    prepare: Prepare, checkpoint: Path
) -> None:
    recipe, start = small_recipe(tune_steps=5), StartWeights(checkpoints=(checkpoint,))
    begun = prepare(recipe, start=start)
    steps_of(begun.train(), most=4)  # saved after three

    resumed = prepare(recipe, resume=True)

    assert resumed.step == 3
    before = load_checkpoint(checkpoint)[0].state_dict()
    for name, value in resumed.kept.items():
        assert torch.equal(value, before[f"rgb_stream.backbone.{name}"])
    tuned = resumed.network.get_submodule("rgb_stream.backbone").state_dict()
    assert not torch.equal(tuned["stem.weight"], resumed.kept["stem.weight"])
