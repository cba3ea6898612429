"""Seeded networks, narrow enough for tests: they detect nothing sensible."""

import torch
from torch import nn

from tubedet.models.presets import DetectorConfig, build_detector
from tubedet.models.two_stream import TwoStreamDetector


def small_config(preset: str = "flownet2-sd", input_size: int = 64) -> DetectorConfig:
    """A 1/64 as wide as the paper's, with two classes and two anchors; `light` has one width."""
    return DetectorConfig(
        preset=preset,
        class_names=("walk", "run"),
        anchors_wh=((1.0, 1.5), (0.5, 0.5)),
        input_size=input_size,
        width=1 / 64,
    )


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


def seeded_clip(size: int, batch: int = 1) -> torch.Tensor:
    """Noise as a clip (B, 3, 2, S, S) in 0..255."""
    return 255 * torch.rand(batch, 3, 2, size, size, generator=torch.Generator().manual_seed(1))
