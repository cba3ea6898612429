"""Batches of training, made by worker processes ahead of their use.

A worker makes whole batches: what a batch holds is a function of the step alone, so the number of
workers changes nothing but the speed.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Iterator
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

import cv2
from torch.utils.data import DataLoader, Dataset

from tubedet.errors import TubedetError
from tubedet.notes import Note

Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)

# As Python does from 3.14 on. A fork of this process would copy its threads' locks and its CUDA
# context, a spawned process imports torch anew: here one process does, and is forked from then on.
START_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
FROM_SOURCE = "Caught"  # so begin what DataLoader passes on; its own errors don't


class WorkerKilledError(TubedetError):
    """A process that makes batches is gone; exit code 1."""


class BatchSource(Protocol[Batch_co]):
    """An endless list of batches; picklable, if workers are to make them.

    Attributes:
        notes: what was odd about the data so far, each once; of the workers', what came with the
            batches so far.
    """

    notes: list[Note]

    def batch(self, step: int) -> Batch_co:
        """The batch of a step, always the same."""
        ...


def load_batches(
    source: BatchSource[Batch], steps: range, *, workers: int, pin_memory: bool
) -> Generator[Batch]:
    """The batches of these steps, in order.

    Workers end when the iterator is closed. They ignore Ctrl-C, which is this process's to handle.

    Args:
        source: makes batches: tensors, or a NamedTuple of them.
        steps: which ones.
        workers: processes, each two batches ahead; 0: this process makes them when asked.
        pin_memory: lay batches in page-locked memory, from where copies to CUDA run beside the
            computation.

    Raises:
        TubedetError: whatever `source` raises, with its own message.
        WorkerKilledError: if a worker was killed.
    """
    loader = DataLoader(
        _Steps(source),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_prepare_worker,
        multiprocessing_context=_context(source) if workers else None,
    )
    try:
        batches = _started(loader)
    except OSError as error:
        raise _no_room(error) from error
    try:
        while (made := _next(batches, workers)) is not None:
            source.notes.extend(note for note in made.notes if note not in source.notes)
            if isinstance(made.batch, TubedetError):
                raise made.batch
            yield made.batch
    finally:
        del batches  # ends the workers now, where an error's traceback would keep them


class _Made(NamedTuple):
    """A batch, or the error in its place: DataLoader would put a traceback into its message."""

    batch: Any
    notes: list[Note]


class _Steps(Dataset[_Made]):
    def __init__(self, source: BatchSource[Any]) -> None:
        self._source = source

    def __getitem__(self, step: int) -> _Made:
        try:
            batch = self._source.batch(step)
        except TubedetError as error:
            return _Made(error, self._source.notes)
        if multiprocessing.parent_process() is None:
            return _Made(batch, self._source.notes)
        try:  # here, not in the thread that hands it over, whose errors nobody hears of
            for tensor in batch if isinstance(batch, tuple) else (batch,):
                tensor.share_memory_()
        except (RuntimeError, OSError) as error:
            return _Made(_no_room(error), [])
        return _Made(batch, self._source.notes)


def _context(source: object) -> multiprocessing.context.BaseContext:
    context = multiprocessing.get_context(START_METHOD)
    if START_METHOD == "forkserver":
        context.set_forkserver_preload([type(source).__module__])
    return context


def _prepare_worker(number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    sys.excepthook = _unless_disconnected
    cv2.setNumThreads(1)  # as torch: one process is one core


def _end_with_parent() -> None:
    """End this worker when the process it works for is gone, killed perhaps.

    DataLoader watches the process that forked it, which is the fork server: that lives on as long
    as its workers.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _unless_disconnected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Of the thread that hands tensors over: no traceback where an ended process takes none."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _started(loader: DataLoader[_Made]) -> Iterator[_Made]:
    """DataLoader's iterator without its signal handler, which raises in the midst of any code."""
    if not hasattr(signal, "SIGCHLD"):
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(loader)
    if signal.getsignal(signal.SIGCHLD) != before:
        signal.signal(signal.SIGCHLD, before)
    return batches


def _next(batches: Iterator[_Made], workers: int) -> _Made | None:
    try:
        return next(batches, None)
    except (RuntimeError, OSError, EOFError) as error:
        if not workers or str(error).startswith(FROM_SOURCE):
            raise
        problem = str(error).partition("\n")[0]
    return _Made(_no_room(problem), [])


def _no_room(problem: object) -> WorkerKilledError:
    return WorkerKilledError(
        f"expected batches from worker processes, found one that fails or is gone ({problem}); "
        "memory or shared memory (/dev/shm) may be too small for them: use fewer --loader-workers"
    )
