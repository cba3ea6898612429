"""The training loop: sample, predict, compare, step; look at the validation part now and then.

`train` yields what happens; whoever calls it draws the progress. Everything random is drawn anew
from the seed and the step, so a resumed run takes the steps that the killed one would have taken.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import shorten

import torch
from torch import Tensor, nn

from tubedet.datasets.batching import TrainingBatch, TrainingSamples
from tubedet.errors import TubedetError, WeightsError
from tubedet.evaluation.evaluate import ClipEvaluated
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.detection_loss import detection_loss
from tubedet.training.loss_curves import draw_loss_curves
from tubedet.training.parameter_groups import freeze, parameter_groups
from tubedet.training.recipes import Recipe, rate_factor
from tubedet.training.run_folder import RunFolder, optimizer_tensors, restore_optimizer
from tubedet.training.weight_average import WeightAverage

DECIDING_IOU = "0.5"  # f-mAP at this threshold says which weights are best


class NonFiniteLossError(TubedetError):
    """The loss or its gradient became infinite or not a number; exit code 1."""


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
    """f-mAP of the averaged weights on the validation part, by IoU threshold."""

    step: int
    f_map: dict[str, float]
    is_best: bool


Event = StepDone | ClipEvaluated | Validated
Validate = Callable[[TwoStreamDetector], Iterator[ClipEvaluated | EvaluationResult]]
Publish = Callable[[TwoStreamDetector, dict[str, float]], None]


class Trainer:
    """A network with its optimiser and its running average.

    Args:
        network: on its device, with its start weights.
        config: of that network.
        recipe: all numbers of the run.
        samples: the endless list of training samples.
        run: where state and log go.
        publish: called with the averaged network and its f-mAP when that is the best so far;
            without validation, at every save.
        validate: measures the averaged network; None where there is no validation part.
    """

    def __init__(
        self,
        network: TwoStreamDetector,
        config: DetectorConfig,
        recipe: Recipe,
        samples: TrainingSamples,
        run: RunFolder,
        *,
        publish: Publish,
        validate: Validate | None,
    ) -> None:
        self.network, self.config, self.recipe = network, config, recipe
        self.samples, self.run = samples, run
        self.publish = publish
        self.validate = validate if recipe.evaluate_every else None
        self.device = next(network.parameters()).device
        freeze(network, recipe)
        self.optimizer = torch.optim.AdamW(parameter_groups(network, recipe), fused=True)
        self.full_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.names = {parameter: name for name, parameter in network.named_parameters()}
        self.average = WeightAverage(network, recipe.ema_decay)
        self.anchors_wh = torch.tensor(config.anchors_wh, device=self.device)
        self.step = self.validated_step = 0
        self.best = -1.0

    def train(self) -> Iterator[Event]:
        """Run to `recipe.steps`, from wherever the trainer stands.

        Raises:
            NonFiniteLossError: naming the last good state; no weight has taken it in.
            DatasetError: if a clip is bad.
            OutputError: if the run folder takes no more; what it holds is whole.
        """
        recipe = self.recipe
        self.run.forget_after(self.step)
        batches = self.samples.batches(
            recipe.input_size, recipe.batch_size, first_sample=self.step * recipe.batch_size
        )
        if self._must_validate():  # the run was stopped while it did
            yield from self._look_at_validation()
        while self.step < recipe.steps:
            yield self._take_step(batches)
            must_validate = self._must_validate()
            if must_validate or self._is_due(recipe.save_every):
                self.save()
            if must_validate:
                yield from self._look_at_validation()
        draw_loss_curves(self.run)

    def _is_due(self, every: int) -> bool:
        return self.step == self.recipe.steps or self.step % every == 0

    def _must_validate(self) -> bool:
        return (
            self.validate is not None
            and self.step > self.validated_step
            and self._is_due(self.recipe.evaluate_every)
        )

    def _take_step(self, batches: Iterator[TrainingBatch]) -> StepDone:
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

    def _optimise(self, batch: TrainingBatch) -> tuple[dict[str, float], float]:
        """Change the weights; returns the terms of the loss and the norm of the gradient."""
        # bfloat16 keeps float32's range: no loss scaling. Weights stay float32.
        clip = batch.clip.to(self.device).float()
        with torch.autocast(self.device.type, torch.bfloat16):
            if self.config.streams == "both":
                raw = self.network.with_motion_alone(clip)
                batch = TrainingBatch(batch.clip, *(part * 2 for part in batch[1:]))
            else:
                raw = self.network(clip)
        classes, smoothing = len(self.config.class_names), self.recipe.label_smoothing
        loss = detection_loss(raw.float(), batch, self.anchors_wh, classes, smoothing)
        terms = {name: term.item() for name, term in loss._asdict().items()}
        self._require_finite(terms)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(list(self.names), self.recipe.max_gradient_norm).item()
        self._require_finite({"gradient": norm})
        self.optimizer.step()
        return terms, norm

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
        with self.average.swapped_in():
            self.network.eval()
            for event in self.validate(self.network):
                if isinstance(event, ClipEvaluated):
                    yield event
                else:
                    yield self._judge(event)
        freeze(self.network, self.recipe)
        self.validated_step = self.step
        self.save()
        draw_loss_curves(self.run)

    def _judge(self, result: EvaluationResult) -> Validated:
        f_map: dict[str, float] = result.to_dict()["f_map"]
        is_best = f_map[DECIDING_IOU] > self.best
        if is_best:
            self.best = f_map[DECIDING_IOU]
            self.publish(self.network, f_map)
        self.run.append({"step": self.step, "validation": f_map, "best": is_best})
        return Validated(self.step, f_map, is_best)

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
            "recipe": self.recipe.to_dict(),
        }
        self.run.save_state(tensors, progress)
        if self.validate is None:
            with self.average.swapped_in():
                self.publish(self.network, {})

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
        except (KeyError, RuntimeError, TypeError) as error:
            raise WeightsError(
                f"{self.run.last}: not the state of this network: {shorten(str(error), 200)}"
            ) from error
