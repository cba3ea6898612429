"""`tubedet train` and `tubedet pretrain-flow` on a tiny J-HMDB-21 made here."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from tests.jhmdb_layout import empty_layout, list_clip, video_path, write_mask
from tests.kinetics_layout import lay_out_as_kinetics
from tests.small_detector import small_config, small_network
from tests.small_training import one_thread_of_torch
from tests.synthetic_video import write_video
from tests.voc_files import NARROW, narrow_arrays, write_darknet_file
from tubedet.checkpoints.foreign_weights import import_weights
from tubedet.checkpoints.native import (
    CheckpointHeader,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from tubedet.cli.app import app
from tubedet.datasets import jhmdb_21
from tubedet.labels import JHMDB_21
from tubedet.models.flownet2.stacks import FlowNet2SD

FRAMES, WIDTH, HEIGHT = 4, 64, 48
SHORT = ["input_size=64", "batch_size=1", "warmup_steps=1", "cooldown_steps=1"]
TINY = [*SHORT, "flow_size=64"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """See `one_thread_of_torch`."""
    with one_thread_of_torch():
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip of each class from source A, one of golf from source B; one of walk is absent."""
    root = empty_layout(tmp_path_factory.mktemp("data") / "jhmdb")
    video = write_video(root / "v.avi", frames=FRAMES, width=WIDTH, height=HEIGHT).read_bytes()
    mask = np.zeros((HEIGHT, WIDTH, FRAMES), dtype=np.uint8)
    for frame in range(FRAMES):
        mask[4:40, 8 : 24 + 2 * frame, frame] = 1
    for source, label in [*(("A", label) for label in JHMDB_21), ("B", "golf")]:
        clip = f"{source}_{label}_f_cm_np1_ri_med_0"
        list_clip(root, label, clip)
        video_path(root, label, clip).write_bytes(video)
        write_mask(root, label, clip, mask)
    list_clip(root, "walk", "A_walk_f_cm_np1_ri_med_1")
    return root


@pytest.fixture(autouse=True)
def small_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Source B is for validation."""
    hashes = frozenset({jhmdb_21._short_hash("B")})
    monkeypatch.setattr(jhmdb_21, "_validation_hashes", lambda: hashes)


def tubedet(command: str, *options: object, settings: list[str] | None = None) -> Result:
    pairs = [text for setting in settings or [] for text in ("--set", setting)]
    alone = ["--loader-workers", "0"]
    return CliRunner().invoke(app, [command, *alone, *map(str, options), *pairs])


def test_a_detector_is_trained_validated_and_trained_on(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["--data", f"jhmdb-21:{root}", "-o", run, "--device", "cpu", "--seed", 3]
    settings = [*TINY, "steps=2", "evaluate_every=2"]

    first = tubedet("train", *options, settings=settings)
    second = tubedet("train", *options, "--resume", settings=["steps=3"])

    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert f"weights: {run / 'best.safetensors'}" in first.stdout.replace("\n", "")
    assert "step 2: total " in first.stderr
    assert "step 2: f-mAP on the validation part @0.2 " in first.stderr
    assert "the video backbone starts from random weights" in first.stderr
    assert "actions fitted: step 2: f-mAP " in first.stderr
    assert "random weights" not in second.stderr
    assert "listed but absent, so left out (1): walk/A_walk_f_cm_np1_ri_med_1" in first.stderr
    assert load_checkpoint(run / "best.safetensors")[1].config["class_names"] == list(JHMDB_21)
    config = json.loads((run / "config.json").read_text("utf-8"))
    assert (config["recipe"]["steps"], config["recipe"]["seed"]) == (3, 3)
    assert config["recipe"]["evaluate_every"] == 2  # as the first command said
    assert (config["data"]["clips"], config["validation"]["clips"]) == (21, 1)
    events = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    assert [event["step"] for event in events if "total" in event] == [1, 2, 3]
    assert (run / "loss.png").is_file()


def test_with_the_validation_clips_in_training_the_last_weights_are_kept(
    root: Path, tmp_path: Path
) -> None:
    options = ["--data", f"jhmdb-21:{root}", "-o", tmp_path, "--part", "trainval"]

    result = tubedet("train", *options, settings=[*TINY, "steps=1"])

    assert result.exit_code == 0, result.output
    assert load_checkpoint(tmp_path / "best.safetensors")[1].metrics == {}
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert (config["data"]["clips"], config["validation"]) == (22, None)


def test_a_loss_that_is_not_finite_ends_with_code_1_and_one_line(
    root: Path, tmp_path: Path
) -> None:
    options = ["--data", f"jhmdb-21:{root}", "-o", tmp_path]
    assert (
        tubedet("train", *options, settings=[*TINY, "steps=1", "evaluate_every=0"]).exit_code == 0
    )
    state = (tmp_path / "last.safetensors").read_bytes()
    rates = ["head_rate=1e30", "rgb_rate=1e30", "steps=9", "save_every=50"]

    result = tubedet("train", *options, "--resume", settings=rates)

    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()[1:]  # the first names the absent clip
    assert re.match(r"tubedet: the loss of step \d is not finite \(", line)
    assert f"the last good state is {tmp_path / 'last.safetensors'}" in line
    assert (tmp_path / "last.safetensors").read_bytes() == state


def test_a_dry_run_takes_two_steps_and_leaves_a_report(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"

    result = tubedet(
        "train",
        "--data",
        f"jhmdb-21:{root}",
        "-o",
        run,
        "--dry-run",
        settings=[*TINY, "save_every=1"],
    )

    assert result.exit_code == 0, result.output
    for line in (
        r"dry run +light",
        r"parameters +\d\.\d M",
        r"trained: rgb +0\.\d+ M at 0.003",
        r"trained: head +0\.\d+ M at 0\.0015",
        r"samples +\d+\.\d samples/s by 0 loader workers",
        r"step 1 +\d+\.\d s, 0\.\d s waiting for samples; total \d",
        r"step 2 +\d+\.\d s, 0\.\d s waiting for samples; total \d",
        r"a step +network \d+\.\d\d s, loader 0\.\d\d s: bound by the network",
        r"an epoch +21 samples: 0:0\d:\d\d",
        r"step 1652 +\d+\.\d s, 0\.\d s waiting for samples; total \d",
        r"the run +2250 steps: .*\d:\d\d:\d\d, without validations",
        r"peak memory +\d+\.\d\d GiB",
    ):
        assert re.search(line, result.stdout), line
    assert not run.exists()


def test_a_row_of_the_paper_is_trained_by_its_name_and_resumed_without_it(
    root: Path, tmp_path: Path
) -> None:
    config = small_config("flownet2-sd")
    header = CheckpointHeader(
        config={**config.to_dict(), "class_names": [], "anchors_wh": []}, missing=("fusion",)
    )
    save_checkpoint(tmp_path / "start", small_network(config), header)
    options = ["--data", f"jhmdb-21:{root}", "-o", tmp_path / "run", "--device", "cpu"]
    row = ["--recipe", "tuned-flownet2-sd+kinetics", "--init", tmp_path / "start"]
    tiny = ["input_size=64", "batch_size=2", "accumulation=2"]

    refused = tubedet("train", *options, *row, settings=[*tiny, "steps=1"])
    first = tubedet("train", *options, *row, settings=[*tiny, "steps=1", "start=voc"])
    second = tubedet("train", *options, "--resume", settings=["steps=2"])

    assert refused.exit_code == 4
    assert "expects streams from kinetics, found voc" in refused.stderr
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    stored = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert stored["recipe"]["name"] == "tuned-flownet2-sd+kinetics"
    assert (stored["recipe"]["optimizer"], stored["recipe"]["flow_rate"]) == ("adam", 1e-7)
    assert stored["recipe"]["max_gradient_norm"] is None
    assert stored["recipe"]["steps"] == 2


def test_clips_without_boxes_pretrain_both_streams(tmp_path: Path) -> None:
    config = small_config("flownet2")
    header = CheckpointHeader(
        config={**config.to_dict(), "class_names": [], "anchors_wh": []}, missing=("fusion",)
    )
    save_checkpoint(tmp_path / "start", small_network(config), header)
    video = write_video(tmp_path / "v.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT)
    labels = {"juggling": [video], "archery": [video]}
    lay_out_as_kinetics(tmp_path / "k", labels)
    data = lay_out_as_kinetics(tmp_path / "k", labels, split="validate")
    settings = ["input_size=64", "batch_size=2", "steps=2", "evaluate_every=2"]

    result = tubedet(
        "train",
        *("--recipe", "kinetics-pretraining", "--init", tmp_path / "start", "--device", "cpu"),
        *("--data", f"kinetics:{data}", "-o", tmp_path / "run"),
        settings=settings,
    )

    assert result.exit_code == 0, result.output
    # Of two equal videos of different actions one is named right.
    assert (
        "step 2: accuracy on the validation part @top-1 50.0 %, kept as best.safetensors"
        in result.stderr
    )
    assert (tmp_path / "run" / "loss.png").is_file()
    header = read_header(tmp_path / "run" / "best.safetensors")
    assert header.missing == ("fusion",)
    assert header.metrics == {"validation_top-1": 0.5}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--recipe", "brox+voc", "--preset", "brox"], "has its network: leave --preset brox out"),
        (["--recipe", "alexnet"], "recipe 'alexnet': expected one of light, two-stream, "),
        (["--preset", "alexnet"], "preset=alexnet: expected one of flownet2, "),
        (["--recipe", "brox+voc", "--set", "judged=3"], "--set judged=3: expected key=value"),
        (["--set", "accumulation=5"], "accumulation=5: expected a divisor of batch_size=12"),
        (["--recipe", "kinetics-pretraining"], "expected NAME:PATH with a NAME of kinetics"),
    ],
)
def test_recipes_that_contradict_are_usage_errors(
    root: Path, tmp_path: Path, options: list[str], complaint: str
) -> None:
    result = tubedet("train", "--data", f"jhmdb-21:{root}", "-o", tmp_path / "run", *options)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_the_settings_of_a_named_recipe_are_listed_with_its_sections() -> None:
    for words in (
        ["--list-settings", "--recipe", "brox+voc"],
        ["--recipe", "brox+voc", "--list-settings"],
    ):
        result = tubedet("train", *words)
        assert result.exit_code == 0
        assert re.search(r"\n +batch_size +32 +pairs a step", result.stdout)
        assert "(§IV-C)" in result.stdout


@pytest.mark.parametrize("command", ["train", "pretrain-flow"])
def test_a_folder_that_holds_a_run_is_left_alone(root: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "last.safetensors").write_bytes(b"hours of work")

    result = tubedet(command, "--data", f"jhmdb-21:{root}", "-o", tmp_path)

    assert result.exit_code == 6
    assert "holds a run already; go on with --resume" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]


@pytest.mark.parametrize("command", ["train", "pretrain-flow"])
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--resume"], 4),
        (["--set", "stepps=3"], 2),
        (["--set", "steps=no"], 2),
        (["--part", "test"], 2),
        (["--split", "2"], 5),
    ],
)
def test_what_cannot_be_done_has_its_exit_code(
    root: Path, tmp_path: Path, command: str, options: list[str], code: int
) -> None:
    result = tubedet(command, "--data", f"jhmdb-21:{root}", "-o", tmp_path / "run", *options)
    assert result.exit_code == code, result.output


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("train", r"flow_rate +2.5e-05 +of the flow network; 0 freezes it throughout"),
        ("pretrain-flow", r"sizes +128,192,256 +sides of the square samples"),
    ],
)
def test_settings_are_listed_with_their_meaning(command: str, line: str) -> None:
    result = tubedet(command, "--list-settings")

    assert result.exit_code == 0
    assert re.search(line, result.stdout)


def test_settings_of_an_unknown_recipe_are_refused_in_one_line() -> None:
    result = tubedet("train", "--list-settings", "--recipe", "nonsense")

    assert result.exit_code == 2
    assert result.stderr.startswith("tubedet: recipe 'nonsense': expected one of light, ")
    assert result.stderr.count("\n") == 1


def test_the_settings_of_a_network_are_those_of_its_recipe() -> None:
    result = tubedet("train", "--list-settings", "--preset", "brox")

    assert result.exit_code == 0
    assert re.search(r"preset +brox +the network", result.stdout)
    assert "flow_size" not in result.stdout


def test_pretrained_flow_goes_on_after_a_stop_and_into_a_detector(
    root: Path, tmp_path: Path
) -> None:
    data = ["--data", f"jhmdb-21:{root}"]
    flow = [*data, "-o", tmp_path / "flow"]
    settings = ["sizes=64", "batch_size=1", "evaluation_samples=1", "save_every=1"]

    first = tubedet("pretrain-flow", *flow, settings=[*settings, "steps=1"])
    second = tubedet("pretrain-flow", *flow, "--resume", settings=["steps=2"])

    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert "step 1: total " in first.stderr
    assert re.search(r"step 1: end-point error on procedural pairs mean \d+\.\d+ px", first.stderr)
    assert "step 2: total " in second.stderr
    assert "step 1: " not in second.stderr
    assert f"weights: {tmp_path / 'flow' / 'best.safetensors'}" in second.stdout.replace("\n", "")
    config = json.loads((tmp_path / "flow" / "config.json").read_text("utf-8"))
    assert (config["recipe"]["sizes"], config["recipe"]["steps"]) == ([64], 2)

    weights = ["--flow", tmp_path / "flow" / "best.safetensors"]
    detector = ["-o", tmp_path / "run", "--part", "trainval"]
    third = tubedet("train", *data, *weights, *detector, settings=[*TINY, "steps=1"])

    assert third.exit_code == 0, third.output
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert config["start"]["flow"]["file"] == "best.safetensors"


@pytest.mark.parametrize("command", ["train", "pretrain-flow"])
def test_a_run_of_an_earlier_version_is_not_gone_on_with(
    root: Path, tmp_path: Path, command: str
) -> None:
    name = {"name": "light"} if command == "train" else {}
    stored = {"recipe": {**name, "preset": "light", "steps": 5, "augmentation": "light"}}
    (tmp_path / "config.json").write_text(json.dumps(stored), encoding="utf-8")

    result = tubedet(command, "--data", f"jhmdb-21:{root}", "-o", tmp_path, "--resume")

    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "expected the settings of this version of tubedet, found others (" in line


def test_imported_weights_are_trained_for_the_classes_of_the_data(
    root: Path, tmp_path: Path
) -> None:
    published = write_darknet_file(tmp_path / "voc.weights", narrow_arrays())
    torch.save(FlowNet2SD(width=NARROW).state_dict(), tmp_path / "flow.pth.tar")
    files = [published, tmp_path / "flow.pth.tar"]
    imported = import_weights(files, "flownet2-sd", width=NARROW)
    save_checkpoint(tmp_path / "start.safetensors", imported.network, imported.header)
    options = ["--data", f"jhmdb-21:{root}", "-o", tmp_path / "run", "--preset", "flownet2-sd"]
    options += ["--init", tmp_path / "start.safetensors", "--device", "cpu"]

    result = tubedet("train", *options, settings=[*SHORT, "steps=1", "evaluate_every=0"])

    assert result.exit_code == 0, result.output
    network, header = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert (header.config["class_names"], header.missing) == (list(JHMDB_21), ())
    assert network.fusion.state_dict()["conv.weight"].shape[0] == 5 * (5 + len(JHMDB_21))
