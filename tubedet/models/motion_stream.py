"""Optical flow as an image, for a stream that was pre-trained on images."""

from torch import Tensor, cat

from tubedet.models.flownet2.channel_norm import ChannelNorm
from tubedet.models.yolov2.darknet19 import Darknet19Stream

# The Brox images that the paper compares with store clip(16 * flow + 128) in 8 bits
# (gurkirt/optical-flow): the same scale makes learned and stored flow interchangeable.
FLOW_SCALE = 16.0
FLOW_OFFSET = 128.0


def encode_motion(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in px a frame → (16·[u, v, |flow|] + 128) / 255 as (B, 3, H, W).

    Neither rounded nor clipped: a clip would stop the gradient of every fast pixel.
    """
    motion = cat([flow_uv, ChannelNorm()(flow_uv)], dim=1)
    return (FLOW_SCALE * motion + FLOW_OFFSET) / 255.0


class MotionStream(Darknet19Stream):
    """Darknet-19 on flow, as an image; stored flow images need but a `Darknet19Stream`."""

    def forward(self, flow_uv: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px a frame → last activations (B, out_channels, H/32, W/32)."""
        # In float32: half of the digits of a shorter format would go to the offset.
        return super().forward(encode_motion(flow_uv.float()))
