"""The paper's Figure 1: flow → motion stream, frame → RGB stream, fused by a 1×1 convolution.

Differentiable from the two frames to the raw predictions; knows nothing of files or of losses.
"""

from typing import Any

from torch import Tensor, nn

from tubedet.models.early_fusion import Fusion


class TwoStreamDetector(nn.Module):
    """Two-stream YOLOv2 with the flow network inside.

    Args:
        flow: clip (B, 3, 2, H, W) RGB 0..255 → flow (B, 2, H, W) px; None when the clip carries a
            ready flow image in the place of its second frame (the `brox` preset).
        rgb_stream: image (B, 3, H, W) in [0, 1] → features at stride 32.
        motion_stream: the same for the flow, or for the flow image.
        fusion: the features of both → raw predictions (B, A*(5+C), H/32, W/32).
    """

    def __init__(
        self,
        *,
        flow: nn.Module | None,
        rgb_stream: nn.Module,
        motion_stream: nn.Module,
        fusion: Fusion,
    ) -> None:
        super().__init__()
        self.flow = flow
        self.rgb_stream = rgb_stream
        self.motion_stream = motion_stream
        self.fusion = fusion

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, 3, 2, S, S) RGB 0..255 → raw predictions (B, A*(5+C), S/32, S/32).

        The boxes belong to the first frame. Decode them with `decode_boxes`.
        """
        raw: Tensor = self.fusion(*self.features(clip))
        return raw

    def features(self, clip: Tensor) -> tuple[Any, Any]:
        """Features of the RGB and of the motion stream, as the fusion takes them."""
        motion = clip[:, :, 1] / 255.0 if self.flow is None else self.flow(clip)
        return self.rgb_stream(clip[:, :, 0] / 255.0), self.motion_stream(motion)

    def parts(self) -> dict[str, list[nn.Module]]:
        """Modules by the learning rate that is theirs; together they hold every parameter.

        `flow`, `rgb` and `motion` start from pre-trained weights, `head` from random ones.
        """
        return {
            "flow": [] if self.flow is None else [self.flow],
            "rgb": [self.rgb_stream],
            "motion": [self.motion_stream],
            "head": [self.fusion],
        }

    def parameter_groups(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        """Names and parameters of each of the `parts`."""
        names = {parameter: name for name, parameter in self.named_parameters()}
        return {
            part: [(names[each], each) for module in modules for each in module.parameters()]
            for part, modules in self.parts().items()
        }
