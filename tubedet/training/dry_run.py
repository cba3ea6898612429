"""Two steps of a run that leave nothing behind: does everything load, does it fit into memory?"""

import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch

from tubedet.training.detection_training import Trainer
from tubedet.training.events import StepDone

STEPS = 2
GIB = 2**30


class Finding(NamedTuple):
    """One line of the report."""

    what: str
    found: str


def dry_run(trainer: Trainer) -> Iterator[Finding]:
    """Take the steps and yield what was found; the trainer's run folder must be one that is not
    written.

    Raises:
        NonFiniteLossError: as `Trainer.train`.
    """
    parameters = sum(value.numel() for value in trainer.network.parameters())
    yield Finding("parameters", f"{parameters / 1e6:.1f} M")
    for group in trainer.optimizer.param_groups:
        count = sum(value.numel() for value in group["params"])
        yield Finding(f"trained: {group['name']}", f"{count / 1e6:.3f} M at {group['lr']:g}")
    recipe = trainer.recipe
    for step in islice((event for event in trainer.train() if isinstance(event, StepDone)), STEPS):
        losses = ", ".join(f"{name} {value:.4f}" for name, value in step.losses.items())
        seconds = recipe.batch_size / step.samples_per_s
        yield Finding(f"step {step.step}", f"{seconds:.1f} s; {losses}")
    peak = peak_memory(trainer.device)
    yield Finding("peak memory", "not measured" if peak is None else f"{peak / GIB:.2f} GiB")


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
