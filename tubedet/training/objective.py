"""What the training loop and a task say to each other: objective, validation, events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from torch import Tensor, nn

from tubedet.evaluation.evaluate import ClipEvaluated

Batch_contra = TypeVar("Batch_contra", contravariant=True)


class Objective(Protocol[Batch_contra]):
    """What is minimised. A batch is a NamedTuple of tensors, one entry of each a sample."""

    def count(self, batch: Batch_contra) -> int:
        """What sums of the loss are divided by, from a batch on the CPU; counts of parts add up."""
        ...

    def predict(self, network: Any, batch: Batch_contra) -> Any:
        """What the loss judges; convolutions may be in half precision here."""
        ...

    def losses(self, predicted: Any, batch: Batch_contra, count: int) -> dict[str, Tensor]:
        """The terms of the loss as float32 scalars, with what is minimised under `total`.

        Args:
            predicted: of this batch.
            batch: on the network's device; maybe a part of the step's batch.
            count: of the step's whole batch, of all processes together.
        """
        ...


@dataclass(frozen=True, slots=True)
class Validation:
    """How the averaged weights are measured now and then, and by which figure the best are chosen.

    Attributes:
        figure: what is measured, on what, such as "f-mAP on the validation part".
        unit: of the measures: shares, printed in per cent, or px.
        deciding: name of the measure that says which weights are best.
        measure: takes the network in evaluation mode; yields events, and at last a dict of all
            measures by name.
        smaller_is_better: whether the best has the smallest measure.
    """

    figure: str
    unit: Literal["%", "px"]
    deciding: str
    measure: Callable[[Any], Iterator[ClipEvaluated | dict[str, float]]]
    smaller_is_better: bool = False


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimiser step.

    Attributes:
        step: optimiser steps done.
        losses: by term.
        gradient_norm: before it was limited.
        rate: share of the full learning rates.
        samples: of all processes.
        seconds: that it took.
        waited_s: of these, waiting for the batch.
    """

    step: int
    losses: dict[str, float]
    gradient_norm: float
    rate: float
    samples: int
    seconds: float
    waited_s: float

    @property
    def samples_per_s(self) -> float:
        """Speed, the wait included."""
        return self.samples / self.seconds

    def to_dict(self) -> dict[str, float]:
        """As the log has it."""
        return {
            "step": self.step,
            **{name: round(value, 5) for name, value in self.losses.items()},
            "gradient_norm": round(self.gradient_norm, 4),
            "rate": round(self.rate, 5),
            "samples_per_s": round(self.samples_per_s, 2),
            "waited_s": round(self.waited_s, 4),
        }


@dataclass(frozen=True, slots=True)
class Validated:
    """Measures of the averaged weights; whether they are kept as best.safetensors."""

    step: int
    validation: Validation
    measures: dict[str, float]
    is_best: bool


Event = StepDone | ClipEvaluated | Validated


class Prediction(nn.Module):
    """The network as the objective asks it, so that `DistributedDataParallel` can wrap it."""

    def __init__(self, network: nn.Module, objective: Objective[Any]) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, batch: Any) -> Any:
        """What the loss judges, from a batch on the network's device."""
        return self.objective.predict(self.network, batch)
