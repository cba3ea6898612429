"""Recognition: which action a clip shows, before the streams learn to detect."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from tubedet.datasets.augmentation import View
from tubedet.datasets.kinetics import KineticsDataset
from tubedet.datasets.kinetics_samples import ActionBatch, as_clip, read_pair
from tubedet.errors import VideoError
from tubedet.evaluation.evaluate import ClipEvaluated
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.objective import Validation

MIDDLE = 0.5  # of a clip, where its pair is taken for validation


class RecognitionObjective:
    """Implements `Objective`: cross-entropy of the mean class scores."""

    def count(self, batch: ActionBatch) -> int:
        """Clips."""
        return len(batch.clip)

    def predict(self, network: TwoStreamDetector, batch: ActionBatch) -> Tensor:
        """Class scores (B, C)."""
        scores: Tensor = network(batch.clip.float())
        return scores

    def losses(self, predicted: Tensor, batch: ActionBatch, count: int) -> dict[str, Tensor]:
        """The cross-entropy alone."""
        summed = F.cross_entropy(predicted.float(), batch.class_indices, reduction="sum")
        return {"total": summed / count}


def recognition_validation(data: KineticsDataset, input_size: int) -> Validation:
    """Share of the clips whose middle pair is named right; unreadable ones are left out."""

    def measure(network: TwoStreamDetector) -> Iterator[ClipEvaluated | dict[str, float]]:
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
        yield {"top-1": sum(right) / max(1, len(right))}

    return Validation("accuracy on the validation part", "%", deciding="top-1", measure=measure)
