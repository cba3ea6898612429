"""Flow: FlowNet2-SD learns optical flow before it joins the detector.

As FlowNet was taught: supervised, end-point error at five scales, here of every level of
`CoarseToFineFlow`, on made pairs whose flow is known exactly (`moving_layers`), with a share of
real pairs under DIS's flow (`flow_teacher`).
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from tubedet.checkpoints.run_state import write_run_state
from tubedet.datasets.batching import BatchShare
from tubedet.datasets.flow_batches import FlowBatch, FlowBatches
from tubedet.datasets.procedural_flow import procedural_samples
from tubedet.errors import UsageError
from tubedet.evaluation.flow_error import end_point_error, network_estimator
from tubedet.models.light.coarse_to_fine_flow import CoarseToFineFlow, FlowLevel
from tubedet.runtime.torch import pick_device
from tubedet.training.distributed import Processes
from tubedet.training.flow_loss import multi_scale_loss
from tubedet.training.loop import Trainer
from tubedet.training.objective import Validation
from tubedet.training.parameter_groups import make_optimizer
from tubedet.training.recipes import FlowRecipe
from tubedet.training.run_description import describe_program
from tubedet.training.run_folder import RunFolder


class FlowObjective:
    """Implements `Objective`: FlowNet's loss of the residual flow at every level."""

    def count(self, batch: FlowBatch) -> int:
        """Pairs."""
        return len(batch.clip)

    def predict(self, network: CoarseToFineFlow, batch: FlowBatch) -> list[FlowLevel]:
        """The residual flow of every level."""
        return network.levels(batch.clip.float())

    def losses(self, predicted: list[FlowLevel], batch: FlowBatch, count: int) -> dict[str, Tensor]:
        """The loss, and the end-point error in px of the last level, at flow2's resolution."""
        share = len(batch.clip) / count
        total = error = batch.flow_uv.new_zeros(())
        for level in predicted:
            size = 4 * level.residual.flow2.shape[-1] / batch.clip.shape[-1]
            residual_uv = (batch.flow_uv - level.initial.detach()) * size
            loss, error = multi_scale_loss(level.residual, residual_uv, batch.known)
            total = total + loss * share
        return {"total": total, "error_px": error * share}


def flow_validation(samples: int) -> Validation:
    """Mean end-point error on procedural pairs, which nothing is ever trained on."""
    pairs = list(procedural_samples(samples))

    def measure(network: CoarseToFineFlow) -> Iterator[dict[str, float]]:
        yield {"mean": end_point_error(network_estimator(network), pairs).mean_px}

    return Validation(
        "end-point error on procedural pairs", "px", "mean", measure, smaller_is_better=True
    )


def prepare_flow_training(
    recipe: FlowRecipe,
    frame_pairs: Path,
    run: RunFolder,
    *,
    data: str,
    device: str = "auto",
    resume: bool = False,
    processes: Processes | None = None,
    loader_workers: int | None = None,
) -> Trainer[CoarseToFineFlow]:
    """Build network, batches and trainer; no weight is trained yet.

    Args:
        recipe: all numbers of the run.
        frame_pairs: file of `write_frame_pairs`, of training clips.
        run: receives best.safetensors, the plain state dict of the averaged network.
        data: which clips these are, in words, for config.json.
        device: see `pick_device`.
        resume: go on from the state in `run`.
        processes: those that train together.
        loader_workers: see `prepare_training`.

    Raises:
        UsageError: if there is no such device, the batch cannot be shared, or a resumed run had
            other data.
        WeightsError: if the state cannot be read, or is of another network.
        OutputError: if the folder cannot be written.
    """
    torch.manual_seed(recipe.seed)
    processes, place = processes or Processes(), pick_device(device)
    processes.require_equal_parts(recipe)
    network = CoarseToFineFlow(width=recipe.width)
    # Measured on a CPU: a quarter faster than the default layout in bfloat16, half in float32.
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    share = BatchShare(recipe.batch_size, processes.rank, processes.count)
    trainer = Trainer(
        network,
        make_optimizer({"flow": network.parameters()}, {"flow": recipe.learning_rate}, recipe),
        FlowObjective(),
        recipe,
        samples=FlowBatches(frame_pairs, recipe.sizes, share, recipe.teacher_share, recipe.seed),
        run=run,
        publish=lambda path, network, measures: run.replace(
            path, lambda part: write_run_state(part, network.state_dict(), measures)
        ),
        validation=flow_validation(recipe.evaluation_samples) if recipe.evaluate_every else None,
        processes=processes,
        loader_workers=loader_workers,
    )
    if resume:
        if (before := run.read_config().get("data")) != data:
            raise UsageError(f"{run.config}: this run learns from {before}, not {data}")
        trainer.resume()
    run.write_config({**describe_program(), "recipe": recipe.to_dict(), "data": data})
    return trainer
