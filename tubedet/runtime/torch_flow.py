"""Running a flow network by itself, on frames of any size."""

import torch
from torch import Tensor, nn

from tubedet.models.presets import FLOW_MULTIPLE
from tubedet.models.resized_flow import ResizedFlow
from tubedet.runtime.torch import out_of_memory, pick_device


class TorchFlow:
    """A flow network on a device, in float32.

    Args:
        network: clip (B, 3, 2, h, w) RGB 0..255 → flow (B, 2, h, w) in px of that clip, h and w
            multiples of 64; taken over.
        device: see `pick_device`.
        size: (h, w) that frames are resized to; None: their own, up to the next multiples of 64.
        weights_sha256: hash of the checkpoint file.

    Raises:
        UsageError: if the device cannot be had.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: str = "auto",
        size: tuple[int, int] | None = None,
        weights_sha256: str | None = None,
    ) -> None:
        self._device = pick_device(device)
        self._network = network.eval().to(self._device)
        self.size = size
        self.weights_sha256 = weights_sha256
        self.description = f"flow on {self._device} in fp32"

    def estimate(self, clip: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px of a clip (B, 3, 2, H, W) RGB 0..255; CPU float32 in and out."""
        own = (clip.shape[3], clip.shape[4])
        size = self.size or (_round_up(own[0]), _round_up(own[1]))
        # At its own size a frame reaches the network untouched.
        network = self._network if size == own else ResizedFlow(self._network, size)
        with torch.inference_mode(), out_of_memory(self.description, clip):
            flow_uv: Tensor = network(clip.to(self._device))
            return flow_uv.float().cpu()


def _round_up(side: int) -> int:
    return -(-side // FLOW_MULTIPLE) * FLOW_MULTIPLE
