"""Running a detector with PyTorch: the one place that knows devices and number formats."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tubedet.errors import UsageError
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.box_decoding import DecodedBoxes, decode_boxes
from tubedet.runtime.compiled import CompiledForward, Outputs
from tubedet.runtime.detector import (
    DEFAULT_MIN_SCORE,
    PairPrediction,
    PairTask,
    StepPrediction,
    StreamState,
    TemporalReach,
)
from tubedet.runtime.device_names import device_name
from tubedet.runtime.packed_convolution import pack_kernels

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}


class TorchDetector:
    """A network on a device; implements `tubedet.runtime.detector.Detector`.

    Takes the network over: it is moved, its kernels are rounded to `precision` and its batch norm
    is folded away, so it can neither be trained nor saved afterwards.

    Args:
        network: what `build_detector(config)` makes, with its weights.
        config: of that network.
        device: see `pick_device`.
        precision: see `pick_precision`; `light` on a CPU is in `fp32` for `auto`.
        compile: compile the network when it first runs, by `torch.compile`.
        min_score: the checkpoint's own threshold, None if it names none.
        weights_sha256: hash of the checkpoint file.

    Raises:
        UsageError: if the device or the precision cannot be had.
    """

    temporal: TemporalReach | None = None

    def __init__(
        self,
        network: TwoStreamDetector,
        config: DetectorConfig,
        *,
        device: str = "auto",
        precision: str = "auto",
        compile: bool = False,
        min_score: float | None = None,
        weights_sha256: str | None = None,
    ) -> None:
        self._device = pick_device(device)
        self._precision = self._pick_precision(precision)
        self._anchors_wh = torch.tensor(config.anchors_wh)
        self.class_names = config.class_names
        self.input_size = config.input_size
        self.uses_flow_images = config.preset == "brox"
        self.weights_sha256 = weights_sha256
        self.min_score = DEFAULT_MIN_SCORE if min_score is None else min_score
        self.description = f"{config.preset} on {self._device} in {self._precision}"
        self._take_over(network.eval())
        if compile:
            self._compile()
            self.description += ", compiled"
        elif self._device.type == "cpu":
            pack_kernels(network)

    @property
    def device_name(self) -> str:
        """Of the card or processor, by its maker."""
        return device_name(self._device)

    @property
    def precision(self) -> Precision:
        """Of convolutions."""
        return self._precision

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        """See `Detector.predict`; UsageError where the device's memory does not do."""
        with (
            torch.inference_mode(),
            out_of_memory(self.description, clip),
            autocast(self._device, self._precision),
        ):
            return self._predict(clip.to(self._device).float(), tasks, state)

    def decode(
        self, prediction: PairPrediction, window: Sequence[StepPrediction] = ()
    ) -> DecodedBoxes:
        """See `Detector.decode`."""
        assert prediction.raw is not None
        with torch.inference_mode():
            raw = self._joined(prediction.raw, window)
            return decode_boxes(raw[None], self._anchors_wh, len(self.class_names))

    def _pick_precision(self, name: str) -> Precision:
        return pick_precision(name, self._device)

    def _take_over(self, network: TwoStreamDetector) -> None:
        self._prepare(network)
        self._forward: Callable[[Tensor], Outputs] = lambda clip: (network(clip),)

    def _prepare(self, network: TwoStreamDetector) -> None:
        fold_batch_norm(network)
        network.to(self._device)
        prepare_kernels(network, DTYPES[self._precision])

    def _compile(self) -> None:
        self._forward = CompiledForward(self._forward, self._device)

    def _predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        chosen = [at for at, task in enumerate(tasks) if task.boxes]
        raws = iter(self._forward(clip[chosen])[0].float().cpu() if chosen else ())
        return [PairPrediction(next(raws) if task.boxes else None) for task in tasks], None

    def _joined(self, raw: Tensor, window: Sequence[StepPrediction]) -> Tensor:
        """Raw predictions with all fields that `decode_boxes` takes."""
        return raw


def pick_device(name: str = "auto") -> torch.device:
    """`auto` (cuda before mps before cpu) or a device's name, such as `cpu`, `mps`, `cuda:1`.

    Raises:
        UsageError: if there is no such device here.
    """
    found = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    available = [f"{kind}:{index}" for kind, count in found.items() for index in range(count)]
    if name == "auto":
        return torch.device(next((kind for kind, count in found.items() if count), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or f"{device.type}:{device.index or 0}" not in (*available, "cpu:0"):
        choice = ", ".join(["auto", "cpu", *available])
        raise UsageError(f"device '{name}' is not available here; choose one of {choice}")
    return device


def pick_precision(name: str, device: torch.device) -> Precision:
    """`fp32`, `bf16`, `fp16`, or for `auto` the quickest that keeps the boxes on this device.

    Raises:
        UsageError: if there is no such precision.
    """
    if name == "auto":
        if device.type == "cuda":
            return "fp16"
        return "bf16" if device.type == "cpu" and _cpu_is_quicker_in_bf16() else "fp32"
    for precision in DTYPES:
        if name == precision:
            return precision
    raise UsageError(f"precision '{name}' is unknown; choose one of auto, {', '.join(DTYPES)}")


def pick_training_precision(name: str, device: torch.device) -> Precision:
    """As `pick_precision`, but for `auto` never `fp16`, in which small gradients vanish."""
    if name == "auto" and device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return pick_precision(name, device)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Convolutions in `precision`, and in float32 what needs it; weights stay as they are."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def out_of_memory(description: str, clip: Tensor) -> Iterator[None]:
    """Report an exhausted device as a UsageError that says what asks for less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(
            f"{description}: out of memory with {len(clip)} pairs of "
            f"{clip.shape[-1]}x{clip.shape[-2]} px at once; give a smaller --batch-size, or "
            "--device cpu"
        ) from error


@contextmanager
def a_core_left(to_others: bool) -> Iterator[None]:
    """Inside the block PyTorch leaves a core to threads that decode and encode, if it is to.

    Its own threads wait for each other busily: where one of them shares its core, all are late. On
    two cores, `light` annotates a video of 1768x994 px at 35 frames a second with one thread and
    at 24 with two. Whoever sets OMP_NUM_THREADS decides alone.
    """
    threads = torch.get_num_threads()
    if to_others and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fold_batch_norm(network: nn.Module) -> None:
    """Multiply every batch norm that directly follows a convolution into that convolution.

    Works on neighbours in the order of registration, which is the order of execution in all of
    tubedet's blocks. The network must be in evaluation mode; its answers stay the same up to
    rounding.
    """
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())


def prepare_kernels(network: nn.Module, dtype: torch.dtype) -> None:
    """Store kernels in the type and order they are used in: converting on every call costs time.

    Channels lie innermost, as the convolution libraries multiply them.
    The rest stays float32, and so does the clip: autocast rounds it where it enters a convolution,
    after the frames' mean has been subtracted.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(dtype)
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def _cpu_is_quicker_in_bf16() -> bool:
    """Whether this processor multiplies bfloat16 natively, as those it was measured quicker on do.

    PyTorch before 2.13 cannot say; elsewhere bfloat16 is emulated and slower than float32.
    """
    features: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
