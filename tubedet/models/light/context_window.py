"""The context window: the motion of the frames around a pair helps to name its action.

A stage of its own behind the network, whose input is single pairs. A hand that waves goes down as
often as it goes up, and who sits down has been standing: histograms of flow are taken of a volume
of space and time, from some frames before a pair until some frames after it.

Source: Wang et al., "Dense Trajectories and Motion Boundary Descriptors", 2013: histograms over
volumes of space and time.
"""

from torch import Tensor, cat, nn, stack

from tubedet.models.light.flow_histograms import HISTOGRAM_CHANNELS, neighbourhood_histograms

CONTEXT_FRAMES = 16  # before and after: about a second in all
WINDOW_CHANNELS = 2 * HISTOGRAM_CHANNELS


def window_histograms(motion_maps: Tensor) -> Tensor:
    """Histograms of the mean and of the standard deviation of motion maps (T, 27, h, w) over time.

    Returns:
        (1404, h, w). Steady motion and bursts differ in the second half.
    """
    mean_and_deviation = stack([motion_maps.mean(dim=0), motion_maps.std(dim=0, correction=0)])
    return neighbourhood_histograms(mean_and_deviation).flatten(0, 1)


class ContextWindow(nn.Module):
    """Adds logits, linear in the histograms of a pair's window, to those of its actions.

    Args:
        num_classes: C.
    """

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.action = nn.Conv2d(WINDOW_CHANNELS, num_classes, 1)
        nn.init.zeros_(self.action.weight)
        nn.init.zeros_(self.action.bias)  # type: ignore[arg-type]

    def forward(self, raw: Tensor, motion_maps: Tensor) -> Tensor:
        """Raw predictions of a pair, with the action logits of its window added for all boxes.

        Args:
            raw: (A*(5+C), h, w) of the pair by itself.
            motion_maps: (T, 27, h, w) of the pairs of its window, itself included.
        """
        logits = self.action(window_histograms(motion_maps)[None])[0]
        of_anchors = raw.view(-1, 5 + self.num_classes, *raw.shape[1:])
        boxes, actions = of_anchors.tensor_split([5], dim=1)
        return cat([boxes, actions + logits], dim=1).flatten(0, 1)
