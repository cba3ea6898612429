"""Several processes that train one network, as `torchrun` starts them; or one, without it.

Every process computes its share of each batch; `DistributedDataParallel` adds their gradients up.
What is summed over a batch is divided by the count of all processes, so the result is that of one
process with the whole batch. Batch norm still sees the share alone on a CPU; on CUDA it becomes
`SyncBatchNorm`. The first process alone validates and writes.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tubedet.errors import UsageError
from tubedet.training.recipes import LoopRecipe

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

    def require_equal_parts(self, recipe: LoopRecipe) -> None:
        """Raise UsageError if a batch cannot be shared among processes and computed in parts."""
        parts = self.count * recipe.accumulation
        if recipe.batch_size % parts:
            raise UsageError(
                f"batch_size={recipe.batch_size}: expected a multiple of {parts}, accumulation "
                "times the number of processes"
            )

    def total(self, values: Tensor) -> Tensor:
        """Values on the device of this process, summed over all processes."""
        if self.count > 1:
            distributed.all_reduce(values)
        return values

    def from_first(self, value: dict[str, float]) -> dict[str, float]:
        """The value of the first process, once it is there; that of the others is ignored."""
        values = [value]
        if self.count > 1:
            distributed.broadcast_object_list(values)
        return values[0]

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


def default_loader_workers(device: torch.device) -> int:
    """How many processes make batches for one that trains, if nobody says.

    Beside a GPU all processors but one, shared among the processes of this machine, and at most 8:
    each makes more than a hundred samples of UCF101-24 a second. On a CPU one, for the network
    itself wants the processors, and takes far longer than a sample does.
    """
    if device.type == "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    available = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(8, available // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1))
