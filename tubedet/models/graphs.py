"""A detector as graphs: functions of tensors alone, from which other programs can run it.

A network of the paper is one graph, of a pair of frames. `light` is three: of a frame that its
video backbone is given, with the backbone's state going in and out; of a pair of frames; and of
what both say of the frames around one. Which frames these are is the caller's affair.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from tubedet.models.light.context_window import ContextWindow
from tubedet.models.light.detector import REFERENCE_SECONDS, LightDetector
from tubedet.models.two_stream import TwoStreamDetector

WINDOW_STEPS = 17  # of the example of a context window, of 15 frames a second


class Graph(NamedTuple):
    """One function of tensors.

    Attributes:
        module: takes the inputs, in their order, and gives a tensor or several.
        inputs: an example of each, by name; float32.
        outputs: their names.
        any_length: whether the first axis of all inputs may have any length, the same for all;
            every other shape is that of the example.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    any_length: bool = False


def graphs_of(network: TwoStreamDetector, input_size: int) -> dict[str, Graph]:
    """The graphs of a detector in evaluation mode, for one frame or pair at once, by name.

    `steps`: frame (1, 1, 3, S, S) RGB 0..255 and buffers → `last` and `logits` as `StepFeatures`,
    and the next buffers; zeros where a shot begins. `pairs`: as `LightDetector.pairs`. `window`:
    logits and flow maps of N steps → action logits (C, S/32, S/32). Of a network of the paper
    there is `pairs` alone: clip → raw predictions.
    """
    clip = torch.zeros(1, 3, 2, input_size, input_size)
    if not isinstance(network, LightDetector):
        return {"pairs": Graph(network, {"clip": clip}, ("raw",))}
    with torch.inference_mode():
        features, state = network.steps(clip[None, :, :, 0])
        flow_maps = network.motion(clip, torch.tensor([REFERENCE_SECONDS])).maps
    numbers = range(len(state))
    return {
        "steps": Graph(
            _Steps(network),
            {
                "frame": clip[None, :, :, 0],
                **{f"buffer_{n}": torch.zeros_like(state[n]) for n in numbers},
            },
            ("last", "logits", *(f"next_buffer_{n}" for n in numbers)),
        ),
        "pairs": Graph(
            _Pairs(network),
            {
                "clip": clip,
                "seconds": torch.tensor([REFERENCE_SECONDS]),
                "last": torch.zeros_like(features.last[:, 0]),
            },
            ("raw", "flow_maps"),
        ),
        "window": Graph(
            _Window(network.context_window),
            {
                "logits": torch.zeros(WINDOW_STEPS, *features.logits.shape[2:]),
                "flow_maps": torch.zeros(WINDOW_STEPS, *flow_maps.shape[1:]),
            },
            ("actions",),
            any_length=True,
        ),
    }


class _Steps(nn.Module):
    def __init__(self, network: LightDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: Tensor, *buffers: Tensor) -> tuple[Tensor, ...]:
        features, state = self.network.steps(frame, buffers)
        return (*features, *state)


class _Pairs(nn.Module):
    def __init__(self, network: LightDetector) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor, seconds: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.pairs(clip, seconds, last)


class _Window(nn.Module):
    def __init__(self, window: ContextWindow) -> None:
        super().__init__()
        self.window = window

    def forward(self, logits: Tensor, flow_maps: Tensor) -> Tensor:
        actions: Tensor = self.window(logits, flow_maps)
        return actions
