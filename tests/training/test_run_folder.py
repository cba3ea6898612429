import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tubedet.errors import OutputError, UsageError, WeightsError
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
    assert [path.name for path in run.folder.iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("content", [None, b"", b"no tensors at all"])
def test_a_state_that_is_absent_or_damaged_is_named(run: RunFolder, content: bytes | None) -> None:
    if content is not None:
        run.last.write_bytes(content)
    with pytest.raises(WeightsError, match=r"last\.safetensors: expected the state of a training"):
        run.load_state()


def test_settings_come_back_and_are_missed_where_there_are_none(run: RunFolder) -> None:
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
    run.write_config({"a": 1})

    def fail(part: Path) -> None:
        part.write_text("half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"config\.json: could not be written .*No space left"):
        run.replace(run.config, fail)
    assert run.read_config() == {"a": 1}
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
