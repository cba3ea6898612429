"""Logistic regression that is to hold for footage that it was not fitted to.

Clips cut from one source are near-copies: they share a place, clothes, a camera. So every source of
a class has the same weight, however many clips were cut from it, and where the sources of a class
disagree about a logit, that is penalised: what differs between them says nothing about the class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# Times the squared weights of features of unit variance, added to the mean cross-entropy.
PENALTY = 2.5
# Times the variance of a class's logits between its sources: summed over logits, mean of classes.
DISAGREEMENT_PENALTY = 0.5
LABEL_SMOOTHING = 0.05
# The penalty leaves logits small; scaled by this the likelihood of held-out sources is greatest.
CALIBRATION = 6.0
ITERATIONS = 60


def fit_logistic_regression(
    features: Tensor, classes: Tensor, sources: Tensor
) -> tuple[Tensor, Tensor]:
    """Multinomial, with a ridge on standardised features and the same weight for every class.

    Args:
        features: (N, K) float.
        classes: (N,) int64, each of 0..C-1 at least once.
        sources: (N,) int64 from 0, the footage that each is from.

    Returns:
        Weight (C, K) and bias (C,) of the features as they are.
    """
    features = features.double()  # in float32 the search ends early
    mean, scale = features.mean(dim=0), features.std(dim=0) + 1e-3
    standardised = (features - mean) / scale
    importance, deviations = _weigh_sources(standardised, classes, sources)
    weight = torch.zeros(int(classes.max()) + 1, features.shape[1], dtype=features.dtype)
    weight.requires_grad_()
    bias = torch.zeros(len(weight), dtype=features.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        each = F.cross_entropy(
            standardised @ weight.T + bias,
            classes,
            reduction="none",
            label_smoothing=LABEL_SMOOTHING,
        )
        disagreement = (deviations @ weight.T).square().sum()
        value = importance @ each + PENALTY * weight.square().sum()
        value = value + DISAGREEMENT_PENALTY * disagreement
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    unscaled = CALIBRATION * weight.detach() / scale
    return unscaled.float(), (CALIBRATION * bias.detach() - unscaled @ mean).float()


def _weigh_sources(features: Tensor, classes: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (N,) of each row, 1 in all, and how far means of sources are from their class's.

    The deviations (S, K) of the S pairs of class and source are divided by the root of the number
    of pairs of that class, and of classes: their squares add up to the mean over classes of the
    variance between sources.
    """
    pairs, pair = torch.unique(torch.stack([classes, sources]), dim=1, return_inverse=True)
    class_of_pair, size_of_pair = pairs[0], torch.bincount(pair)
    pairs_of_class = torch.bincount(class_of_pair)
    share = 1 / (len(pairs_of_class) * pairs_of_class[class_of_pair])
    importance = (share / size_of_pair)[pair].to(features)
    of_pairs = _means(features, pair)
    deviations = of_pairs - _means(of_pairs, class_of_pair)[class_of_pair]
    return importance, deviations * share.sqrt()[:, None]


def _means(rows: Tensor, group: Tensor) -> Tensor:
    """(N, K) and the group (N,) of each row, 0..G-1 → mean of each group (G, K)."""
    size = torch.bincount(group)
    return rows.new_zeros(len(size), rows.shape[1]).index_add(0, group, rows) / size[:, None]
