"""Detection as an objective: raw predictions against labelled boxes, judged by f-mAP."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tubedet.datasets.batching import TrainingBatch
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.detection_loss import detection_loss
from tubedet.training.recipes import Recipe
from tubedet.training.yolo2_pytorch_loss import yolo2_pytorch_loss


class DetectionObjective:
    """Implements `Objective` for a detector of a configuration, with the loss of a recipe."""

    figure = "f-mAP"
    deciding = "0.5"  # the IoU threshold whose f-mAP says which weights are best

    def __init__(self, config: DetectorConfig, recipe: Recipe) -> None:
        self.recipe = recipe
        self.num_classes = len(config.class_names)
        self.anchors_wh = torch.tensor(config.anchors_wh)
        self.twice = recipe.motion_alone and config.streams == "both"

    def split(self, batch: TrainingBatch, parts: int) -> Sequence[TrainingBatch]:
        """Every part has as many samples; boxes differ."""
        size = len(batch.clip) // parts
        cuts = [slice(start, start + size) for start in range(0, size * parts, size)]
        clip, boxes, classes, ignore = batch
        return [TrainingBatch(clip[cut], boxes[cut], classes[cut], ignore[cut]) for cut in cuts]

    def count(self, batch: TrainingBatch) -> int:
        """True boxes, as often as they are told."""
        return sum(map(len, batch.boxes_xyxy)) * (2 if self.twice else 1)

    def clip(self, batch: TrainingBatch) -> Tensor:
        """The pairs of the batch."""
        return batch.clip

    def predict(self, network: TwoStreamDetector, clip: Tensor) -> Tensor:
        """Raw predictions, and behind them those of motion alone where the recipe says so."""
        raw: Tensor = network.with_motion_alone(clip) if self.twice else network(clip)
        return raw

    def losses(self, predicted: Tensor, batch: TrainingBatch, count: int) -> dict[str, Tensor]:
        """Terms `box`, `overlap` and `label`."""
        if self.twice:
            batch = TrainingBatch(batch.clip, *(part * 2 for part in batch[1:]))
        told = (predicted, batch, self.anchors_wh.to(predicted.device), self.num_classes)
        if self.recipe.loss == "yolo2-pytorch":
            return yolo2_pytorch_loss(*told, num_boxes=count)._asdict()
        smoothing = self.recipe.label_smoothing
        return detection_loss(*told, smoothing, num_boxes=count)._asdict()

    def measures(self, result: EvaluationResult) -> dict[str, float]:
        """f-mAP on annotated frames by IoU threshold."""
        f_map: dict[str, float] = result.to_dict()["f_map"]
        return f_map
