"""Fifty steps of the paper's recipes on one batch, narrow and on small inputs: the loss falls."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.kinetics_layout import lay_out_as_kinetics
from tests.small_detector import small_config, small_network
from tests.small_training import OneBatch, steps_of
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.batching import BatchShare
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import SequenceSampler
from tubedet.datasets.kinetics import load_kinetics
from tubedet.datasets.kinetics_samples import ActionBatch, KineticsSamples
from tubedet.models.action_recognition import build_recognizer
from tubedet.models.presets import PaperConfig
from tubedet.models.yolov2.anchors import VOC_2016
from tubedet.training.detection_objective import DetectionObjective
from tubedet.training.loop import Trainer
from tubedet.training.paper_recipes import UcfRecipe, named_recipe
from tubedet.training.parameter_groups import detector_optimizer, freeze
from tubedet.training.recipes import Recipe
from tubedet.training.recognition_objective import RecognitionObjective
from tubedet.training.run_folder import RunFolder
from tubedet.training.train_detector import augmentation_of

JHMDB = Path(__file__).resolve().parents[3] / "shared" / "data" / "jhmdb-21"
WIDTH = 1 / 16


def small(name: str) -> Recipe:
    return replace(named_recipe(name), input_size=128, batch_size=4, steps=50, save_every=50)


def test_the_loss_of_the_real_time_row_falls_on_one_batch(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    recipe = small("tuned-flownet2-sd+kinetics")
    assert isinstance(recipe, UcfRecipe)
    config = PaperConfig(
        preset="flownet2-sd",
        class_names=data.class_names,
        anchors_wh=VOC_2016,
        input_size=recipe.input_size,
        width=WIDTH,
    )
    samples = OneBatch(
        data,
        ClipFrames(),
        seed=0,
        input_size=recipe.input_size,
        share=BatchShare(recipe.batch_size),
        recipe=augmentation_of(recipe),
        sampler=SequenceSampler(data, seed=0),
    )
    network = small_network(config)
    freeze(network, recipe)
    trainer = Trainer(
        network,
        detector_optimizer(network, recipe),
        DetectionObjective(config, recipe),
        recipe,
        samples=samples,
        run=RunFolder(tmp_path),
        publish=publish,
        loader_workers=0,
    )

    steps = steps_of(trainer.train())

    assert len(steps) == 50
    assert steps[-1].losses["total"] < 0.5 * steps[0].losses["total"]


class OneActionBatch(KineticsSamples):
    """The same batch for ever."""

    def batch(self, step: int) -> ActionBatch:
        return super().batch(0)


def test_the_loss_of_pretraining_falls_on_real_clips_laid_out_as_kinetics(tmp_path: Path) -> None:
    if not JHMDB.is_dir():
        pytest.skip("J-HMDB-21 (../shared/data/jhmdb-21) is not here")
    recipe = small("kinetics-pretraining")
    labels = ("golf", "pullup", "climb_stairs", "pour")
    clips = {label: sorted((JHMDB / "ReCompress_Videos" / label).iterdir())[:1] for label in labels}
    actions = load_kinetics(lay_out_as_kinetics(tmp_path / "kinetics", clips))
    config = replace(
        small_config("flownet2", recipe.input_size), class_names=actions.class_names, width=WIDTH
    )
    torch.manual_seed(0)
    samples = OneActionBatch(
        actions,
        seed=0,
        input_size=recipe.input_size,
        share=BatchShare(recipe.batch_size),
        recipe=augmentation_of(recipe),
    )
    network = build_recognizer(config)
    freeze(network, recipe)
    trainer = Trainer(
        network,
        detector_optimizer(network, recipe),
        RecognitionObjective(),
        recipe,
        samples=samples,
        run=RunFolder(tmp_path / "run"),
        publish=publish,
        loader_workers=0,
    )

    steps = steps_of(trainer.train())

    assert len(steps) == 50
    assert steps[-1].losses["total"] < 0.5 * steps[0].losses["total"]


def publish(*_: object) -> None:
    """No weights are wanted."""
