"""What a network learns and how that is judged: the part of training that depends on the task."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from tubedet.models.two_stream import TwoStreamDetector

Batch = TypeVar("Batch")


class Objective(Protocol[Batch]):
    """A task, for `Trainer`.

    Attributes:
        figure: what is measured on the validation part, in words.
        deciding: the measure by which the best weights are chosen.
    """

    figure: str
    deciding: str

    def split(self, batch: Batch, parts: int) -> Sequence[Batch]:
        """A batch in as many equal parts, computed one after another."""
        ...

    def count(self, batch: Batch) -> int:
        """What the sums of the loss are divided by; counts of parts add up."""
        ...

    def clip(self, batch: Batch) -> Tensor:
        """The network's input (B, 3, 2, S, S) uint8."""
        ...

    def predict(self, network: TwoStreamDetector, clip: Tensor) -> Tensor:
        """What the loss judges, from a float clip."""
        ...

    def losses(self, predicted: Tensor, batch: Batch, count: int) -> dict[str, Tensor]:
        """The terms of the loss as scalars, with their sum under `total`.

        Args:
            predicted: float32, of this batch.
            batch: maybe a part of the step's batch.
            count: of the step's whole batch.
        """
        ...

    def measures(self, result: Any) -> dict[str, float]:
        """The figures of a result of the validation."""
        ...


class Samples(Protocol):
    """Where batches come from; what they are is a matter between it and the objective."""

    def batches(
        self,
        input_size: int,
        batch_size: int,
        *,
        first_sample: int = 0,
        every: int | None = None,
    ) -> Iterator[Any]:
        """Batches without end, see `TrainingSamples.batches`."""
        ...


class Prediction(nn.Module):
    """The network as the objective asks it, so that `DistributedDataParallel` can wrap it."""

    def __init__(self, network: TwoStreamDetector, objective: Objective[Any]) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, clip: Tensor) -> Tensor:
        """What the loss judges, from a clip (B, 3, 2, S, S)."""
        return self.objective.predict(self.network, clip)
