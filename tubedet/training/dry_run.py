"""Two steps of each phase of a run, to leave nothing behind: does it load, fit, how long is it?"""

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from tubedet.runtime.peak_memory import peak_memory
from tubedet.training.loop import Trainer
from tubedet.training.objective import StepDone

STEPS = 2
ROUNDS = 3  # of batches by every worker that are timed
GIB = 2**30


class Finding(NamedTuple):
    """One line of the report."""

    what: str
    found: str


def dry_run(trainer: Trainer[Any], epoch: int) -> Iterator[Finding]:
    """Take the steps and yield what was found; the trainer's run folder must be one that is not
    written.

    Args:
        trainer: at any step.
        epoch: samples of an epoch.

    Raises:
        NonFiniteLossError: as `Trainer.train`.
    """
    parameters = sum(value.numel() for value in trainer.network.parameters())
    yield Finding("parameters", f"{parameters / 1e6:.1f} M")
    for group in trainer.optimizer.param_groups:
        count = sum(value.numel() for value in group["params"])
        yield Finding(f"trained: {group['name']}", f"{count / 1e6:.3f} M at {group['lr']:g}")
    samples_per_s = loader_speed(trainer)
    workers = trainer.loader_workers * trainer.processes.count
    yield Finding("samples", f"{samples_per_s:.1f} samples/s by {workers} loader workers")
    first, size = trainer.step, trainer.recipe.batch_size
    loader_s = size / samples_per_s
    run_s = 0.0
    for phase in trainer.recipe.phases():
        trainer.step = max(first, phase.start)
        remaining = phase.stop - trainer.step
        if remaining <= 0:
            continue
        network_s = 0.0
        for step in _steps(trainer, min(STEPS, remaining)):
            losses = ", ".join(f"{name} {value:.4f}" for name, value in step.losses.items())
            network_s = step.seconds - step.waited_s  # the first step is longer than the others
            waited = f"{step.waited_s:.1f} s waiting for samples"
            yield Finding(f"step {step.step}", f"{step.seconds:.1f} s, {waited}; {losses}")
        bound = "loader" if loader_s > network_s else "network"
        yield Finding(
            "a step", f"network {network_s:.2f} s, loader {loader_s:.2f} s: bound by the {bound}"
        )
        # Without workers, samples and network take turns.
        step_s = max(loader_s, network_s) if workers else loader_s + network_s
        run_s += remaining * step_s
        yield Finding("an epoch", f"{epoch} samples: {_duration(epoch / size * step_s)}")
    steps = trainer.recipe.steps - first
    yield Finding("the run", f"{steps} steps: {_duration(run_s)}, without validations")
    peak = peak_memory(trainer.device)
    yield Finding("peak memory", "not measured" if peak is None else f"{peak / GIB:.2f} GiB")


def _steps(trainer: Trainer[Any], most: int) -> Iterator[StepDone]:
    with closing(trainer.train()) as events:
        yield from islice((event for event in events if isinstance(event, StepDone)), most)


def loader_speed(trainer: Trainer[Any]) -> float:
    """Samples a second that the loaders of all processes make while no network runs.

    The first batch of every worker is not timed: it waits for the process to start. Clips are
    decoded here; where their frames are kept, later epochs are quicker.
    """
    workers = max(1, trainer.loader_workers)
    batches = trainer.load_batches(range(trainer.step, trainer.step + (1 + ROUNDS) * workers))
    for _ in islice(batches, workers):
        pass
    started = time.monotonic()
    timed = sum(1 for _ in batches)
    return timed * trainer.recipe.batch_size / (time.monotonic() - started)


def _duration(seconds: float) -> str:
    """As hours:minutes:seconds, and days before them."""
    return str(timedelta(seconds=round(seconds)))
