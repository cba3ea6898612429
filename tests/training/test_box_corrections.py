"""What is wrong with all boxes alike, worked out by hand."""

import math

import pytest
import torch

from tubedet.training.box_corrections import box_corrections


def test_boxes_are_corrected_by_the_median_of_their_sizes_and_the_mean_of_their_overlap() -> None:
    true = torch.tensor([[0.2, 0.2, 0.6, 0.6]]).repeat(5, 1)
    # Same centre, same height; 1.25 times as wide, but for two outliers on either side.
    widths = 0.4 * torch.tensor([1.25, 1.25, 1.25, 1.1, 1.9])
    found = torch.stack([0.4 - widths / 2, true[:, 1], 0.4 + widths / 2, true[:, 3]], dim=1)
    elsewhere = torch.tensor([[0.8, 0.8, 0.9, 0.9]])
    log_size, overlap_logit = box_corrections(
        torch.cat([true, true[:1]]), torch.cat([found, elsewhere]), torch.tensor([0.6] * 5 + [0.01])
    )
    torch.testing.assert_close(log_size, torch.tensor([-math.log(1.25), 0.0]), atol=1e-5, rtol=0)
    # Narrowed by 1.25, three boxes fit, one is 0.88 as wide as the true one, one 1.52 times.
    reached = (3 + 1.1 / 1.25 + 1.25 / 1.9) / 5
    expected = math.log(reached / (1 - reached)) - math.log(0.6 / 0.4)
    assert overlap_logit.item() == pytest.approx(expected, abs=1e-4)


def test_without_a_box_near_the_true_one_nothing_is_corrected() -> None:
    true, found = torch.tensor([[0.1, 0.1, 0.2, 0.2]]), torch.tensor([[0.8, 0.8, 0.9, 0.9]])
    log_size, overlap_logit = box_corrections(true, found, torch.tensor([0.5]))
    assert not log_size.any()
    assert not overlap_logit.any()
