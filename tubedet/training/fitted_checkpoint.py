"""The end of a run of `light`: what it published last is fitted to whole frames, and replaced."""

from collections.abc import Iterator
from typing import Any

from tubedet.checkpoints.native import load_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.step_windows import StepWindows
from tubedet.evaluation.evaluate import ClipEvaluated
from tubedet.models.light.detector import LightDetector
from tubedet.models.presets import LightConfig, config_from_dict
from tubedet.training.action_fit import ActionFit
from tubedet.training.loop import Trainer
from tubedet.training.objective import Validated


def needs_fit(trainer: Trainer[Any]) -> bool:
    """Whether best.safetensors is of `light`, and was published after it was last fitted."""
    if not isinstance(trainer.samples, StepWindows):
        return False
    publishes = "best" if trainer.validation else "total"  # what the log has where it is published
    fitted = False
    for event in trainer.run.events():
        fitted = "fitted" in event or (fitted and not event.get(publishes))
    return not fitted


def fit_published(
    trainer: Trainer[Any], data: AnnotatedDataset, *, device: str
) -> Iterator[ClipEvaluated | Validated]:
    """Fit the action layers of best.safetensors, correct its boxes, and measure it again.

    A run that is killed here does it once more when it is resumed.

    Args:
        trainer: at its end.
        data: what it was trained on.
        device: see `pick_device`.

    Raises:
        WeightsError: if the file is gone or damaged.
        OutputError: if it cannot be replaced.
    """
    run = trainer.run
    network, header = load_checkpoint(run.best)
    config = config_from_dict(header.config)
    assert isinstance(network, LightDetector)
    assert isinstance(config, LightConfig)
    assert isinstance(trainer.samples, StepWindows)
    fit = ActionFit(network, config, data, trainer.samples.frames, device=device)
    for done, video in enumerate(fit.run(), start=1):
        yield ClipEvaluated(video, done, len(data.clips))
    measures: dict[str, float] = {}
    if trainer.validation:
        for event in trainer.validation.measure(network):
            if isinstance(event, dict):
                measures = event
            else:
                yield event
    trainer.publish(run.best, network, measures)
    run.append({"step": trainer.step, "fitted": measures})
    if trainer.validation:
        yield Validated(trainer.step, trainer.validation, measures, is_best=True)
