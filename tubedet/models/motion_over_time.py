"""The time around a pair of frames: how things move tells more in a second than in one step.

A hand that waves goes down as often as it goes up, and who sits down has been standing. So the
histograms of flow are taken of volumes, too: of what happens near a cell from some frames before a
pair until some frames after it. Its own step has its say in `FlowHistogramStream`.

Source: Wang et al., "Dense Trajectories and Motion Boundary Descriptors", 2013: histograms over
volumes of space and time.
"""

from torch import Tensor, cat, nn, stack

from tubedet.models.flow_histograms import HISTOGRAM_CHANNELS, neighbourhood_histograms

REACH = 16  # frames before and after: about a second in all
VOLUME_CHANNELS = 2 * HISTOGRAM_CHANNELS


def volume_histograms(energies: Tensor) -> Tensor:
    """Of the energies (T, 27, h, w) of T pairs, those of their mean and of their deviation.

    Returns:
        (1404, h, w). What goes on evenly and what comes in bursts differ in the second half.
    """
    mean_and_deviation = stack([energies.mean(dim=0), energies.std(dim=0, correction=0)])
    return neighbourhood_histograms(mean_and_deviation).flatten(0, 1)


class MotionOverTime(nn.Module):
    """What the time around a pair adds to the names of actions.

    Args:
        num_classes: C.
        reach: frames before and after the pair's that have a say.
    """

    def __init__(self, *, num_classes: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.action = nn.Conv2d(VOLUME_CHANNELS, num_classes, 1)
        nn.init.zeros_(self.action.weight)
        nn.init.zeros_(self.action.bias)  # type: ignore[arg-type]

    def forward(self, energies: Tensor) -> Tensor:
        """Energies (T, 27, h, w) of the pairs within reach → logits (C, h, w), to be added."""
        logits: Tensor = self.action(volume_histograms(energies)[None])[0]
        return logits


def add_to_actions(raw: Tensor, logits: Tensor, num_anchors: int) -> Tensor:
    """Raw predictions (1, A*(5+C), h, w), with logits (C, h, w) added to all boxes' actions."""
    of_anchors = raw.view(1, num_anchors, -1, *raw.shape[2:])
    boxes, actions = of_anchors.tensor_split([5], dim=2)
    return cat([boxes, actions + logits], dim=2).flatten(1, 2)
