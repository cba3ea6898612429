"""What is trained, how fast, and what stays as it is.

The flow network learns at its own weak rate (paper §IV-C) or not at all. What `light` starts from
learns at the end alone, when the layers on it have something to say; its layer of motion
histograms is fitted after that. Kernels of the video backbone, into which batch norm was folded,
differ in size by a factor of hundreds: the rate of each is relative to the root of its mean square,
or some would be overthrown while most stood still.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tubedet.models.light.detector import LightDetector
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.recipes import LightRecipe, LoopRecipe, Recipe

LEAST_SIZE = 1e-3  # a tensor of zeros can leave them


def freeze(network: TwoStreamDetector, recipe: Recipe) -> None:
    """Put the network into training mode, all but what the recipe keeps to the end."""
    network.train()
    frozen = list(network.parts()["flow"]) if recipe.flow_rate == 0 else []
    if isinstance(network, LightDetector):
        frozen += network.parts()["rgb"] if recipe.rgb_rate == 0 else []
        frozen.append(network.context_window.motion)
    for module in frozen:
        module.requires_grad_(False).eval()
    if recipe.frozen_batch_norm:
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def tune(network: LightDetector, recipe: LightRecipe, step: int) -> bool:
    """Freeze what is tuned at the end, or free it, as a step has it; whether that was a change."""
    learns, changed = step in recipe.phases()[1], False
    for part, rate in (("rgb", recipe.rgb_rate), ("flow", recipe.flow_rate)):
        for module in network.parts()[part] if rate else ():
            changed |= learns != next(module.parameters()).requires_grad
            module.requires_grad_(learns)
    return changed


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
    backbone: list[nn.Parameter] = []
    if isinstance(network, LightDetector):
        backbone, parts["rgb"] = parts["rgb"], []
    optimizer = make_optimizer(parts, rates, recipe)
    for parameter in backbone:
        if parameter.requires_grad:
            group = {"params": [parameter], "lr": recipe.rgb_rate, "weight_decay": 0.0}
            optimizer.add_param_group({"name": "rgb", "is_relative": True, **group})
    return optimizer


def relative_to(group: Mapping[str, Any]) -> float:
    """What the rate of a group of an optimiser is relative to: 1, or its tensor's size."""
    if not group.get("is_relative"):
        return 1.0
    (parameter,) = group["params"]
    return float(parameter.detach().square().mean().sqrt().clamp(min=LEAST_SIZE))


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
