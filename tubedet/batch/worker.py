"""A process that works on one video at a time for a job; see `workers`, which starts it.

What it is told comes through a pipe, which a thread reads: a video, or `Stop`. The pipe's end is
the job's end, be it that all is done or that the parent was killed: then what there is of the video
at work is kept, and no process is left. Signals are the parent's: a worker heeds none but SIGKILL.
"""

import _thread
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from enum import Enum, auto
from multiprocessing.connection import Connection
from queue import SimpleQueue

import torch

from tubedet.batch.earlier_results import Existing
from tubedet.batch.manifest import network_loaded
from tubedet.batch.many_videos import Batch, NewWork, process_one
from tubedet.errors import TubedetError, in_one_line
from tubedet.run.events import Event, FrameDone, VideoFailed
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.writers.formats import Kind
from tubedet.writers.run_lock import BeingWrittenError

Load = Callable[[str, Callable[[str], None]], NewWork]
"""Loads the network on a device, telling in a line what takes long."""

SECONDS_A_FRAME_MESSAGE = 0.1
GRACE_S = 30  # for a frame that takes long, when the parent is gone
INTERRUPT = getattr(signal, "SIGUSR1", signal.SIGINT)
LISTENER = "tubedet listener"  # the thread that hears the parent


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """All that a worker has to know; everything can be pickled.

    Attributes:
        load: the network.
        device: as `--device` has it: `auto` and `cuda` are shared out where there are several GPUs.
        workers: how many share the processor's cores.
        kind, formats, existing, spreadsheet_safe: see `Batch`.
    """

    load: Load
    device: str
    workers: int
    kind: Kind
    formats: tuple[str, ...]
    existing: Existing
    spreadsheet_safe: bool

    def batch(self, new_work: NewWork) -> Batch:
        """What a worker makes of its videos, once its network is loaded."""
        return Batch(
            jobs=(),
            new_work=new_work,
            formats=self.formats,
            existing=self.existing,
            spreadsheet_safe=self.spreadsheet_safe,
            needs_room=True,
        )


class Stop(Enum):
    """How the video at work should end: after the frame at work, or without it."""

    SOON = auto()
    NOW = auto()


@dataclass(frozen=True, slots=True)
class Told:
    """A line for people, on what takes long."""

    text: str


@dataclass(frozen=True, slots=True)
class Free:
    """The worker has done with its video, unless another run is writing it."""

    being_written: BeingWrittenError | None = None


@dataclass(frozen=True, slots=True)
class WrongForAll:
    """What every other video would meet, too; the worker ends."""

    error: Exception


def work(pipe: Connection, setup: WorkerSetup, number: int) -> None:
    """Process videos until the pipe is closed; what a process begins with.

    Args:
        pipe: videos and `Stop` come in, events and the messages above go out.
        setup: of all workers.
        number: of this one, from 0.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    stop = StopRequest()
    signal.signal(INTERRUPT, lambda *_: stop.interrupt())
    jobs = SimpleQueue[VideoJob | None]()
    threading.Thread(target=_listen, args=(pipe, jobs, stop), name=LISTENER, daemon=True).start()
    try:
        for message in _messages(jobs, setup, number, stop, lambda text: pipe.send(Told(text))):
            pipe.send(message)
    except BrokenPipeError:  # the parent is gone
        pass
    except Exception as error:
        pipe.send(WrongForAll(portable(error)))


def _messages(
    jobs: "SimpleQueue[VideoJob | None]",
    setup: WorkerSetup,
    number: int,
    stop: StopRequest,
    told: Callable[[str], None],
) -> Generator[Event | Free]:
    torch.set_num_threads(max(1, torch.get_num_threads() // setup.workers))
    new_work = setup.load(device_of(setup.device, number), told)
    batch = setup.batch(new_work)
    is_first = True
    while (job := jobs.get()) is not None:
        if is_first:
            yield network_loaded(job, new_work(job, None))
            is_first = False
        try:
            yield from _rarer(process_one(batch, job, stop))
        except BeingWrittenError as error:
            yield Free(error)
        else:
            yield Free()


def _rarer(events: Generator[Event]) -> Generator[Event]:
    """The events, of frames not more than people can read, as they come over a pipe."""
    latest = 0.0
    for event in events:
        if isinstance(event, FrameDone):
            if time.monotonic() - latest < SECONDS_A_FRAME_MESSAGE:
                continue
            latest = time.monotonic()
        yield as_sent(event)


def as_sent(event: Event) -> Event:
    """The event as another process can read it."""
    if isinstance(event, VideoFailed):
        return replace(event, error=portable(event.error))
    return event


def _listen(pipe: Connection, jobs: "SimpleQueue[VideoJob | None]", stop: StopRequest) -> None:
    """What a thread does meanwhile."""
    try:
        while True:
            message = pipe.recv()
            if isinstance(message, VideoJob):
                jobs.put(message)
            else:
                stop.asked = True
                if message is Stop.NOW:
                    _interrupt_main_thread()
    except (EOFError, OSError):
        stop.asked = True
        jobs.put(None)
        _interrupt_main_thread()
        time.sleep(GRACE_S)
        os._exit(1)  # nobody is left who could end it


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):  # ends waiting, too
        signal.pthread_kill(threading.main_thread().ident or 0, INTERRUPT)
    else:
        _thread.interrupt_main(INTERRUPT)


def portable(error: Exception) -> Exception:
    """The error as it can be sent, with where it comes from as a note."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        same = pickle.loads(pickle.dumps(error))
    except Exception:
        return TubedetError(in_one_line(error))
    return error if isinstance(same, Exception) else TubedetError(in_one_line(error))


def device_of(device: str, number: int) -> str:
    """The device of a worker: its own GPU as far as there are so many, unless one was named."""
    gpus = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{number % gpus}" if gpus else device
