"""What is trained, how fast, and what stays as it is.

The flow network learns at its own weak rate (paper §IV-C) or not at all. In the RGB backbone of
`light` batch norm keeps the statistics of its pre-training: frames are what they were measured on,
and as part of the convolutions it costs nothing. Everywhere else it follows the batches. Frozen on
the motion stream, whose input looks like no photograph, it let whole channels die.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLiteStream
from tubedet.training.recipes import Recipe

# Of `light`'s streams; all of a Darknet-19 has published weights.
NEW_LAYERS = ("lateral.", "join.", "standardise.")


def freeze(network: TwoStreamDetector, recipe: Recipe) -> None:
    """Put the network into training mode, all but what the recipe keeps."""
    network.train()
    kept: list[nn.Module] = []
    fixed: list[nn.Module] = [network] if recipe.frozen_batch_norm else []
    if network.flow is not None and recipe.flow_rate == 0:
        kept.append(network.flow)
    stream, blocks = network.rgb_stream, recipe.frozen_rgb_blocks
    if isinstance(stream, EfficientNetLiteStream):
        backbone = stream.backbone
        fixed += [backbone, stream.general]
        if blocks:
            kept += [stream.general, backbone.stem, *backbone.blocks[:blocks]]
            kept += [backbone.head] if blocks >= len(backbone.blocks) else []
    for module in kept:
        module.requires_grad_(False).eval()
    for part in fixed:
        for module in part.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def parameter_groups(network: TwoStreamDetector, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for the optimiser: `name`, `params`, `lr`, `weight_decay` (0 for vectors).

    "flow", the streams "rgb" and "motion" without the layers that always start from scratch, and
    "head" (all the rest), each in two: matrices and kernels, and, with ".vectors" behind the name,
    biases and norms. A group without a trained parameter is left out.
    """
    rates = {
        "flow": recipe.flow_rate,
        "rgb": recipe.rgb_rate,
        "motion": recipe.motion_rate,
        "head": recipe.head_rate,
    }
    groups: dict[str, dict[str, Any]] = {}
    for name, rate in rates.items():
        for suffix, decay in (("", recipe.weight_decay), (".vectors", 0.0)):
            group = {"name": name + suffix, "params": [], "lr": rate, "weight_decay": decay}
            groups[name + suffix] = group
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            suffix = "" if parameter.ndim > 1 else ".vectors"
            groups[_part_of(name) + suffix]["params"].append(parameter)
    return [group for group in groups.values() if group["params"]]


def make_optimizer(network: TwoStreamDetector, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over `parameter_groups`."""
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, fused=True)


def _part_of(name: str) -> str:
    stream, _, layer = name.partition("_stream.")
    if layer and not layer.startswith(NEW_LAYERS):
        return stream
    return "flow" if name.startswith("flow.") else "head"
