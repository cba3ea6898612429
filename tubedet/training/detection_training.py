"""The training loop: sample, predict, compare, step; look at the validation part now and then.

What is compared is the objective's: boxes, or a clip's action.

`train` yields what happens; whoever calls it draws the progress. Everything random is drawn anew
from the seed and the step, so a resumed run takes the steps that the killed one would have taken.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from tubedet.errors import TubedetError, WeightsError
from tubedet.evaluation.evaluate import ClipEvaluated
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.torch import autocast, pick_training_precision
from tubedet.training.detection_objective import DetectionObjective
from tubedet.training.distributed import Processes, without_exchange
from tubedet.training.events import Event, StepDone, Validated
from tubedet.training.loss_curves import draw_loss_curves
from tubedet.training.objective import Objective, Prediction, Samples
from tubedet.training.parameter_groups import freeze, make_optimizer
from tubedet.training.recipes import Recipe, rate_factor
from tubedet.training.run_folder import RunFolder, optimizer_tensors, restore_optimizer
from tubedet.training.weight_average import WeightAverage


class NonFiniteLossError(TubedetError):
    """The loss or its gradient became infinite or not a number; exit code 1."""


Validate = Callable[[TwoStreamDetector], Iterator[Any]]
Publish = Callable[[Path, TwoStreamDetector, dict[str, float]], None]


class Trainer:
    """A network with its optimiser and its running average.

    Args:
        network: on its device, with its start weights.
        config: of that network.
        recipe: all numbers of the run.
        samples: the endless list of training samples.
        run: where state and log go.
        publish: called with a path, the averaged network and its f-mAP when that is the best so
            far; without validation, at every save.
        validate: measures the averaged network: `ClipEvaluated`, and at last what the objective
            takes measures from; None where there is no validation part.
        objective: what is learned; None: detection.
        processes: those that train together.
    """

    def __init__(
        self,
        network: TwoStreamDetector,
        config: DetectorConfig,
        recipe: Recipe,
        samples: Samples,
        run: RunFolder,
        *,
        publish: Publish,
        validate: Validate | None,
        objective: Objective[Any] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.network, self.config, self.recipe = network, config, recipe
        self.samples, self.run = samples, run
        self.publish = publish
        self.validate = validate if recipe.evaluate_every else None
        self.device = next(network.parameters()).device
        freeze(network, recipe)
        self.optimizer = make_optimizer(network, recipe)
        self.full_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.names = {parameter: name for name, parameter in network.named_parameters()}
        self.average = WeightAverage(network, recipe.ema_decay)
        self.objective = objective or DetectionObjective(config, recipe)
        self.processes = processes or Processes()
        self.predict = self.processes.parallel(Prediction(network, self.objective), self.device)
        self.step = self.validated_step = self.looks_since_best = 0
        self.best = -1.0

    def train(self) -> Iterator[Event]:
        """Run to `recipe.steps`, or out of patience, from wherever the trainer stands.

        Raises:
            NonFiniteLossError: naming the last good state; no weight has taken it in.
            DatasetError: if a clip is bad.
            OutputError: if the run folder takes no more; what it holds is whole.
        """
        recipe, share = self.recipe, self.recipe.batch_size // self.processes.count
        self.run.forget_after(self.step)
        batches = self.samples.batches(
            recipe.input_size,
            share,
            first_sample=self.step * recipe.batch_size + self.processes.rank * share,
            every=recipe.batch_size,
        )
        if self._must_validate():  # the run was stopped while it did
            yield from self._look_at_validation()
        while self.step < recipe.steps and not self._is_out_of_patience():
            yield self._take_step(batches)
            must_validate = self._must_validate()
            if must_validate or self._is_due(recipe.save_every):
                self.save()
            if must_validate:
                yield from self._look_at_validation()
        draw_loss_curves(self.run)

    def _is_due(self, every: int) -> bool:
        return self.step == self.recipe.steps or self.step % every == 0

    def _is_out_of_patience(self) -> bool:
        return 0 < self.recipe.patience <= self.looks_since_best

    def _must_validate(self) -> bool:
        return (
            self.validate is not None
            and self.step > self.validated_step
            and self._is_due(self.recipe.evaluate_every)
        )

    def _take_step(self, batches: Iterator[Any]) -> StepDone:
        started = time.monotonic()
        batch = next(batches)
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.step)
        rate = rate_factor(self.step, self.recipe)
        for group, full in zip(self.optimizer.param_groups, self.full_rates, strict=True):
            group["lr"] = full * rate
        losses, norm = self._optimise(batch)
        self.average.update(self.step)
        self.step += 1
        speed = self.recipe.batch_size / (time.monotonic() - started)
        done = StepDone(self.step, losses, norm, rate, speed)
        self._log(done)
        return done

    def _optimise(self, batch: Any) -> tuple[dict[str, float], float]:
        """Change the weights; returns the terms of the loss and the norm of the gradient."""
        own = {"count": float(self.objective.count(batch))}
        count = round(self.processes.total(own, self.device)["count"])
        terms: dict[str, float] = {}
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.objective.split(batch, self.recipe.accumulation)
        for number, part in enumerate(parts, start=1):
            with nullcontext() if number == len(parts) else without_exchange(self.predict):
                losses = self._losses(part, count)
                for name, term in losses.items():
                    terms[name] = terms.get(name, 0.0) + term.item()
                self._require_finite(terms)
                # Gradients are averaged over the processes, where they should be summed.
                (losses["total"] * self.processes.count).backward()  # type: ignore[no-untyped-call]
        most = self.recipe.max_gradient_norm or math.inf
        norm = nn.utils.clip_grad_norm_(list(self.names), most).item()
        self._require_finite({"gradient": norm})
        self.optimizer.step()
        return self.processes.total(terms, self.device), norm

    def _losses(self, batch: Any, count: int) -> dict[str, Tensor]:
        # bfloat16 keeps float32's range: no loss scaling. Weights stay float32.
        precision = pick_training_precision(self.recipe.precision, self.device)
        clip = self.objective.clip(batch).to(self.device).float()
        with autocast(self.device, precision):
            predicted = self.predict(clip)
        return self.objective.losses(predicted.float(), batch, count)

    def _require_finite(self, values: dict[str, float]) -> None:
        if not all(map(math.isfinite, values.values())):
            found = ", ".join(f"{name} {value:g}" for name, value in values.items())
            good = f"is {self.run.last}" if self.run.last.exists() else "was none yet"
            raise NonFiniteLossError(
                f"the loss of step {self.step + 1} is not finite ({found}); the last good state "
                f"{good}: resume from it, or start again, with lower learning rates"
            )

    def _look_at_validation(self) -> Iterator[ClipEvaluated | Validated]:
        assert self.validate is not None
        measures: dict[str, float] = {}
        with self.average.swapped_in():
            self.network.eval()
            for event in self.validate(self.network) if self.processes.is_first else ():
                if isinstance(event, ClipEvaluated):
                    yield event
                else:
                    measures = self.objective.measures(event)
            yield self._judge(self.processes.from_first(measures))
        freeze(self.network, self.recipe)
        self.validated_step = self.step
        self.save()
        draw_loss_curves(self.run)

    def _judge(self, measures: dict[str, float]) -> Validated:
        is_best = measures[self.objective.deciding] > self.best
        self.looks_since_best = 0 if is_best else self.looks_since_best + 1
        if is_best:
            self.best = measures[self.objective.deciding]
            self.publish(self.run.best, self.network, measures)
        self._keep(measures)
        self.run.append({"step": self.step, "validation": measures, "best": is_best})
        return Validated(self.step, self.objective.figure, measures, is_best)

    def _keep(self, measures: dict[str, float]) -> None:
        if self.recipe.keep:
            self.publish(self.run.kept(self.step), self.network, measures)
            self.run.keep_only(self.recipe.keep)

    def _log(self, done: StepDone) -> None:
        self.run.append(
            {
                "step": done.step,
                **{name: round(value, 5) for name, value in done.losses.items()},
                "gradient_norm": round(done.gradient_norm, 4),
                "rate": round(done.rate, 5),
                "samples_per_s": round(done.samples_per_s, 2),
            }
        )

    def save(self) -> None:
        """Replace last.safetensors with the present state."""
        parts = {
            "network": self.network.state_dict(),
            "average": self.average.tensors,
            "optimizer": optimizer_tensors(self.optimizer, self.names),
        }
        tensors = {f"{part}.{name}": t for part, all_ in parts.items() for name, t in all_.items()}
        progress = {
            "step": self.step,
            "validated_step": self.validated_step,
            "best": self.best,
            "looks_since_best": self.looks_since_best,
            "recipe": self.recipe.to_dict(),
        }
        self.run.save_state(tensors, progress)
        if self.validate is None:
            with self.average.swapped_in():
                self.publish(self.run.best, self.network, {})
                self._keep({})

    def resume(self) -> None:
        """Continue from the run's last.safetensors; WeightsError if it is not of this network."""
        tensors, progress = self.run.load_state()
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
        try:
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            self.network.load_state_dict(parts["network"])
            self.average.restore(parts["average"])
            restore_optimizer(self.optimizer, self.names, parts["optimizer"])
            self.step, self.best = int(progress["step"]), float(progress["best"])
            self.validated_step = int(progress.get("validated_step", 0))
            self.looks_since_best = int(progress.get("looks_since_best", 0))
        except (KeyError, RuntimeError, TypeError) as error:
            raise WeightsError(
                f"{self.run.last}: not the state of this network: {shorten(str(error), 200)}"
            ) from error
