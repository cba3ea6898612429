"""The training loop: a batch, its losses, a step; a validation now and then.

What is learned is the objective's: boxes, a clip's action, or flow. `train` yields what happens;
whoever calls it draws the progress. Everything random is drawn anew from the seed and the step, so
a resumed run takes the steps that the killed one would have taken.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from textwrap import shorten
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from tubedet.datasets.batch_loader import BatchSource, load_batches
from tubedet.errors import TubedetError, WeightsError
from tubedet.runtime.torch import autocast, pick_training_precision
from tubedet.training.distributed import Processes, default_loader_workers, without_exchange
from tubedet.training.loss_curves import draw_loss_curves
from tubedet.training.objective import (
    Event,
    Objective,
    Prediction,
    StepDone,
    Validated,
    Validation,
)
from tubedet.training.parameter_groups import relative_to
from tubedet.training.recipes import LoopRecipe
from tubedet.training.run_folder import RunFolder, optimizer_tensors, restore_optimizer
from tubedet.training.weight_average import WeightAverage


class NonFiniteLossError(TubedetError):
    """The loss or its gradient became infinite or not a number; exit code 1."""


Network = TypeVar("Network", bound=nn.Module)


class Trainer(Generic[Network]):
    """A network with its optimiser and its running average.

    Args:
        network: on its device, with its start weights, its modules in the mode they train in.
        optimizer: over its trained parameters, at their full rates.
        objective: what is learned.
        recipe: steps, schedule, precision and all else that does not depend on what is learned.
        samples: the batch of every step.
        run: where state and log go.
        publish: called with a path, the averaged network and its measures when these are the best
            so far; without validation, at every save.
        validation: None where nothing is measured.
        before_step: called with the number of a step, from 0, before it is taken; returns whether
            from now on other parameters are trained than before.
        kept: further tensors to be saved with the state, and filled when the run goes on.
        processes: those that train together.
        loader_workers: processes that make batches for this one; 0: it makes them itself; None:
            `default_loader_workers`.
    """

    def __init__(
        self,
        network: Network,
        optimizer: torch.optim.Optimizer,
        objective: Objective[Any],
        recipe: LoopRecipe,
        *,
        samples: BatchSource[Any],
        run: RunFolder,
        publish: Callable[[Path, Network, dict[str, float]], None],
        validation: Validation | None = None,
        before_step: Callable[[int], bool] = lambda step: False,
        kept: Mapping[str, Tensor] | None = None,
        processes: Processes | None = None,
        loader_workers: int | None = None,
    ) -> None:
        self.network, self.optimizer, self.objective = network, optimizer, objective
        self.recipe, self.samples, self.run = recipe, samples, run
        self.publish, self.before_step, self.kept = publish, before_step, kept or {}
        self.validation = validation if recipe.evaluate_every else None
        self.processes = processes or Processes()
        self.device = next(network.parameters()).device
        unsaid = default_loader_workers(self.device)
        self.loader_workers = unsaid if loader_workers is None else loader_workers
        self.full_rates = [group["lr"] for group in optimizer.param_groups]
        self.names = {parameter: name for name, parameter in network.named_parameters()}
        self.average = WeightAverage(network, recipe.ema_decay)
        self.predict = self.processes.parallel(Prediction(network, objective), self.device)
        self.step = self.validated_step = self.validations_since_best = 0
        self.best: float | None = None

    def train(self) -> Generator[Event]:
        """Run to `recipe.steps`, or out of patience, from wherever the trainer stands.

        Raises:
            NonFiniteLossError: naming the last good state; no weight has taken it in.
            DatasetError: if a clip is bad.
            OutputError: if the run folder takes no more; what it holds is whole.
        """
        with self.run.sole_writer():
            yield from self._train()

    def _train(self) -> Generator[Event]:
        self.run.forget_after(self.step)
        try:
            if self._must_validate():  # the run was stopped while it did
                yield from self._validate()
            with closing(self.load_batches(range(self.step, self.recipe.steps))) as batches:
                while self.step < self.recipe.steps and not self._is_out_of_patience():
                    yield self._take_step(batches)
                    must_validate = self._must_validate()
                    if must_validate or self._is_due(self.recipe.save_every):
                        self.save()
                    if must_validate:
                        yield from self._validate()
            self._draw()
        finally:
            self.run.flush()

    def load_batches(self, steps: range) -> Generator[Any]:
        """This process's share of the batches of these steps, on the CPU."""
        return load_batches(
            self.samples,
            steps,
            workers=self.loader_workers,
            pin_memory=self.device.type == "cuda",
        )

    def _is_due(self, every: int) -> bool:
        return self.step == self.recipe.steps or self.step % every == 0

    def _is_out_of_patience(self) -> bool:
        return 0 < self.recipe.patience <= self.validations_since_best

    def _must_validate(self) -> bool:
        return (
            self.validation is not None
            and self.step > self.validated_step
            and self._is_due(self.recipe.evaluate_every)
        )

    def _take_step(self, batches: Iterator[Any]) -> StepDone:
        started = time.monotonic()
        batch = next(batches)
        waited = time.monotonic() - started
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        if self.before_step(self.step):
            prediction = Prediction(self.network, self.objective)
            self.predict = self.processes.parallel(prediction, self.device)
        rate = self.recipe.rate_factor(self.step)
        for group, full in zip(self.optimizer.param_groups, self.full_rates, strict=True):
            group["lr"] = full * rate * relative_to(group)
        losses, norm = self._optimise(batch)
        self.average.update(self.step)
        self.step += 1
        seconds = time.monotonic() - started
        done = StepDone(self.step, losses, norm, rate, self.recipe.batch_size, seconds, waited)
        self.run.append(done.to_dict())
        return done

    def _optimise(self, batch: Any) -> tuple[dict[str, float], float]:
        """Change the weights; returns the terms of the loss and the norm of the gradient."""
        count = self.objective.count(batch)
        if self.processes.count > 1:
            count = int(self.processes.total(torch.tensor(count, device=self.device)))
        names, sums = [""], torch.zeros((), device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        parts = _split(_on_device(batch, self.device), self.recipe.accumulation)
        for number, part in enumerate(parts, start=1):
            with nullcontext() if number == len(parts) else without_exchange(self.predict):
                losses = self._losses(part, count)
                # Gradients are averaged over the processes, where they should be summed.
                (losses["total"] * self.processes.count).backward()  # type: ignore[no-untyped-call]
            names, sums = [*losses], sums + torch.stack([*losses.values()]).detach()
        most = self.recipe.max_gradient_norm or math.inf
        norm = nn.utils.clip_grad_norm_(list(self.names), most)
        # The one moment of a step that the processor waits for the device.
        *terms, found_norm = torch.cat([self.processes.total(sums), norm[None]]).tolist()
        found = dict(zip(names, terms, strict=True))
        self._require_finite({**found, "gradient": found_norm})
        self.optimizer.step()
        return found, found_norm

    def _losses(self, batch: Any, count: int) -> dict[str, Tensor]:
        # bfloat16 keeps float32's range: no loss scaling. Weights stay float32.
        precision = pick_training_precision(self.recipe.precision, self.device)
        with autocast(self.device, precision):
            predicted = self.predict(batch)
        return self.objective.losses(predicted, batch, count)

    def _require_finite(self, values: dict[str, float]) -> None:
        if not all(map(math.isfinite, values.values())):
            self.run.flush()
            found = ", ".join(f"{name} {value:g}" for name, value in values.items())
            good = f"is {self.run.last}" if self.run.last.exists() else "was none yet"
            raise NonFiniteLossError(
                f"the loss of step {self.step + 1} is not finite ({found}); the last good state "
                f"{good}: resume from it, or start again, with lower learning rates"
            )

    def _validate(self) -> Iterator[Event]:
        assert self.validation is not None
        measures: dict[str, float] = {}
        with self.average.swapped_in(), _evaluating(self.network):
            events = self.validation.measure(self.network) if self.processes.is_first else ()
            for event in events:
                if isinstance(event, dict):
                    measures = event
                else:
                    yield event
            yield self._judge(self.validation, self.processes.from_first(measures))
        self.validated_step = self.step
        self.save()
        self._draw()

    def _judge(self, validation: Validation, measures: dict[str, float]) -> Validated:
        found = measures[validation.deciding]
        score = -found if validation.smaller_is_better else found
        is_better = math.isfinite(score) and (self.best is None or score > self.best)
        is_best = is_better or self.recipe.keeps_latest
        self.validations_since_best = 0 if is_best else self.validations_since_best + 1
        if is_best:
            self.best = score
            self._publish(self.run.best, measures)
        self._keep(measures)
        self.run.append({"step": self.step, "validation": measures, "best": is_best})
        return Validated(self.step, validation, measures, is_best)

    def _keep(self, measures: dict[str, float]) -> None:
        if self.recipe.keep:
            self._publish(self.run.kept(self.step), measures)
            self.run.keep_only(self.recipe.keep)

    def _publish(self, path: Path, measures: dict[str, float]) -> None:
        if self.run.writes:
            self.publish(path, self.network, measures)

    def _draw(self) -> None:
        draw_loss_curves(self.run, *([self.validation.figure] if self.validation else []))

    def save(self) -> None:
        """Replace last.safetensors with the present state."""
        parts = {
            "network": self.network.state_dict(),
            "average": self.average.tensors,
            "optimizer": optimizer_tensors(self.optimizer, self.names),
            "kept": self.kept,
        }
        tensors = {f"{part}.{name}": t for part, all_ in parts.items() for name, t in all_.items()}
        progress = {
            "step": self.step,
            "validated_step": self.validated_step,
            "best": self.best,
            "validations_since_best": self.validations_since_best,
            "recipe": self.recipe.to_dict(),
        }
        self.run.save_state(tensors, progress)
        if self.validation is None:
            with self.average.swapped_in():
                self._publish(self.run.best, {})
                self._keep({})

    def resume(self) -> None:
        """Continue from the run's last.safetensors; WeightsError if it is not of this network."""
        tensors, progress = self.run.load_state()
        parts: dict[str, dict[str, Tensor]]
        parts = {"network": {}, "average": {}, "optimizer": {}, "kept": {}}
        try:
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            self.network.load_state_dict(parts["network"])
            self.average.restore(parts["average"])
            for name, tensor in self.kept.items():
                tensor.copy_(parts["kept"][name])
            restore_optimizer(self.optimizer, self.names, parts["optimizer"])
            self.step, self.best = progress["step"], progress["best"]
            self.validated_step = progress["validated_step"]
            self.validations_since_best = progress["validations_since_best"]
        except (KeyError, RuntimeError, TypeError) as error:
            raise WeightsError(
                f"{self.run.last}: not the state of this network: {shorten(str(error), 200)}"
            ) from error


def _on_device(batch: Any, device: torch.device) -> Any:
    """A batch of tensors there; from page-locked memory copies run beside the computation."""
    return type(batch)(*(each.to(device, non_blocking=True) for each in batch))


def _split(batch: Any, parts: int) -> list[Any]:
    """A batch in equal parts of consecutive samples."""
    pieces = zip(*(each.chunk(parts) for each in batch), strict=True)
    return [type(batch)(*piece) for piece in pieces]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; after it every module is in its own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
