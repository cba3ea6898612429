"""Batch norm for inputs that its pre-training never saw.

ImageNet's statistics do not describe encoded flow, which is mostly flat grey, and new layers have
none. They are measured once on training samples; then all batch norm stays frozen.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tubedet.models.two_stream import TwoStreamDetector

RGB_BACKBONE = "rgb_stream.backbone."


@torch.no_grad()
def measure_statistics(
    network: TwoStreamDetector, clips: Iterable[Tensor], *, keep_rgb_backbone: bool
) -> None:
    """Set running means and variances to those of clips; leaves the network in evaluation mode.

    Args:
        network: changed in place.
        clips: (B, 3, 2, S, S) RGB 0..255 each, all of one B.
        keep_rgb_backbone: whether the RGB stream's backbone has statistics that hold, because it
            was trained on images.
    """
    norms = [
        module
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and not (keep_rgb_backbone and name.startswith(RGB_BACKBONE))
    ]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all clips
        norm.train()
    for clip in clips:
        network(clip)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
