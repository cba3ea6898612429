"""What is trained, how fast, and what stays as it is.

The flow network learns at its own weak rate (paper §IV-C) or not at all. In the RGB backbone of
`light` batch norm keeps the statistics of its pre-training: frames are what they were measured on,
and as part of the convolutions it costs nothing. Everywhere else it follows the batches. Frozen on
the motion stream, whose input looks like no photograph, it let whole channels die.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.recipes import LightRecipe, LoopRecipe, Recipe


def freeze(network: TwoStreamDetector, recipe: Recipe) -> None:
    """Put the network into training mode, all but what the recipe keeps."""
    network.train()
    frozen = list(network.parts()["flow"]) if recipe.flow_rate == 0 else []
    if isinstance(recipe, LightRecipe):
        frozen += network.leading_rgb_layers(recipe.frozen_rgb_blocks)
    for module in frozen:
        module.requires_grad_(False).eval()
    for part in [network] if recipe.frozen_batch_norm else network.fixed_statistics():
        for module in part.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def detector_optimizer(network: TwoStreamDetector, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of a network that `freeze` has seen; groups are its `parts`."""
    rates = {
        "flow": recipe.flow_rate,
        "rgb": recipe.rgb_rate,
        "motion": recipe.motion_rate,
        "head": recipe.head_rate,
    }
    groups = network.parameter_groups()
    parts = {part: [parameter for _, parameter in groups[part]] for part in groups}
    return make_optimizer(parts, rates, recipe)


def make_optimizer(
    parts: Mapping[str, Iterable[nn.Parameter]], rates: Mapping[str, float], recipe: LoopRecipe
) -> torch.optim.Optimizer:
    """The recipe's optimiser over named parts of a network, each with its learning rate.

    A part has two groups: its name's with matrices and kernels, and, with ".vectors" behind the
    name, biases and norms, which do not decay. A group without a trained parameter is left out.
    """
    groups: list[dict[str, Any]] = []
    for name, parameters in parts.items():
        trained = [each for each in parameters if each.requires_grad]
        for suffix, decay, chosen in (
            ("", recipe.weight_decay, [each for each in trained if each.ndim > 1]),
            (".vectors", 0.0, [each for each in trained if each.ndim <= 1]),
        ):
            group = {"params": chosen, "lr": rates[name], "weight_decay": decay}
            groups += [{"name": name + suffix, **group}] if chosen else []
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, fused=True)
