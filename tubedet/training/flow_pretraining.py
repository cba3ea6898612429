"""Teaches FlowNet2-SD optical flow before it joins the detector.

As FlowNet was taught: supervised, end-point error at five scales, here of every look of
`RefinedFlow`, on made pairs whose flow is known exactly (`moving_layers`), with a share of real
pairs under DIS's flow (`flow_teacher`).
Every batch is a function of (seed, step), so a resumed run sees what an unbroken one would have.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from tubedet.datasets.flow_batches import FlowBatch, FlowBatches
from tubedet.datasets.flow_sample import FlowSample
from tubedet.datasets.procedural_flow import procedural_samples
from tubedet.errors import WeightsError
from tubedet.evaluation.flow_error import end_point_error, network_estimator
from tubedet.models.flownet2.stacks import DIV_FLOW
from tubedet.models.refined_flow import RefinedFlow
from tubedet.runtime.torch import autocast, pick_training_precision
from tubedet.training.detection_training import NonFiniteLossError
from tubedet.training.flow_loss import multi_scale_loss
from tubedet.training.recipes import TrainingPrecision
from tubedet.training.run_folder import RunFolder, optimizer_tensors, restore_optimizer

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class FlowPretrainingConfig:
    """Every number of a run.

    The learning rate warms up, stays, and falls along a cosine in the last `cooldown_steps`, so
    that a run can be prolonged without having been planned that long.

    Attributes:
        frame_pairs: file of `write_frame_pairs`, of training clips.
        run_folder: receives `last.safetensors`, the averaged RefinedFlow's plain state dict, and
            `log.jsonl`; its folder `resume` holds what going on needs.
        width: of the network.
        sizes: sides of the square samples in px, multiples of 64; one is drawn for each batch.
        steps: optimiser steps in all.
        batch_size: pairs a step.
        learning_rate: AdamW's, at its plateau.
        weight_decay: AdamW's.
        warmup_steps: length of the rise.
        cooldown_steps: length of the fall.
        max_gradient_norm: larger gradients are scaled down to it.
        ema_decay: of the averaged weights, which are measured and kept.
        teacher_share: share of samples that are real pairs.
        precision: of convolutions: `bf16`, `fp32`, or `auto`: bf16 on a processor that multiplies
            it itself. Weights and loss are float32.
        workers: processes that make samples; 0 makes them in this one.
        log_every: steps between two events.
        save_every: steps between two checkpoints, each measured on `evaluation_samples`.
        evaluation_samples: procedural pairs that a checkpoint is measured on.
        seed: of everything random.
    """

    frame_pairs: Path
    run_folder: Path
    width: float = 0.25
    sizes: tuple[int, ...] = (128, 192, 256)
    steps: int = 14_000
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 300
    cooldown_steps: int = 5_000
    max_gradient_norm: float = 1.0
    ema_decay: float = 0.998
    teacher_share: float = 0.3
    precision: TrainingPrecision = "auto"
    workers: int = 1
    log_every: int = 20
    save_every: int = 500
    evaluation_samples: int = 24
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FlowStep:
    """Progress, as the log has it.

    Attributes:
        step: optimiser steps done.
        steps: of the whole run.
        loss: mean of the steps since the last event.
        end_point_error_px: mean of the same steps on the training samples, at flow2's resolution.
        learning_rate: of this step.
        pairs_per_s: since the last event.
        procedural_error_px: end-point error of the averaged weights on pairs unlike the training's;
            None but at checkpoints.
    """

    step: int
    steps: int
    loss: float
    end_point_error_px: float
    learning_rate: float
    pairs_per_s: float
    procedural_error_px: float | None


def learning_rate_at(step: int, config: FlowPretrainingConfig) -> float:
    """The rate of a step: a ramp up, a plateau, and a cosine down to a hundredth."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = min(1.0, (config.steps - step) / max(1, config.cooldown_steps))
    fall = 0.01 + 0.99 * (1 - math.cos(math.pi * left)) / 2
    return config.learning_rate * rise * fall


class _Run:
    """The network, its average and its optimiser; knows how to step, save and resume."""

    def __init__(self, config: FlowPretrainingConfig) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.precision = pick_training_precision(config.precision, CPU)
        self.folder = RunFolder(config.run_folder)
        self.resumable = RunFolder(config.run_folder / "resume")
        self.step = 0
        network = RefinedFlow(width=config.width, sd_scale=DIV_FLOW)
        # Measured on a CPU: a quarter faster than the default layout in bfloat16, half in float32.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedModel(self.network, multi_avg_fn=self._average)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.names = {parameter: name for name, parameter in self.network.named_parameters()}

    @torch.no_grad()
    def _average(self, averaged: Any, current: Any, updates: Tensor | int) -> None:
        """Move towards the current weights: far at first, by 1 - `ema_decay` later."""
        decay = min(self.config.ema_decay, (1 + int(updates)) / (10 + int(updates)))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def learn(self, batch: FlowBatch) -> tuple[float, float]:
        """One optimiser step; returns loss and end-point error (px) before it.

        Raises:
            NonFiniteLossError: before the weights are touched by it.
        """
        self.optimizer.param_groups[0]["lr"] = learning_rate_at(self.step, self.config)
        with autocast(CPU, self.precision):
            looks = self.network.looks(batch.clip.float())
        loss = error = torch.zeros(())
        for look in looks:  # the error is that of the last, which sees the whole size
            size = 4 * look.left.flow2.shape[-1] / batch.clip.shape[-1]
            left_uv = (batch.flow_uv - look.before.detach()) * size
            of_look, error = multi_scale_loss(look.left, left_uv, batch.known)
            loss = loss + of_look
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the flow loss of step {self.step + 1} is {loss.item()}; the last good state is "
                f"{self.resumable.last}: resume from it with a lower learning rate"
            )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.max_gradient_norm)
        self.optimizer.step()
        self.averaged.update_parameters(self.network)
        self.step += 1
        return loss.item(), error.item()

    def save(self) -> None:
        """Write the averaged network for use, and everything for resuming."""
        progress = {"step": self.step, "width": self.config.width}
        self.folder.save_state(self.averaged.module.state_dict(), progress)
        parts = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, self.names),
        }
        named = {f"{part}.{name}": t for part, all_ in parts.items() for name, t in all_.items()}
        self.resumable.save_state(named, progress)

    def resume(self) -> None:
        """Go on from the folder's state, if it has one."""
        if not self.resumable.last.exists():
            return
        tensors, progress = self.resumable.load_state()
        if progress["width"] != self.config.width:
            raise WeightsError(
                f"{self.resumable.last}: expected a network of width {self.config.width}, found "
                f"{progress['width']}; choose another run folder"
            )
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "averaged": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.network.load_state_dict(parts["network"])
        self.averaged.load_state_dict(parts["averaged"])
        restore_optimizer(self.optimizer, self.names, parts["optimizer"])
        self.step = int(progress["step"])

    def procedural_error_px(self, samples: list[FlowSample]) -> float:
        """End-point error of the averaged weights."""
        return end_point_error(network_estimator(self.averaged.module), samples).mean_px


def pretrain_flow(config: FlowPretrainingConfig) -> Iterator[FlowStep]:
    """Train, or go on training, until `config.steps`; yields progress.

    A run is resumed whenever its folder holds a state. A killed run loses the steps since its last
    checkpoint and then repeats them with equal batches.

    Raises:
        NonFiniteLossError: naming the last good state.
        OutputError: if the run folder cannot be written.
        WeightsError: if the folder's state is damaged or of another width.
    """
    run = _Run(config)
    run.resume()
    unlike_training = list(procedural_samples(config.evaluation_samples))
    recent: list[tuple[float, float]] = []
    started = time.monotonic()
    for batch in _batches_from(run.step, config):
        recent.append(run.learn(batch))
        saving = run.step % config.save_every == 0 or run.step == config.steps
        if not saving and run.step % config.log_every:
            continue
        loss, error = np.mean(recent, axis=0)
        pairs_per_s = len(recent) * config.batch_size / (time.monotonic() - started)
        if saving:
            run.save()
        event = FlowStep(
            step=run.step,
            steps=config.steps,
            loss=float(loss),
            end_point_error_px=float(error),
            learning_rate=learning_rate_at(run.step - 1, config),
            pairs_per_s=pairs_per_s,
            procedural_error_px=run.procedural_error_px(unlike_training) if saving else None,
        )
        run.folder.append(asdict(event))
        yield event
        recent, started = [], time.monotonic()


def _batches_from(step: int, config: FlowPretrainingConfig) -> DataLoader[FlowBatch]:
    batches = FlowBatches(
        config.frame_pairs, config.sizes, config.batch_size, config.teacher_share, config.seed
    )
    steps = range(step, config.steps)
    return DataLoader(batches, batch_size=None, sampler=steps, num_workers=config.workers)
