"""What a training run tells while it goes on; whoever runs it draws the progress."""

from dataclasses import dataclass

from tubedet.evaluation.evaluate import ClipEvaluated


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimiser step.

    Attributes:
        step: optimiser steps done.
        losses: by term.
        gradient_norm: before it was limited.
        rate: share of the full learning rates.
        samples_per_s: of this step, waiting for its samples included.
    """

    step: int
    losses: dict[str, float]
    gradient_norm: float
    rate: float
    samples_per_s: float


@dataclass(frozen=True, slots=True)
class Validated:
    """Figures of the averaged weights on the validation part, such as f-mAP by IoU threshold."""

    step: int
    figure: str
    measures: dict[str, float]
    is_best: bool


Event = StepDone | ClipEvaluated | Validated
