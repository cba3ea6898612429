"""How long a run will take, worked out by hand from a loader and a network of known speed."""

from pathlib import Path
from typing import Any

import pytest

from tests.training.test_loop_by_hand import recipe_of, trainer_of
from tubedet.training import dry_run as module
from tubedet.training.dry_run import dry_run
from tubedet.training.run_folder import RunFolder


class Clock:
    """Time passes only where something takes it."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def findings(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, batch_s: float, network_s: float, workers: int
) -> dict[str, str]:
    """Of a run of 1,000 steps of 2 samples, of which an epoch has 50."""
    clock = Clock()
    monkeypatch.setattr("tubedet.training.loop.time", clock)
    monkeypatch.setattr(module, "time", clock)
    run = RunFolder(folder, writes=False)
    trainer, _ = trainer_of(folder, recipe_of(steps=1000), run=run)
    trainer.loader_workers = workers

    def load(steps: range) -> Any:
        for step in steps:
            clock.now += batch_s
            yield trainer.samples.batch(step)

    def compute(*_: object) -> None:
        clock.now += network_s

    monkeypatch.setattr(trainer, "load_batches", load)
    trainer.predict.register_forward_hook(compute)
    return dict(dry_run(trainer, epoch=50))


def test_a_run_that_waits_for_its_samples_is_bound_by_the_loader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(tmp_path, monkeypatch, batch_s=4.0, network_s=1.0, workers=2)
    assert found["samples"] == "0.5 samples/s by 2 loader workers"
    assert found["step 2"].startswith("5.0 s, 4.0 s waiting for samples; total ")
    assert found["a step"] == "network 1.00 s, loader 4.00 s: bound by the loader"
    assert found["an epoch"] == "50 samples: 0:01:40"  # 25 steps of 4 s
    assert found["the run"] == "1000 steps: 1:06:40, without validations"


def test_a_run_that_waits_for_its_network_is_bound_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(tmp_path, monkeypatch, batch_s=1.0, network_s=3.0, workers=2)
    assert found["a step"] == "network 3.00 s, loader 1.00 s: bound by the network"
    assert found["an epoch"] == "50 samples: 0:01:15"


def test_without_workers_samples_and_network_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings(tmp_path, monkeypatch, batch_s=1.0, network_s=3.0, workers=0)
    assert found["an epoch"] == "50 samples: 0:01:40"
