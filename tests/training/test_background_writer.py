import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tubedet.training import background_writer
from tubedet.training.background_writer import BackgroundWriter, copies_on_cpu


def fail() -> None:
    raise OSError(28, "No space left on device")


def test_the_error_of_a_job_is_raised_once_by_the_next_start() -> None:
    writer, done = BackgroundWriter(), []
    writer.start(fail)
    with pytest.raises(OSError, match="No space left"):
        writer.start(lambda: done.append("never"))
    writer.start(lambda: done.append("then"))
    writer.close()
    assert done == ["then"]


def test_an_error_outlives_an_interrupted_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(jobs: object) -> None:
        raise KeyboardInterrupt

    writer = BackgroundWriter()
    writer.start(fail)
    with monkeypatch.context() as patch:
        patch.setattr(background_writer, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.finish()
    with pytest.raises(OSError, match="No space left"):
        writer.close()


def test_an_interrupted_process_ends_once_the_job_is_done(tmp_path: Path) -> None:
    program = f"""
import pathlib, time
from tubedet.training.background_writer import BackgroundWriter
def job():
    time.sleep(0.5)
    pathlib.Path({str(tmp_path / "file")!r}).write_text("whole")
BackgroundWriter().start(job)
raise KeyboardInterrupt
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert ended.returncode != 0
    assert (tmp_path / "file").read_text() == "whole"


class OnGpu(torch.Tensor):
    """A tensor that says that it lies on a GPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    is_cuda = True


def test_tensors_of_a_gpu_are_copied_to_pinned_memory_and_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened, empty = [], torch.empty

    def pinned(*shape: Any, pin_memory: bool, **options: Any) -> torch.Tensor:
        happened.append(f"pinned {pin_memory}")
        return empty(*shape, **options)

    def synchronize(device: torch.device) -> None:
        happened.append("waited")

    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    here, there = torch.tensor([1.0]), torch.tensor([2.0, 3.0]).as_subclass(OnGpu)

    copies = copies_on_cpu({"here": here, "there": there})

    assert happened == ["pinned False", "pinned True", "waited"]
    assert {name: copy.tolist() for name, copy in copies.items()} == {"here": [1], "there": [2, 3]}
