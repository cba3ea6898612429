"""What the convolutions and the memory of a machine can do at best, and waiting for its device."""

import time

import torch
from torch import nn

from tubedet.runtime.torch import DTYPES, Precision

CHANNELS, SIDE, KERNEL = 256, 40, 3
# Two operations, a multiplication and an addition, for every weight at every place.
CONVOLUTION_GFLOP = 2 * CHANNELS**2 * KERNEL**2 * SIDE**2 / 1e9
IMAGES_ON_GPU = 64  # one alone is done before the next is launched
COPIED_BYTES = 128 * 2**20  # more than caches hold
# Those of which `pick_precision` takes one by itself.
PRECISIONS_ON_CPU: tuple[Precision, ...] = ("fp32", "bf16")


def convolution_peaks(device: torch.device) -> dict[Precision, float]:
    """GFLOP/s by precision; fp32 of a GPU is what PyTorch's settings make of it, such as TF32."""
    precisions = PRECISIONS_ON_CPU if device.type == "cpu" else tuple(DTYPES)
    return {name: convolution_peak(DTYPES[name], device) for name in precisions}


def convolution_peak(dtype: torch.dtype, device: torch.device, repeats: int = 20) -> float:
    """GFLOP/s of a convolution large enough to keep the device busy: 256 to 256, 3x3, at 40x40.

    Channels lie innermost, as in `runtime.torch`. The first pass, which prepares the kernel, is not
    counted.
    """
    images = 1 if device.type == "cpu" else IMAGES_ON_GPU
    layer = nn.Conv2d(CHANNELS, CHANNELS, KERNEL, padding=1, bias=False).to(device, dtype)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    image = torch.rand(images, CHANNELS, SIDE, SIDE).to(device, dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        layer(image)
        wait_for(device)
        started = time.perf_counter()
        for _ in range(repeats):
            layer(image)
        wait_for(device)
        return repeats * images * CONVOLUTION_GFLOP / (time.perf_counter() - started)


def memory_bandwidth(device: torch.device, repeats: int = 10) -> float:
    """GB/s (10^9 bytes) of the device's memory while a tensor is copied, read and written.

    The first pass, in which the system finds room for the copy, is not counted.
    """
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    copy = source.clone()
    wait_for(device)
    started = time.perf_counter()
    for _ in range(repeats):
        copy.copy_(source)
    wait_for(device)
    return 2 * repeats * COPIED_BYTES / 1e9 / (time.perf_counter() - started)


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given: a clock that is read before sees the launch."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def memory_bytes(device: torch.device) -> int | None:
    """Of a card; None of what shares the memory of the machine."""
    if device.type != "cuda":
        return None
    return torch.cuda.get_device_properties(device).total_memory
