"""The machine that figures are measured on: its name, and what its convolutions can do at best."""

import platform
import time
from pathlib import Path

import torch
from torch import nn

CHANNELS, SIDE, KERNEL = 256, 40, 3
# Two operations, a multiplication and an addition, for every weight at every place.
CONVOLUTION_GFLOP = 2 * CHANNELS**2 * KERNEL**2 * SIDE**2 / 1e9


def processor_name() -> str:
    """The processor as its maker calls it; "unknown" where the system does not say."""
    file = Path("/proc/cpuinfo")  # Linux; Python's own `platform` says no more than "x86_64" there
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()) or "unknown"


def convolution_peak(dtype: torch.dtype, repeats: int = 20) -> float:
    """GFLOP/s of a convolution large enough to keep the CPU busy: 256 to 256, 3x3, at 40x40.

    Channels lie innermost, as in `runtime.torch`. The first pass, which prepares the kernel, is not
    counted.
    """
    layer = nn.Conv2d(CHANNELS, CHANNELS, KERNEL, padding=1, bias=False).to(dtype)
    layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
    image = torch.rand(1, CHANNELS, SIDE, SIDE)
    image = image.to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        layer(image)
        started = time.perf_counter()
        for _ in range(repeats):
            layer(image)
        return repeats * CONVOLUTION_GFLOP / (time.perf_counter() - started)
