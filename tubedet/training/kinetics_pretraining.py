"""Recognition as an objective: which action a clip shows, before the streams learn to detect.

What such a run leaves are weights to start from: flow network and streams, without the classifier.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tubedet.checkpoints.native import FUSED_HEAD, save_checkpoint
from tubedet.datasets.augmentation import View
from tubedet.datasets.kinetics import KineticsDataset
from tubedet.datasets.kinetics_samples import ActionBatch, as_clip, read_pair
from tubedet.errors import VideoError
from tubedet.evaluation.evaluate import ClipEvaluated
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.run_description import checkpoint_header

MIDDLE = 0.5  # of a clip, where its pair is taken for validation


@dataclass(frozen=True, slots=True)
class Recognised:
    """Share of the validation clips whose action is named right; unreadable ones are left out."""

    top_1: float
    clips: int


class RecognitionObjective:
    """Implements `Objective`: cross-entropy of the mean class scores."""

    figure = "accuracy"
    deciding = "top-1"

    def split(self, batch: ActionBatch, parts: int) -> Sequence[ActionBatch]:
        """Equal parts."""
        chunks = zip(batch.clip.chunk(parts), batch.class_indices.chunk(parts), strict=True)
        return [ActionBatch(*chunk) for chunk in chunks]

    def count(self, batch: ActionBatch) -> int:
        """Clips."""
        return len(batch.clip)

    def clip(self, batch: ActionBatch) -> Tensor:
        """The pairs of the batch."""
        return batch.clip

    def predict(self, network: TwoStreamDetector, clip: Tensor) -> Tensor:
        """Class scores (B, C)."""
        scores: Tensor = network(clip)
        return scores

    def losses(self, predicted: Tensor, batch: ActionBatch, count: int) -> dict[str, Tensor]:
        """The cross-entropy alone."""
        classes = batch.class_indices.to(predicted.device)
        return {"total": F.cross_entropy(predicted, classes, reduction="sum") / count}

    def measures(self, result: Recognised) -> dict[str, float]:
        """Top-1 accuracy."""
        return {"top-1": result.top_1}


def recognise(
    data: KineticsDataset, input_size: int, network: TwoStreamDetector
) -> Iterator[ClipEvaluated | Recognised]:
    """Name the action of the middle pair of every clip; the network is in evaluation mode."""
    device = next(network.parameters()).device
    right: list[bool] = []
    for done, clip in enumerate(data.clips, start=1):
        try:
            frames = read_pair(clip, MIDDLE)
        except VideoError:
            continue
        whole = View((0, 0, frames.shape[2], frames.shape[1]))
        with torch.inference_mode():
            scores = network(as_clip(frames, whole, input_size)[None].to(device).float())
        right.append(int(scores.argmax()) == clip.class_index)
        yield ClipEvaluated(clip.video, done, len(data.clips))
    yield Recognised(sum(right) / max(1, len(right)), len(right))


def publish_start_weights(
    described: dict[str, Any], path: Path, network: TwoStreamDetector, measures: dict[str, float]
) -> None:
    """Write flow network and streams, as exactly as they are: training goes on from them."""
    headless = {**described["detector"], "class_names": [], "anchors_wh": []}
    header = checkpoint_header({**described, "detector": headless}, measures)
    save_checkpoint(path, network, replace(header, missing=(FUSED_HEAD,)))
