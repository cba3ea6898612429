"""What a device is called by its maker, for whoever reads a figure that was measured on it."""

import platform
from pathlib import Path

import torch


def device_name(device: torch.device) -> str:
    """The card on CUDA; elsewhere the processor, which an `mps` device is part of."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def processor_name() -> str:
    """The processor as its maker calls it; "unknown" where the system does not say."""
    file = Path("/proc/cpuinfo")  # Linux; Python's own `platform` says no more than "x86_64" there
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor()) or "unknown"
