"""Detection: raw predictions against labelled boxes, judged by f-mAP."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.batching import NO_CLASS, TrainingBatch
from tubedet.evaluation.evaluate import ClipEvaluated, evaluate_detector
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.models.presets import DetectorConfig, LightConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.torch import TorchDetector
from tubedet.runtime.torch_light import TorchLightDetector
from tubedet.training.detection_loss import detection_loss
from tubedet.training.objective import Validation
from tubedet.training.recipes import DetectionRecipe
from tubedet.training.yolo2_pytorch_loss import yolo2_pytorch_loss


class DetectionObjective:
    """Implements `Objective` for a detector of a configuration, with the loss of a recipe."""

    def __init__(self, config: DetectorConfig, recipe: DetectionRecipe) -> None:
        self.recipe = recipe
        self.num_classes = len(config.class_names)
        self.anchors_wh = torch.tensor(config.anchors_wh)

    def count(self, batch: TrainingBatch) -> int:
        """True boxes."""
        return int((batch.class_indices != NO_CLASS).sum())

    def predict(self, network: TwoStreamDetector, batch: TrainingBatch) -> Tensor:
        """Raw predictions."""
        raw: Tensor = network(batch.clip.float())
        return raw

    def losses(self, predicted: Tensor, batch: TrainingBatch, count: int) -> dict[str, Tensor]:
        """Terms `box`, `overlap` and `label`."""
        anchors_wh = self.anchors_wh.to(predicted.device)
        compared = (predicted.float(), batch, anchors_wh, self.num_classes)
        if self.recipe.loss == "yolo2-pytorch":
            return yolo2_pytorch_loss(*compared, num_boxes=count)._asdict()
        smoothing = self.recipe.label_smoothing
        return detection_loss(*compared, smoothing, num_boxes=count)._asdict()


def detection_validation(
    data: AnnotatedDataset,
    config: DetectorConfig,
    *,
    device: str,
    precision: str,
    flow_images: Path | None,
) -> Validation:
    """f-mAP on the annotated frames of a data set, by IoU threshold."""

    def measure(network: TwoStreamDetector) -> Iterator[ClipEvaluated | dict[str, float]]:
        # A detector takes its network over, and this one is still in training.
        kind = TorchLightDetector if isinstance(config, LightConfig) else TorchDetector
        detector = kind(deepcopy(network), config, device=device, precision=precision)
        for event in evaluate_detector(detector, data, flow_images=flow_images):
            yield event.to_dict()["f_map"] if isinstance(event, EvaluationResult) else event

    return Validation("f-mAP on the validation part", "%", deciding="0.5", measure=measure)
