"""The regression: its minimum, and what footage that was cut into many clips counts."""

import torch

from tubedet.training.logistic_regression import fit_logistic_regression

# What cross-validation chose: expected values are computed with these, not with the module's own.
PENALTY, DISAGREEMENT_PENALTY, LABEL_SMOOTHING, CALIBRATION = 2.5, 0.5, 0.05, 6.0


def test_regression_is_the_minimum_that_gradient_descent_finds_too() -> None:
    torch.manual_seed(0)
    features = torch.randn(60, 3) * torch.tensor([1.0, 10.0, 0.1]) + 5
    classes, sources = torch.arange(60) % 3, torch.arange(60) // 3 % 7 // 2
    features[:, 0] += 3 * classes + sources
    weight, bias = fit_logistic_regression(features, classes, sources)

    scale = features.std(dim=0) + 1e-3
    standard = (features - features.mean(dim=0)) / scale
    slow = torch.zeros(3, 3, requires_grad=True)
    offset = torch.zeros(3, requires_grad=True)
    descent = torch.optim.SGD([slow, offset], lr=0.05, momentum=0.9)
    for _ in range(200):
        logits = standard @ slow.T + offset
        loss = PENALTY * slow.square().sum()
        for c in range(3):
            of_class = [logits[(classes == c) & (sources == s)] for s in range(4)]
            for rows in of_class:
                target = torch.full((len(rows),), c)
                smooth = torch.nn.functional.cross_entropy(
                    rows, target, label_smoothing=LABEL_SMOOTHING
                )
                loss = loss + smooth / 4 / 3
            means = torch.stack([rows.mean(dim=0) for rows in of_class])
            variance = means.var(dim=0, correction=0).sum()
            loss = loss + DISAGREEMENT_PENALTY * variance / 3
        descent.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    weight, bias = weight / CALIBRATION, bias / CALIBRATION
    torch.testing.assert_close(weight * scale, slow.detach(), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        features @ weight.T + bias, (standard @ slow.T + offset).detach(), atol=1e-3, rtol=1e-3
    )


def test_rare_class_weighs_as_much_as_a_common_one() -> None:
    features = torch.tensor([[-1.0]] * 30 + [[1.0]] * 3)
    classes = torch.tensor([0] * 30 + [1] * 3)
    weight, bias = fit_logistic_regression(features, classes, torch.zeros_like(classes))
    # Halfway between the two neither is likelier, though one was seen ten times as often.
    torch.testing.assert_close(bias[0], bias[1], atol=1e-3, rtol=0)
    assert weight[1, 0] > 0 > weight[0, 0]


def test_a_source_of_many_clips_weighs_as_much_as_one_of_a_single_clip() -> None:
    features = torch.tensor([[-3.0]] * 9 + [[-1.0]] + [[3.0]] + [[1.0]] * 9)
    classes = torch.tensor([0] * 10 + [1] * 10)
    sources = torch.tensor([0] * 9 + [1] + [2] + [3] * 9)
    _, bias = fit_logistic_regression(features, classes, sources)
    # By sources the classes mirror each other, though by clips one is far and the other near.
    torch.testing.assert_close(bias[0], bias[1], atol=1e-3, rtol=0)
    _, by_clips = fit_logistic_regression(features, classes, torch.zeros_like(sources))
    assert (by_clips[0] - by_clips[1]).abs() > 0.01
