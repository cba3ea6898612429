"""Running a detector with ONNX Runtime: on a CPU, in float32, one frame at a time.

All but the network is that of PyTorch's detectors: state and predictions are tensors there too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor, cat, zeros

from tubedet.errors import UsageError
from tubedet.models.light.detector import StepFeatures
from tubedet.models.presets import DetectorConfig, LightConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.detector import StreamState
from tubedet.runtime.onnx_graphs import OnnxGraph, can_write_and_run
from tubedet.runtime.torch import TorchDetector, pick_device
from tubedet.runtime.torch_light import TorchLightDetector

Runtime = Literal["torch", "onnx"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)


class OnnxDetector(TorchDetector):
    """Implements `Detector` for a network of the paper.

    Args:
        network: of the configuration; its weights are not used.
        config: what the graphs were made of.
        graphs: folder that `write_graphs` filled.
        all others: see `TorchDetector`.
    """

    def __init__(
        self, network: TwoStreamDetector, config: DetectorConfig, *, graphs: Path, **settings: Any
    ) -> None:
        self._graphs = graphs
        super().__init__(network, config, device="cpu", precision="fp32", **settings)
        self.description += ", ONNX Runtime"

    def _take_over(self, network: TwoStreamDetector) -> None:
        pairs = OnnxGraph(self._graphs, "pairs")
        self._forward = lambda clip: one_by_one(pairs, clip)


class OnnxLightDetector(OnnxDetector, TorchLightDetector):
    """Implements `Detector` for `light`; see `OnnxDetector` and `TorchLightDetector`."""

    def _take_over(self, network: TwoStreamDetector) -> None:
        steps, pairs, window = (
            OnnxGraph(self._graphs, name) for name in ("steps", "pairs", "window")
        )
        self._steps = lambda frames, state: _stepped(steps, frames, state)
        self._pairs = lambda *inputs: one_by_one(pairs, *inputs)
        self._context_window = lambda *inputs: window(*inputs)[0]


def pick_runtime(
    name: str, config: DetectorConfig, *, device: str, precision: str, compile: bool
) -> Runtime:
    """`torch`, `onnx`, or for `auto` the quicker one.

    That is ONNX Runtime for `light` on a CPU, if it is installed and nothing that it cannot do is
    asked for. The paper's networks, which are large convolutions, are quicker in bfloat16.

    Raises:
        UsageError: if there is no such runtime, and for ONNX Runtime with another device than the
            CPU, another precision than fp32, or `compile`.
    """
    if name == "auto":
        is_quicker = isinstance(config, LightConfig) and pick_device(device).type == "cpu"
        is_possible = precision in ("auto", "fp32") and not compile and can_write_and_run()
        return "onnx" if is_quicker and is_possible else "torch"
    if name not in RUNTIMES:
        known = ", ".join(["auto", *RUNTIMES])
        raise UsageError(f"runtime '{name}' is unknown; choose one of {known}")
    if name == "torch":
        return "torch"
    for option, value, possible in (
        ("--device", device, ("auto", "cpu")),
        ("--precision", precision, ("auto", "fp32")),
    ):
        if value not in possible:
            raise UsageError(
                f"{option} {value}: --runtime onnx works on the CPU in fp32; choose one of "
                f"{', '.join(possible)}, or --runtime torch"
            )
    if compile:
        raise UsageError("--compile is of --runtime torch: leave one of them out")
    return "onnx"


def one_by_one(graph: Callable[..., tuple[Tensor, ...]], *inputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs of a batch, each (B, ...), from a graph that takes single samples."""
    samples = [graph(*(each[n : n + 1] for each in inputs)) for n in range(len(inputs[0]))]
    return tuple(map(cat, zip(*samples, strict=True)))


def _stepped(
    graph: OnnxGraph, frames: Tensor, state: StreamState | None
) -> tuple[StepFeatures, StreamState]:
    """As `LightDetector.steps`, of frames (1, T, 3, S, S) that follow each other."""
    buffers = state or tuple(zeros(shape) for shape in list(graph.shapes.values())[1:])
    found: list[tuple[Tensor, Tensor]] = []
    for number in range(frames.shape[1]):
        last, logits, *after = graph(frames[:, number : number + 1], *buffers)
        found.append((last, logits))
        buffers = tuple(after)
    return StepFeatures(*(cat(each, dim=1) for each in zip(*found, strict=True))), buffers
