"""Parts of a batch, in one process or in several, against the whole batch at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.drawn_jhmdb import draw_jhmdb
from tests.golden import PROJECT_ROOT
from tests.kinetics_layout import lay_out_as_kinetics
from tests.small_detector import small_config, small_network
from tests.synthetic_video import write_video
from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint
from tubedet.cli.app import app
from tubedet.labels import JHMDB_21
from tubedet.training.distributed import Processes, default_loader_workers, joined_processes

STEPS = 3
SETTINGS = {
    "start": "any",
    "input_size": 64,
    "batch_size": 4,
    "steps": STEPS,
    "save_every": STEPS,
    "rgb_rate": 1e-3,
    "motion_rate": 1e-3,
    "head_rate": 1e-3,
    "flow_rate": 1e-4,
    "frozen_batch_norm": "true",
}
TERMS = ("total", "box", "overlap", "label", "gradient_norm")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ALONE = ["--loader-workers", "0"]  # no further process makes batches


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command but for its run folder: narrow FlowNet2-SD, three drawn clips."""
    folder = tmp_path_factory.mktemp("distributed")
    root = draw_jhmdb(folder / "data", {"walk": ["a", "b"], "run": ["c"]}, part="trainval")
    config = small_config("flownet2-sd")
    header = CheckpointHeader(
        config={**config.to_dict(), "class_names": [], "anchors_wh": []}, missing=("fusion",)
    )
    save_checkpoint(folder / "start", small_network(config), header)
    data = ["--data", f"jhmdb-21:{root}", "--part", "trainval", "--device", "cpu"]
    return [
        "train",
        "--recipe",
        "tuned-flownet2-sd+kinetics",
        "--init",
        str(folder / "start"),
        *data,
    ]


def run_tubedet(words: list[str], run: Path, *, by_two: bool = False) -> str:
    """Standard output of a command that leaves a run, in this process or as two of torchrun."""
    command = [*words, "-o", str(run)]
    if not by_two:
        result = CliRunner().invoke(app, [*command, *ALONE])
        assert result.exit_code == 0, result.output
        return result.stdout
    command = [sys.executable, *TORCHRUN, "-m", "tubedet", *command]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def events_of(run: Path) -> list[dict[str, float]]:
    """What a run logged."""
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def losses(
    words: list[str], run: Path, *, by_two: bool = False, **changes: object
) -> list[dict[str, float]]:
    """Terms and gradient norm of every step, as a run logs them."""
    settings = [f"{name}={value}" for name, value in {**SETTINGS, **changes}.items()]
    pairs = [word for setting in settings for word in ("--set", setting)]
    said = run_tubedet([*words, *pairs], run, by_two=by_two)
    assert said.count("weights: ") == 1
    steps = [event for event in events_of(run) if "total" in event]
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    return [{term: step[term] for term in TERMS} for step in steps]


@pytest.fixture(scope="module")
def whole(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """The losses of the batch in one piece."""
    return losses(words, tmp_path_factory.mktemp("whole"))


def largest_difference(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    """Of any term of any step, relative."""
    return max(
        abs(a[term] - b[term]) / a[term] for a, b in zip(one, other, strict=True) for term in TERMS
    )


def test_two_halves_one_after_another_give_the_losses_of_the_whole_batch(
    words: list[str], whole: list[dict[str, float]], tmp_path: Path
) -> None:
    assert largest_difference(whole, losses(words, tmp_path, accumulation=2)) < 1e-5


def test_two_processes_give_the_losses_of_the_whole_batch(
    words: list[str], whole: list[dict[str, float]], tmp_path: Path
) -> None:
    two = losses(words, tmp_path, by_two=True)
    assert largest_difference(whole, two) < 1e-5
    assert json.loads((tmp_path / "config.json").read_text())["processes"] == 2


def test_all_processes_stop_when_the_first_finds_nothing_better(tmp_path: Path) -> None:
    config = small_config("flownet2")
    header = CheckpointHeader(
        config={**config.to_dict(), "class_names": [], "anchors_wh": []}, missing=("fusion",)
    )
    save_checkpoint(tmp_path / "start", small_network(config), header)
    video = write_video(tmp_path / "v.mp4", frames=5, width=64, height=48)
    for split in ("train", "validate"):
        root = lay_out_as_kinetics(tmp_path / "k", {"a": [video], "b": [video]}, split)
    words = ["--init", str(tmp_path / "start"), "--data", f"kinetics:{root}", "--device", "cpu"]
    settings = ("input_size=64", "batch_size=2", "steps=4", "evaluate_every=1", "patience=2")
    pairs = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "--recipe", "kinetics-pretraining", *words, *pairs, *ALONE]

    run_tubedet(command, tmp_path / "run", by_two=True)

    events = events_of(tmp_path / "run")
    # Two equal videos of different actions: one is right, whatever is learned.
    assert [event["step"] for event in events if "total" in event] == [1, 2, 3]
    looks = [(event["step"], event["best"]) for event in events if "best" in event]
    assert looks == [(1, True), (2, False), (3, False)]


def test_batch_norm_that_learns_sees_a_part_alone(words: list[str], tmp_path: Path) -> None:
    one = losses(words, tmp_path / "1", frozen_batch_norm="false")
    parts = losses(words, tmp_path / "2", frozen_batch_norm="false", accumulation=2)
    assert largest_difference(one, parts) > 1e-3


def test_two_processes_learn_flow_as_one_does(tmp_path: Path) -> None:
    root = draw_jhmdb(tmp_path / "data", {"walk": ["a"], "run": ["b"]}, part="trainval")
    data = ["--data", f"jhmdb-21:{root}", "--part", "trainval", "--device", "cpu"]
    chosen = {"sizes": 64, "batch_size": 2, "steps": 2, "evaluate_every": 0, "precision": "fp32"}
    settings = [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]
    command = ["pretrain-flow", *data, *settings]
    run_tubedet(command, tmp_path / "1")
    run_tubedet([*command, *ALONE], tmp_path / "2", by_two=True)
    found = [events_of(tmp_path / run) for run in ("1", "2")]
    for one, two in zip(*found, strict=True):
        for term in ("total", "error_px", "gradient_norm"):
            assert two[term] == pytest.approx(one[term], rel=1e-4)


@pytest.mark.parametrize(
    ("device", "processors", "sharing", "expected"),
    [
        ("cpu", 64, 1, 1),
        ("cuda", 64, 1, 8),
        ("cuda", 4, 1, 3),
        ("cuda", 16, 4, 3),
        ("cuda", 1, 1, 1),
    ],
)
def test_workers_leave_a_processor_to_the_process_that_drives_a_gpu(
    *,
    device: str,
    processors: int,
    sharing: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda process: set(range(processors)), raising=False
    )
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(sharing))
    assert default_loader_workers(torch.device(device)) == expected


def test_a_process_that_torchrun_did_not_start_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with joined_processes("cpu") as (processes, device):
        assert (processes, device) == (Processes(0, 1), "cpu")
        assert processes.is_first


def test_light_is_tuned_by_two_processes_and_by_parts_as_by_one(
    tmp_path: Path,
) -> None:
    root = draw_jhmdb(tmp_path / "data", {label: ["a"] for label in JHMDB_21}, part="trainval")
    data = ["--data", f"jhmdb-21:{root}", "--part", "trainval", "--device", "cpu"]
    of_light = ["train", "--recipe", "light", *data]
    settings: dict[str, Any] = {"flow_size": 64, "tune_steps": 2, "dropout": 0.0}
    settings |= {"precision": "fp32", "start": "any"}
    whole = losses(of_light, tmp_path / "whole", **settings)
    parts = losses(of_light, tmp_path / "parts", **settings, accumulation=2)
    two = losses([*of_light, *ALONE], tmp_path / "two", by_two=True, **settings)
    assert largest_difference(whole, parts) < 1e-3
    assert largest_difference(whole, two) < 1e-3
