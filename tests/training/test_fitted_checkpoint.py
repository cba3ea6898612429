"""The end of a run of `light`: when it is fitted, and what is left then."""

from pathlib import Path
from typing import Any

import torch

from tests.drawn_jhmdb import save_small_checkpoint
from tests.small_training import save, small_recipe, steps_of
from tubedet.checkpoints.native import load_checkpoint, read_header
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.training.fitted_checkpoint import fit_published, needs_fit
from tubedet.training.loop import Trainer
from tubedet.training.objective import Validated
from tubedet.training.run_folder import RunFolder
from tubedet.training.start_network import StartWeights
from tubedet.training.train_detector import prepare_training


def trainer_of(
    data: AnnotatedDataset, folder: Path, *, resume: bool = False, **settings: Any
) -> Trainer[Any]:
    recipe = small_recipe(**{"steps": 2, "evaluate_every": 1, **settings})
    validation = data if recipe.evaluate_every else None
    return prepare_training(
        recipe,
        data,
        validation,
        RunFolder(folder),
        device="cpu",
        resume=resume,
        loader_workers=0,
    )


def test_a_finished_run_is_fitted_measured_and_not_fitted_again(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    trainer = trainer_of(data, tmp_path)
    steps_of(trainer.train())
    trained, _ = load_checkpoint(trainer.run.best)
    assert needs_fit(trainer)

    events = list(fit_published(trainer, data, device="cpu"))

    validated = events[-1]
    assert isinstance(validated, Validated)
    fitted, header = load_checkpoint(trainer.run.best)
    assert header.metrics["validation_f_map@0.5"] == validated.measures["0.5"]
    assert header.recipe == trainer.recipe.to_dict()
    before = trained.state_dict()
    changed = {n for n, value in fitted.state_dict().items() if not torch.equal(value, before[n])}
    assert changed  # by little: both clips look alike
    assert changed <= {"fusion.conv.bias", *(n for n in before if n.startswith("context_window."))}
    assert not needs_fit(trainer)
    resumed = trainer_of(data, tmp_path, resume=True)
    assert steps_of(resumed.train()) == []
    assert not needs_fit(resumed)


def test_a_run_that_ended_before_its_fit_goes_straight_to_it(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    steps_of(trainer_of(data, tmp_path, evaluate_every=0).train())

    resumed = trainer_of(data, tmp_path, evaluate_every=0, resume=True)

    assert steps_of(resumed.train()) == []
    assert needs_fit(resumed)
    list(fit_published(resumed, data, device="cpu"))
    assert not needs_fit(resumed)
    assert read_header(resumed.run.best).metrics == {}
    longer = trainer_of(data, tmp_path, evaluate_every=0, steps=3, resume=True)
    steps_of(longer.train())
    assert needs_fit(longer)


def test_a_network_of_the_paper_is_not_fitted(data: AnnotatedDataset, tmp_path: Path) -> None:
    trainer = prepare_training(
        small_recipe("flownet2-sd", steps=1),
        data,
        None,
        RunFolder(tmp_path / "run"),
        start=StartWeights(checkpoints=(save_small_checkpoint(tmp_path / "narrow"),)),
        loader_workers=0,
    )
    save(trainer)
    assert not needs_fit(trainer)
