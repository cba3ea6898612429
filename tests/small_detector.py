"""Seeded networks, narrow enough for tests: they detect nothing sensible."""

from typing import Literal, overload

import torch
from torch import nn

from tubedet.models.light.context_window import ContextWindow
from tubedet.models.light.detector import LightDetector
from tubedet.models.light.video_backbone import TemporalConv
from tubedet.models.presets import (
    DetectorConfig,
    LightConfig,
    PaperConfig,
    PaperPreset,
    build_detector,
    config_from_dict,
)
from tubedet.models.two_stream import TwoStreamDetector


@overload
def small_config(preset: PaperPreset = ..., input_size: int = ...) -> PaperConfig: ...
@overload
def small_config(preset: Literal["light"], input_size: int = ...) -> LightConfig: ...
@overload
def small_config(preset: str, input_size: int = ...) -> DetectorConfig: ...
def small_config(preset: str = "flownet2-sd", input_size: int = 64) -> DetectorConfig:
    """Two classes, two anchors; the paper's networks are 1/64 as wide, `light` has one width."""
    return config_from_dict(
        {
            "preset": preset,
            "class_names": ("walk", "run"),
            "anchors_wh": ((1.0, 1.5), (0.5, 0.5)),
            "input_size": input_size,
            "width": 1 / 64,
        }
    )


@overload
def small_network(config: LightConfig, seed: int = ...) -> LightDetector: ...
@overload
def small_network(config: DetectorConfig, seed: int = ...) -> TwoStreamDetector: ...
def small_network(config: DetectorConfig, seed: int = 0) -> TwoStreamDetector:
    """The network of a configuration in evaluation mode, its batch norms as if it had learned."""
    generator = torch.manual_seed(seed)
    network = build_detector(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for values, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 1.5),
                (module.weight.data, 0.7, 1.3),
                (module.bias.data, -0.2, 0.2),
            ):
                values.uniform_(low, high, generator=generator)
    return network


def heed_context(network: LightDetector, seed: int = 0) -> None:
    """Let boxes of a fresh network depend on frames before, and its actions on its windows."""
    generator = torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, TemporalConv):
            module.weight.data.uniform_(0.5, 1.0, generator=generator)
        elif isinstance(module, ContextWindow):
            for layer in (module.appearance, module.motion):
                layer.weight.data.normal_(0, 3, generator=generator)
    network.fusion.conv.weight.data *= 4


def seeded_clip(size: int, batch: int = 1) -> torch.Tensor:
    """Noise as a clip (B, 3, 2, S, S) in 0..255."""
    return 255 * torch.rand(batch, 3, 2, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def learn_statistics(network: nn.Module, images: torch.Tensor) -> None:
    """Set every batch norm to what it meets on images: then activations vary by about one.

    Of a fresh network they shrink towards 0 from layer to layer, and any two are equal. Ends in
    evaluation mode.
    """
    norms = [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
