"""The fusion of `light`: last activations predict boxes, the context around a cell its action."""

from typing import NamedTuple

import torch
from torch import Tensor, cat, nn

from tubedet.models.early_fusion import Fusion


class StreamFeatures(NamedTuple):
    """What a stream of `light` makes of its input.

    `last` activations (B, F, h, w), of every cell; `contexts` (B, K, h, w) each, which summarise
    what surrounds it.
    """

    last: Tensor
    contexts: tuple[Tensor, ...]

    def scaled(self, factor: Tensor | float) -> "StreamFeatures":
        """All of them times one factor, or one for each sample (B, 1, 1, 1)."""
        return StreamFeatures(self.last * factor, tuple(each * factor for each in self.contexts))


class LightFusion(Fusion):
    """Boxes from the last activations, by `conv`; the action from the contexts, by `action`.

    The action is the same for all boxes of a cell.

    Args:
        stream_channels: channels of the last activations of the RGB and of the motion stream.
        context_channels: channels of all contexts of each.
        num_anchors: A, boxes predicted in each cell.
        num_classes: C, without a background class.
        dropout: probability of dropping a feature before the convolutions, in training only.
        stream_dropout: probability that a sample is left with one of its streams, in training
            only. Jointly trained streams else lean on the one that overfits faster.
    """

    def __init__(
        self,
        *,
        stream_channels: tuple[int, int],
        context_channels: tuple[int, int],
        num_anchors: int,
        num_classes: int,
        dropout: float = 0.0,
        stream_dropout: float = 0.0,
    ) -> None:
        super().__init__(sum(stream_channels), num_anchors=num_anchors, fields=5)
        self.stream_channels, self.context_channels = stream_channels, context_channels
        self.stream_dropout = stream_dropout
        self.dropout = nn.Dropout(dropout)
        self.action = nn.Conv2d(sum(context_channels), num_classes, 1)

    @torch.no_grad()
    def set_overlap_prior(self, overlap: float = 0.02) -> None:
        """As `Fusion`; all actions are equally likely then."""
        super().set_overlap_prior(overlap)
        nn.init.zeros_(self.action.weight)

    def forward(self, rgb: StreamFeatures, motion: StreamFeatures) -> Tensor:
        """Features of both streams → raw predictions (B, A*(5+C), h, w), anchor-major."""
        if self.training and self.stream_dropout:
            keep_rgb, keep_motion = self._draw_streams(rgb.last)
            rgb, motion = rgb.scaled(keep_rgb), motion.scaled(keep_motion)
        boxes = self.conv(self.dropout(cat([rgb.last, motion.last], dim=1)))
        actions = self.action(self.dropout(cat([*rgb.contexts, *motion.contexts], dim=1)))
        of_anchors = boxes.unflatten(1, (self.num_anchors, 5))
        repeated = actions.unsqueeze(1).expand(-1, self.num_anchors, -1, -1, -1)
        return cat([of_anchors, repeated], dim=2).flatten(1, 2)

    def _draw_streams(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factors (B, 1, 1, 1) for both streams: (1, 1), or (2, 0) or (0, 2) for a lone stream."""
        draw = torch.rand(len(like), 1, 1, 1, device=like.device)
        lone_rgb = draw < self.stream_dropout / 2
        lone_motion = draw > 1 - self.stream_dropout / 2
        keep_rgb = 1 + lone_rgb.to(like) - lone_motion.to(like)
        return keep_rgb, 2 - keep_rgb
