"""How much memory a process has held."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")  # Linux
CLEAR_PEAK = "5"


def peak_memory(device: torch.device) -> int | None:
    """Bytes that this process has held at most: on a GPU its tensors, elsewhere everything.

    None on the processor of a system that does not say, such as Windows.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource  # noqa: PLC0415
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # KiB on Linux


def forget_peak_memory(device: torch.device) -> None:
    """Let `peak_memory` count from now on, where that is possible: on a GPU, and under Linux.

    Elsewhere it goes on to tell of the whole life of the process.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR_REFS.exists():
        with suppress(OSError):  # a container may forbid it
            CLEAR_REFS.write_text(CLEAR_PEAK, encoding="ascii")
