import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tubedet.checkpoints.run_state import read_run_state, write_run_state
from tubedet.errors import OutputError, UsageError, WeightsError
from tubedet.training import run_folder
from tubedet.training.background_writer import copies_on_cpu
from tubedet.training.run_folder import RunFolder, optimizer_tensors, restore_optimizer


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "runs" / "first")


def test_a_state_comes_back_as_it_was_saved(run: RunFolder) -> None:
    weight = torch.randn(2, 3, 3, 3).to(memory_format=torch.channels_last)
    run.save_state({"w": weight, "n": torch.tensor(3)}, {"step": 4, "best": 0.25})

    tensors, progress = run.load_state()

    assert progress == {"step": 4, "best": 0.25}
    assert torch.equal(tensors["w"], weight)
    assert tensors["n"].item() == 3
    assert tensors["w"].is_contiguous()
    assert [path.name for path in run.folder.iterdir()] == ["last.safetensors"]


@pytest.fixture
def may_write(monkeypatch: pytest.MonkeyPatch) -> Event:
    """States are written once this is set."""
    allowed = Event()

    def write(part: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        assert allowed.wait(timeout=60)
        write_run_state(part, tensors, progress)

    monkeypatch.setattr(run_folder, "write_run_state", write)
    return allowed


def test_what_changes_after_a_save_does_not_reach_the_file(
    run: RunFolder, may_write: Event
) -> None:
    weight, progress = nn.Parameter(torch.zeros(3)), {"recipe": {"rate": 1}}
    run.save_state({"w": weight, "half": weight.detach()[:2]}, progress)  # which share memory
    with torch.no_grad():
        weight.fill_(9.0)
    progress["recipe"]["rate"] = 2
    assert not run.last.exists()
    may_write.set()

    tensors, stored = run.load_state()

    assert (tensors["w"].tolist(), tensors["half"].tolist()) == ([0, 0, 0], [0, 0])
    assert stored == {"recipe": {"rate": 1}}


def test_a_save_waits_for_the_one_before_it_and_only_then_copies(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []

    def write(part: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        time.sleep(0.1)
        write_run_state(part, tensors, progress)
        happened.append(f"wrote {progress['step']}")

    def copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        happened.append("copied")
        return copies_on_cpu(tensors)

    monkeypatch.setattr(run_folder, "write_run_state", write)
    monkeypatch.setattr(run_folder, "copies_on_cpu", copy)
    with run:
        for step in (1, 2):
            run.save_state({"w": torch.zeros(1)}, {"step": step})

    assert happened == ["copied", "wrote 1", "copied", "wrote 2"]


def fail(part: Path, **_: object) -> None:
    part.write_text("half of it")
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("end", ["save", "flush", "close", "load"])
def test_the_error_of_a_save_is_raised_once_by_the_next_call(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    run.save_state({"w": torch.zeros(1)}, {"step": 1})
    run.flush()
    monkeypatch.setattr(run_folder, "write_run_state", fail)
    run.save_state({"w": torch.ones(1)}, {"step": 2})

    calls: dict[str, Callable[[], object]] = {
        "save": lambda: run.save_state({}, {}),
        "flush": run.flush,
        "close": run.close,
        "load": run.load_state,
    }
    with pytest.raises(
        OutputError, match=r"last\.safetensors: could not be written .*No space left"
    ):
        calls[end]()

    assert run.load_state()[1] == {"step": 1}
    run.close()
    assert [path.name for path in run.folder.iterdir()] == ["last.safetensors"]


def test_an_interrupted_run_ends_with_its_last_state_whole(
    run: RunFolder, may_write: Event
) -> None:
    def interrupted_training() -> None:
        with run:
            run.save_state({"w": torch.zeros(1)}, {"step": 5})
            Timer(0.2, may_write.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_training()
    assert read_run_state(run.last)[1] == {"step": 5}


@pytest.mark.parametrize("content", [None, b"", b"no tensors at all"])
def test_an_error_names_a_state_that_is_absent_or_damaged(
    run: RunFolder, content: bytes | None
) -> None:
    if content is not None:
        run.last.write_bytes(content)
    with pytest.raises(WeightsError, match=r"last\.safetensors: expected the state of a training"):
        run.load_state()


def test_settings_come_back_and_their_absence_is_an_error(run: RunFolder) -> None:
    with pytest.raises(WeightsError, match="expected a run, found none; start without --resume"):
        run.read_config()
    run.config.write_text("{")
    with pytest.raises(WeightsError, match=r"config\.json: expected the settings of a run"):
        run.read_config()
    run.write_config({"recipe": {"steps": 3}, "of": "J-HMDB: 世界"})
    assert run.read_config() == {"recipe": {"steps": 3}, "of": "J-HMDB: 世界"}


def test_the_log_leaves_out_a_line_that_a_kill_cut_short(run: RunFolder) -> None:
    run.append({"step": 1})
    with run.log.open("a") as file:
        file.write('{"step": 2, "tot')
    assert list(run.events()) == [{"step": 1}]


def test_a_log_is_cut_back_to_the_step_that_a_run_goes_on_from(run: RunFolder) -> None:
    for step in (1, 2, 3):
        run.append({"step": step})
    with run.log.open("a") as file:
        file.write('{"step": 4, "tot')

    run.forget_after(2)
    run.append({"step": 3, "again": True})

    assert list(run.events()) == [{"step": 1}, {"step": 2}, {"step": 3, "again": True}]


@pytest.mark.parametrize("name", ["last.safetensors", "best.safetensors"])
def test_a_folder_with_results_is_not_taken_for_a_new_run(run: RunFolder, name: str) -> None:
    run.append({"step": 1})  # killed before anything was saved: nothing is lost
    run.require_unused()
    (run.folder / name).touch()
    with pytest.raises(OutputError, match="holds a run already; go on with --resume"):
        run.require_unused()


def test_a_file_that_fails_half_way_leaves_the_previous_one_and_nothing_else(
    run: RunFolder,
) -> None:
    run.write_config({"recipe": {"a": 1}})

    with pytest.raises(OutputError, match=r"config\.json: could not be written .*No space left"):
        run.replace(run.config, fail)
    assert run.read_config() == {"recipe": {"a": 1}}
    assert [path.name for path in run.folder.iterdir()] == ["config.json"]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the run folder"):
        RunFolder(tmp_path / "file" / "run")


def test_a_restored_optimiser_steps_as_the_first_one_would_whatever_the_memory_format() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 3, 3, 3, generator=generator)
    gradients = torch.randn(3, 4, 3, 3, 3, generator=generator)
    weights = [
        nn.Parameter(start.clone().contiguous(memory_format=torch.channels_last)) for _ in range(2)
    ]
    first, second = (torch.optim.AdamW([weight], lr=0.1, fused=True) for weight in weights)
    for weight, optimizer in zip(weights, (first, second), strict=True):
        for gradient in gradients[:2]:
            weight.grad = gradient.contiguous(memory_format=torch.channels_last)
            optimizer.step()

    stored = optimizer_tensors(second, {weights[1]: "w"})
    contiguous = {name: value.contiguous() for name, value in stored.items()}  # as a file has it
    restored = torch.optim.AdamW([weights[1]], lr=0.1, fused=True)
    restore_optimizer(restored, {weights[1]: "w"}, contiguous)
    for weight, optimizer in zip(weights, (first, restored), strict=True):
        weight.grad = gradients[2].contiguous(memory_format=torch.channels_last)
        optimizer.step()

    assert set(stored) == {"w.step", "w.exp_avg", "w.exp_avg_sq"}
    assert torch.equal(weights[0], weights[1])


def test_a_restored_state_lies_where_a_fused_optimiser_on_another_device_wants_it() -> None:
    # `meta` stands in for a GPU, whose fused Adam refuses a step count that lies elsewhere.
    weight = nn.Parameter(torch.ones(4, 3, 2, 2, device="meta"))
    weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([weight])
    optimizer.param_groups[0]["fused"] = True  # the constructor asks for a real device
    moment = torch.zeros(4, 3, 2, 2)  # contiguous, as in a file
    stored = {"w.step": torch.tensor(7.0), "w.exp_avg": moment, "w.exp_avg_sq": moment}

    restore_optimizer(optimizer, {weight: "w"}, stored)

    state = optimizer.state[weight]
    assert {name: value.device.type for name, value in state.items()} == dict.fromkeys(
        ("step", "exp_avg", "exp_avg_sq"), "meta"
    )
    assert state["exp_avg"].stride() == weight.stride() == (12, 1, 6, 3)


def test_a_parameter_without_a_stored_state_starts_afresh() -> None:
    old, new = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([new, old], lr=0.1, momentum=0.9)  # in another order than the names
    stored = {"old.momentum_buffer": torch.tensor([3.0, 4.0])}

    restore_optimizer(optimizer, {old: "old", new: "new"}, stored)

    assert optimizer.state[old]["momentum_buffer"].tolist() == [3.0, 4.0]
    assert not optimizer.state[new]


def test_a_moment_of_another_shape_is_refused() -> None:
    weight = nn.Parameter(torch.zeros(2, 3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    with pytest.raises(RuntimeError):
        restore_optimizer(optimizer, {weight: "w"}, {"w.momentum_buffer": torch.zeros(3, 2)})


def test_a_run_that_does_not_write_leaves_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", writes=False)

    run.append({"step": 1})
    run.forget_after(0)
    run.write_config({})
    run.save_state({"w": torch.zeros(1)}, {})
    run.keep_only(1)

    assert not run.folder.exists()


def test_tensorboard_gets_the_numbers_of_the_log(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = RunFolder(tmp_path, tensorboard=True)
    run.forget_after(0)

    run.append({"step": 1, "total": 2.5})
    run.append({"step": 1, "validation": {"0.5": 0.25}, "best": True})

    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["total", "validation/0.5"]
    assert [(e.step, e.value) for e in events.Scalars("total")] == [(1, 2.5)]
    assert [(e.step, e.value) for e in events.Scalars("validation/0.5")] == [(1, 0.25)]
    assert [event["step"] for event in run.events()] == [1, 1]


def test_a_lack_of_tensorboard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"TensorBoard logs need tensorboard: pip install"):
        RunFolder(tmp_path, tensorboard=True)
