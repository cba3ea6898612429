"""The context window: what is done in a frame is named from the half second before and after it.

A stage of its own behind the network. A hand that waves goes down as often as it goes up, and who
sits down has been standing: so the action of a frame is read from the frames around it that the
video backbone was given, and from the flow that starts at them. What the backbone tells is linear,
so logits are averaged; histograms of flow are taken of its mean.

Source: Wang et al., "Dense Trajectories and Motion Boundary Descriptors", 2013: histograms over
volumes of space and time.
"""

from torch import Tensor, nn

from tubedet.models.light.flow_histograms import HISTOGRAM_CHANNELS, neighbourhood_histograms
from tubedet.models.light.video_stream import CONTEXT_CHANNELS

WINDOW_SECONDS = 16 / 30  # before and after a frame


class ContextWindow(nn.Module):
    """Action logits of a window of frames.

    Args:
        num_classes: C.
    """

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.appearance = nn.Conv2d(CONTEXT_CHANNELS, num_classes, 1)
        self.motion = nn.Conv2d(HISTOGRAM_CHANNELS, num_classes, 1)
        for layer in (self.appearance, self.motion):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, logits: Tensor, flow_maps: Tensor) -> Tensor:
        """Action logits (C, h, w) of a frame.

        Args:
            logits: (N, C, h, w), what `appearance` makes of the context of each frame in the window
                that the backbone was given.
            flow_maps: (N, 9, h, w) of the pairs that begin with these frames.
        """
        motion: Tensor = self.motion(neighbourhood_histograms(flow_maps.mean(0, keepdim=True)))[0]
        return logits.mean(dim=0) + motion
