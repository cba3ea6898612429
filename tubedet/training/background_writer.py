"""Writing a large file while training goes on: copies of tensors, and a thread with one job."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor


class BackgroundWriter:
    """A thread that does one job at a time; what goes wrong in it is raised by the next call.

    A process that ends, even by Ctrl-C, lets a job that has begun come to its end.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="background-writer")
        self._job: Future[None] | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job, once the one before it is done; see `finish` for what that raises."""
        self.finish()
        self._job = self._thread.submit(job)

    def finish(self) -> None:
        """Wait for the job; raise, once, what it raised."""
        if self._job is None:
            return
        wait([self._job])  # an interrupted wait leaves the job to the next one
        done, self._job = self._job, None
        done.result()

    def close(self) -> None:
        """Finish, and end the thread."""
        try:
            self.finish()
        finally:
            self._thread.shutdown()


def copies_on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies in memory of their own; those from a GPU are made side by side."""
    copies = {
        name: torch.empty(value.shape, dtype=value.dtype, pin_memory=value.is_cuda).copy_(
            value.detach(), non_blocking=value.is_cuda
        )
        for name, value in tensors.items()
    }
    for device in {value.device for value in tensors.values() if value.is_cuda}:
        torch.cuda.synchronize(device)
    return copies
