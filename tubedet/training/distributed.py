"""Several processes that train one network, as `torchrun` starts them; or one, without it.

Every process computes its share of each batch; `DistributedDataParallel` adds their gradients up.
What is summed over a batch is divided by the count of all processes, so the result is that of one
process with the whole batch. Batch norm still sees the share alone on a CPU; on CUDA it becomes
`SyncBatchNorm`. The first process alone validates and writes.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

# The others wait that long for the first, which validates.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together: number `rank` of `count`."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that validates and writes."""
        return self.rank == 0

    def total(self, terms: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Every term summed over all processes."""
        if self.count == 1:
            return dict(terms)
        dtype = torch.float32 if device.type == "mps" else torch.float64
        values = torch.tensor(list(terms.values()), dtype=dtype, device=device)
        distributed.all_reduce(values)
        return dict(zip(terms, values.tolist(), strict=True))

    def from_first(self, value: dict[str, float]) -> dict[str, float]:
        """What the first process says; of the others `value` is ignored."""
        told = [value]
        if self.count > 1:
            distributed.broadcast_object_list(told)
        return told[0]

    def parallel(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module, whose gradients are averaged over all processes after every backward."""
        if self.count == 1:
            return module
        # Depthwise kernels come with the strides of either order; both are right.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True)


@contextmanager
def joined_processes(device: str) -> Iterator[tuple[Processes, str]]:
    """Meet the other processes, if `torchrun` started this one, and leave them at the end.

    Args:
        device: as for `pick_device`; "auto" and "cuda" become this process's own GPU.

    Yields:
        The processes, and the device of this one.
    """
    if "LOCAL_RANK" not in os.environ:
        yield Processes(), device
        return
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu and device in ("auto", "cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if on_gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()


def without_exchange(module: nn.Module) -> AbstractContextManager[None]:
    """Gradients of the block stay in this process, to be added to before they are averaged."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def share_batch_norm(network: nn.Module, processes: Processes, device: torch.device) -> None:
    """Let batch norm inside a network see the samples of all processes, if these have GPUs."""
    if processes.count > 1 and device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
