"""The loop with one weight and a loss whose gradient is known: every number is worked out by hand.

The loss is the mean of weight times value, so its gradient is the mean of the values.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tests.small_training import steps_of
from tubedet.notes import Note
from tubedet.training.loop import Trainer
from tubedet.training.objective import Validated, Validation
from tubedet.training.recipes import LoopRecipe
from tubedet.training.run_folder import RunFolder


class Values(NamedTuple):
    """A batch: values (B,)."""

    value: Tensor


class Counting:
    """The batch of step n is (n, n + 2): its mean is n + 1."""

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def batch(self, step: int) -> Values:
        return Values(torch.tensor([float(step), step + 2.0]))


class Ones(Counting):
    """The gradient is always 1."""

    def batch(self, step: int) -> Values:
        return Values(torch.ones(2))


class Line(nn.Module):
    """One weight, which starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))


class MeanProduct:
    """Implements `Objective`."""

    def count(self, batch: Values) -> int:
        return len(batch.value)

    def predict(self, network: Line, batch: Values) -> Tensor:
        return network.weight * batch.value

    def losses(self, predicted: Tensor, batch: Values, count: int) -> dict[str, Tensor]:
        assert predicted.shape[-1] == len(batch.value)
        return {"total": predicted.sum() / count, "largest": batch.value.max()}


class LineRecipe(LoopRecipe):
    """Whatever the loop asks for."""

    task = "flow"


def recipe_of(**changes: Any) -> LineRecipe:
    settings: dict[str, Any] = {
        "batch_size": 2,
        "steps": 4,
        "warmup_steps": 0,
        "cooldown_steps": 0,
        "max_gradient_norm": None,
        "ema_decay": 0.0,
        "evaluate_every": 0,
        "save_every": 100,
        "name": "line",
        **changes,
    }
    return LineRecipe(**settings)


def trainer_of(
    folder: Path, recipe: LineRecipe, device: str = "cpu", **parts: Any
) -> tuple[Trainer[Line], Line]:
    """Plain gradient descent at a rate of 1, or Adam."""
    line = Line().to(device)
    groups = [{"name": "line", "params": [line.weight]}]
    optimizer: torch.optim.Optimizer = torch.optim.SGD(groups, lr=1.0)
    if recipe.optimizer == "adam":
        optimizer = torch.optim.Adam(groups, lr=1.0, fused=device == "cpu")
    arguments: dict[str, Any] = {
        "samples": Counting(),
        "run": RunFolder(folder),
        "publish": lambda path, network, measures: None,
        "loader_workers": 0,
        **parts,
    }
    return Trainer(line, optimizer, MeanProduct(), recipe, **arguments), line


def test_a_step_goes_down_the_gradient_of_its_own_batch(tmp_path: Path) -> None:
    trainer, line = trainer_of(tmp_path, recipe_of(steps=3))

    steps = steps_of(trainer.train())

    # Gradients 1, 2, 3; the losses before them 0 · 1, -1 · 2 and -3 · 3.
    assert [step.losses["total"] for step in steps] == [0.0, -2.0, -9.0]
    assert [step.gradient_norm for step in steps] == [1.0, 2.0, 3.0]
    assert line.weight.item() == -6.0


@pytest.mark.parametrize("accumulation", [1, 2])
def test_parts_of_a_batch_add_up_to_the_whole(tmp_path: Path, accumulation: int) -> None:
    trainer, line = trainer_of(tmp_path, recipe_of(steps=2, accumulation=accumulation))
    steps = steps_of(trainer.train())
    assert line.weight.item() == -3.0
    assert steps[1].losses["total"] == -2.0


def test_rates_rise_stay_and_fall_step_by_step(tmp_path: Path) -> None:
    recipe = recipe_of(steps=6, warmup_steps=2, cooldown_steps=2)
    trainer, line = trainer_of(tmp_path, recipe, samples=Ones())
    places = [0.0]
    for _ in trainer.train():
        places.append(line.weight.item())
    # 1/2, then 1; the fall begins two steps before the end: at its start 1, half way 1/2.
    moved = [before - after for before, after in pairwise(places)]
    assert moved == pytest.approx([0.5, 1.0, 1.0, 1.0, 1.0, 0.5])


def test_the_average_takes_in_every_step(tmp_path: Path) -> None:
    trainer, _ = trainer_of(tmp_path, recipe_of(steps=2, ema_decay=0.9), samples=Ones())
    steps_of(trainer.train())
    # It starts at 0, keeps 1/10 of that, then 2/11: the weight is -1, then -2.
    assert trainer.average.tensors["weight"].item() == pytest.approx(-(0.9 * 2 / 11 + 2 * 9 / 11))


def test_large_gradients_are_scaled_down_to_the_norm(tmp_path: Path) -> None:
    trainer, line = trainer_of(tmp_path, recipe_of(steps=2, max_gradient_norm=1.5))
    steps = steps_of(trainer.train())
    assert [step.gradient_norm for step in steps] == [1.0, 2.0]
    assert line.weight.item() == pytest.approx(-2.5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_run_goes_on_where_its_state_was_saved(tmp_path: Path, optimizer: str) -> None:
    recipe = recipe_of(steps=5, save_every=2, optimizer=optimizer, cooldown_steps=3, ema_decay=0.5)
    unbroken, line = trainer_of(tmp_path / "1", recipe)
    losses = [step.losses for step in steps_of(unbroken.train())]
    killed, _ = trainer_of(tmp_path / "2", recipe)
    steps_of(killed.train(), most=3)
    resumed, other = trainer_of(tmp_path / "2", recipe)

    resumed.resume()

    assert [step.losses for step in steps_of(resumed.train())] == losses[2:]
    assert torch.equal(other.weight, line.weight)
    assert torch.equal(resumed.average.tensors["weight"], unbroken.average.tensors["weight"])


@pytest.mark.filterwarnings("ignore:for weight. copying from a non-meta parameter")
def test_a_resumed_run_has_all_of_its_state_on_the_device_of_its_weights(tmp_path: Path) -> None:
    recipe = recipe_of(steps=2, save_every=2, optimizer="adam", ema_decay=0.5)
    steps_of(trainer_of(tmp_path, recipe)[0].train())
    resumed, line = trainer_of(tmp_path, recipe, device="meta")  # stands for a GPU
    # A fused optimiser wants its step there too; that of `meta` cannot be asked for by name.
    resumed.optimizer.param_groups[0]["fused"] = True

    resumed.resume()

    state = resumed.optimizer.state[line.weight]
    assert {name: value.device.type for name, value in state.items()} == {
        "step": "meta",
        "exp_avg": "meta",
        "exp_avg_sq": "meta",
    }
    assert resumed.average.tensors["weight"].device.type == "meta"


def test_the_smallest_measure_is_the_best_where_less_is_better(tmp_path: Path) -> None:
    errors = [3.0, 4.0, 2.0]

    def measure(network: Line) -> Iterator[dict[str, float]]:
        yield {"mean": errors.pop(0)}

    published: list[dict[str, float]] = []
    trainer, _ = trainer_of(
        tmp_path,
        recipe_of(steps=3, evaluate_every=1),
        validation=Validation("error", "px", "mean", measure, smaller_is_better=True),
        publish=lambda path, network, measures: published.append(measures),
    )
    validated = [event for event in trainer.train() if isinstance(event, Validated)]
    assert [event.is_best for event in validated] == [True, False, True]
    assert published == [{"mean": 3.0}, {"mean": 2.0}]


def test_after_a_validation_every_module_is_in_its_own_mode_again(tmp_path: Path) -> None:
    def measure(network: nn.Module) -> Iterator[dict[str, float]]:
        assert not any(module.training for module in network.modules())
        yield {"mean": 1.0}

    trainer, line = trainer_of(
        tmp_path,
        recipe_of(steps=1, evaluate_every=1),
        validation=Validation("error", "px", "mean", measure),
    )
    line.frozen = nn.BatchNorm1d(1).eval()  # as of a part that keeps its statistics
    list(trainer.train())
    assert (line.training, line.frozen.training) == (True, False)


class Reads(TorchFunctionMode):
    """Counts what makes a processor wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("item", "tolist", "cpu", "numpy", "__bool__"):
            self.found.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_losses_are_read_from_the_device_once_a_step(tmp_path: Path) -> None:
    trainer, _ = trainer_of(tmp_path, recipe_of(steps=3, accumulation=2, ema_decay=0.9))
    events = trainer.train()
    next(events)  # the loader draws a seed
    with Reads() as reads:
        next(events)
        next(events)
    assert reads.found == ["tolist", "tolist"]


def test_batches_are_copied_to_the_device_without_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    copy = Tensor.to

    def to(self: Tensor, *args: Any, **options: Any) -> Tensor:
        asked.append(options)
        return copy(self, *args, **options)

    trainer, _ = trainer_of(tmp_path, recipe_of(steps=2))
    monkeypatch.setattr(Tensor, "to", to)
    steps_of(trainer.train(), most=1)
    assert asked[0] == {"non_blocking": True}
