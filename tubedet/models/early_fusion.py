"""Early fusion: the last activations of both streams side by side, one 1×1 convolution on top.

Source: El-Nouby and Taylor §III-A and Figure 1 (c): "applying a 1x1 kernel on the fused
activations". The streams of `light` add their context, which the paper's have not.
"""

import math

import torch
from torch import Tensor, cat, nn


class EarlyFusion(nn.Module):
    """Concatenate two feature maps channel-wise and regress the prediction map from them.

    Args:
        stream_channels: channels of the last activations of the RGB and of the motion stream.
        num_anchors: A, boxes predicted in each cell.
        num_classes: C, without a background class.
        context_channels: channels behind those of each stream that say what is around a cell. They
            then decide about the action, the same for all boxes of the cell, and the last
            activations about the boxes alone.
        dropout: probability of dropping an activation before the convolution, in training only.
        stream_dropout: probability that a sample is left with one of its streams, in training
            only. Jointly trained streams else lean on the one that memorises faster.
    """

    def __init__(
        self,
        *,
        stream_channels: tuple[int, int],
        num_anchors: int,
        num_classes: int,
        context_channels: tuple[int, int] = (0, 0),
        dropout: float = 0.0,
        stream_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stream_dropout = stream_dropout
        self.dropout = nn.Dropout(dropout)
        self.num_anchors = num_anchors
        self.stream_channels, self.context_channels = stream_channels, context_channels
        of_a_box = 5 if any(context_channels) else 5 + num_classes
        self.conv = nn.Conv2d(sum(stream_channels), num_anchors * of_a_box, 1)
        if any(context_channels):
            self.action = nn.Conv2d(sum(context_channels), num_classes, 1)

    @torch.no_grad()
    def start_sceptical(self, overlap: float = 0.02) -> None:
        """Let every box start as its anchor, with a small overlap: one in hundreds has more."""
        assert self.conv.bias is not None
        nn.init.normal_(self.conv.weight, std=0.01)
        if any(self.context_channels):
            nn.init.zeros_(self.action.weight)
        logit = math.log(overlap / (1 - overlap))
        self.conv.bias.view(self.num_anchors, -1)[:, 4] = logit

    def forward(self, rgb_features: Tensor, motion_features: Tensor) -> Tensor:
        """Two maps (B, F+context, H, W) → raw predictions (B, A*(5+C), H, W), anchor-major."""
        if self.training and self.stream_dropout:
            keep_rgb, keep_motion = self._draw_streams(rgb_features)
            rgb_features, motion_features = rgb_features * keep_rgb, motion_features * keep_motion
        last, contexts = self.split_contexts(
            self.dropout(rgb_features), self.dropout(motion_features)
        )
        raw: Tensor = self.conv(last)
        if not any(self.context_channels):
            return raw
        batch, _, rows, columns = raw.shape
        boxes = raw.view(batch, self.num_anchors, 5, rows, columns)
        action = self.action(contexts).unsqueeze(1).expand(-1, self.num_anchors, -1, -1, -1)
        return cat([boxes, action], dim=2).flatten(1, 2)

    def split_contexts(
        self, rgb_features: Tensor, motion_features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Last activations of both streams side by side, and their contexts side by side."""
        halves = [
            features.tensor_split([features.shape[1] - channels], dim=1)
            for features, channels in zip(
                (rgb_features, motion_features), self.context_channels, strict=True
            )
        ]
        last, contexts = (cat(parts, dim=1) for parts in zip(*halves, strict=True))
        return last, contexts

    def _draw_streams(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Factors (B, 1, 1, 1) for both streams: (1, 1), or (2, 0) or (0, 2) for a lone stream."""
        draw = torch.rand(len(like), 1, 1, 1, device=like.device)
        lone_rgb = draw < self.stream_dropout / 2
        lone_motion = draw > 1 - self.stream_dropout / 2
        keep_rgb = 1 + lone_rgb.to(like) - lone_motion.to(like)
        return keep_rgb, 2 - keep_rgb
