"""What the objectives compute of predictions that are known."""

import math

import pytest
import torch

from tests.small_detector import small_config
from tests.small_training import small_recipe
from tubedet.datasets.batching import NO_CLASS, TrainingBatch
from tubedet.datasets.kinetics_samples import ActionBatch
from tubedet.training.detection_objective import DetectionObjective
from tubedet.training.recognition_objective import RecognitionObjective


def test_recognition_is_the_mean_cross_entropy_of_the_whole_batch() -> None:
    batch = ActionBatch(torch.zeros(2, 3, 2, 64, 64), torch.tensor([0, 3]))
    scores = torch.zeros(2, 4)  # every action is as likely as any other
    whole = RecognitionObjective().losses(scores, batch, 2)["total"]
    half = RecognitionObjective().losses(scores[:1], ActionBatch(*(x[:1] for x in batch)), 2)
    assert whole.item() == pytest.approx(math.log(4))
    assert half["total"].item() == pytest.approx(math.log(4) / 2)


def test_the_boxes_of_a_batch_are_counted_without_the_rows_that_pad() -> None:
    classes = torch.tensor([[0, 1], [1, NO_CLASS]])
    batch = TrainingBatch(
        torch.zeros(2, 3, 2, 64, 64), torch.zeros(2, 2, 4), classes, torch.zeros(2, 0, 4)
    )
    recipe = small_recipe("flownet2-sd")
    assert DetectionObjective(small_config("flownet2-sd"), recipe).count(batch) == 3
