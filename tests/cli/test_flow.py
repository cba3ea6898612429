import json
import os
import signal
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.golden import fill_by_rule, frames, golden_file, reference_json
from tests.known_flow import KnownFlow
from tests.lossless_video import write_lossless
from tests.small_detector import small_config, small_network
from tests.synthetic_video import write_video
from tubedet import pipeline
from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint
from tubedet.cli.app import app
from tubedet.cli.signals import NUMBERS, heed_signals
from tubedet.errors import OutputError
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.video.reader import VideoReader

Flow = Callable[..., Any]


@pytest.fixture
def network() -> KnownFlow:
    return KnownFlow()


@pytest.fixture
def flow(tmp_path: Path, network: KnownFlow, monkeypatch: pytest.MonkeyPatch) -> Flow:
    """Runs `tubedet flow` with a known flow and with results in `tmp_path / "out"`."""

    def load(_: object, *, device: str, size: tuple[int, int] | None) -> TorchFlow:
        return TorchFlow(network, device=device, size=size)

    monkeypatch.setattr(pipeline, "load_flow_estimator", load)

    def run(*arguments: object, output: object = tmp_path / "out") -> Any:
        return CliRunner().invoke(app, ["flow", *map(str, arguments), "-o", str(output)])

    return run


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", frames=4, width=64, height=48)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def small_checkpoint(path: Path, preset: str) -> tuple[Path, torch.nn.Module]:
    config = small_config(preset)
    network = small_network(config)
    save_checkpoint(path, network, CheckpointHeader(config=config.to_dict()))
    return path, network


def test_a_video_gives_a_colour_wheel_mp4_and_a_line_that_says_where(
    flow: Flow, video: Path, tmp_path: Path
) -> None:
    result = flow(video)
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == ["clip.flow.meta.json", "clip.flow.mp4"]
    assert result.stdout.splitlines()[-2:] == [
        str(tmp_path / "out/clip.flow.mp4"),
        str(tmp_path / "out/clip.flow.meta.json"),
    ]
    assert "with a box" not in result.stdout
    assert result.stderr == ""


def test_files_of_every_frame_lie_in_a_folder_that_is_named_once(
    flow: Flow, video: Path, tmp_path: Path
) -> None:
    result = flow(video, "-f", "flo", "--format", "brox")
    assert result.exit_code == 0, result.output
    assert len(names(tmp_path / "out/clip")) == 8
    lines = [line for line in result.stdout.splitlines() if str(tmp_path) in line]
    assert lines == [str(tmp_path / "out/clip"), str(tmp_path / "out/clip.flow.meta.json")]


@pytest.mark.parametrize("preset", ["flownet2-sd", "flownet2-css", "flownet2", "light"])
def test_the_flow_network_of_any_checkpoint_is_enough(tmp_path: Path, preset: str) -> None:
    """Of `light` the network itself sees the frame's own size, without the detector's resizing."""
    weights, detector = small_checkpoint(tmp_path / "small.safetensors", preset)
    pictures = np.random.default_rng(2).integers(0, 256, (2, 64, 128, 3), dtype=np.uint8)
    video = write_lossless(tmp_path / "clip.mkv", list(pictures))
    arguments = ["flow", video, "-o", tmp_path, "-f", "flo", "--weights", weights]
    result = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    network = detector.get_submodule("flow.network" if preset == "light" else "flow")
    with torch.inference_mode():
        expected = network(torch.from_numpy(pictures).permute(3, 0, 1, 2)[None].float())
    found = cv2.readOpticalFlow(str(tmp_path / "clip/000000.flo"))
    np.testing.assert_allclose(found.transpose(2, 0, 1), expected[0], rtol=1e-4, atol=1e-5)


def write_published(path: Path, network_class: type[torch.nn.Module], keys: str) -> Path:
    """NVIDIA's file, by the golden rule, its tensors in the order of the published one."""
    with torch.device("meta"):
        network = network_class()
    network = network.to_empty(device="cpu")
    # Without it the small-displacement branch would warp by 0.02 px and go untested.
    scale = {f"flownets_d.predict_flow2.{each}": 100.0 for each in ("weight", "bias")}
    fill_by_rule(network, scale if network_class is FlowNet2 else {})
    state = network.state_dict()
    order = reference_json(f"{keys}_keys.json")["order_in_checkpoint"]
    assert sorted(order) == sorted(state)
    content = {
        "epoch": 0,
        "state_dict": OrderedDict((n, state[n]) for n in order),
        "best_EPE": 1e10,
    }
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def golden_flow(preset: str) -> torch.Tensor:
    """(2, 128, 192) px. CSS is the part of FlowNet2 that ends in `flownets_2`, keys included."""
    with golden_file("flownet2sd" if preset == "flownet2-sd" else "flownet2") as golden:
        if preset != "flownet2-css":
            return torch.from_numpy(golden["flow"][0])
        quarter = torch.from_numpy(golden["act/flownets_2.predict_flow2/0"][0])
    return 20 * quarter.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)


@pytest.mark.parametrize(
    ("preset", "network_class", "name"),
    [
        ("flownet2-sd", FlowNet2SD, "FlowNet2-SD"),
        ("flownet2-css", FlowNet2CSS, "FlowNet2-CSS-ft-sd"),
        ("flownet2", FlowNet2, "FlowNet2"),
    ],
)
def test_an_imported_file_of_the_golden_rule_gives_the_golden_flow_of_a_lossless_video(
    preset: str, network_class: type[torch.nn.Module], name: str, tmp_path: Path
) -> None:
    published = tmp_path / f"{name}_checkpoint.pth.tar"
    write_published(published, network_class, preset.replace("-", ""))
    weights = tmp_path / "start.safetensors"
    pictures = frames()[0].permute(1, 2, 3, 0).numpy().astype(np.uint8)  # (2, 128, 192, 3)
    video = write_lossless(tmp_path / "pair.mkv", list(pictures))
    with VideoReader(video) as reader:
        np.testing.assert_array_equal([each.rgb for each in reader.frames()], pictures)

    for arguments in (
        ["weights", "import", published, "-o", weights, "--preset", preset, "--allow-random"],
        ["flow", video, "-f", "flo", "-o", tmp_path, "--weights", weights, "--device", "cpu"],
    ):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output

    expected = golden_flow(preset).permute(1, 2, 0).numpy()
    for file in ("000000.flo", "000001.flo"):
        found = cv2.readOpticalFlow(str(tmp_path / "pair" / file))
        np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-4)
    for path in (published, weights):  # up to 650 MB each, and pytest keeps its last folders
        path.unlink()


def test_a_detector_of_the_brox_preset_runs_on_the_images(
    flow: Flow, video: Path, tmp_path: Path
) -> None:
    assert flow(video, "-f", "brox").exit_code == 0
    weights, _ = small_checkpoint(tmp_path / "small.safetensors", "brox")
    arguments = ["detect", video, "-o", tmp_path / "boxes", "-f", "csv", "--weights", weights]
    arguments += ["--flow-images", tmp_path / "out", "--min-score", 0, "--device", "cpu"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert len((tmp_path / "boxes/clip.csv").read_text().splitlines()) == 1 + 4


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ([], (64, 64)),
        (["--size", "128"], (128, 128)),
        (["--size", "192x64"], (64, 192)),
    ],
)
def test_the_network_sees_the_size_that_is_asked_for(
    flow: Flow, video: Path, network: KnownFlow, options: list[str], seen: tuple[int, int]
) -> None:
    assert flow(video, "-f", "flo", *options).exit_code == 0
    assert set(network.seen) == {seen}


@pytest.mark.parametrize(
    "options",
    [
        *(["--size", size] for size in ("100", "0", "64x", "x64", "64x64x64", "8192", "big", "")),
        ["-f", "csv"],
        ["-f", "flo,csv"],
        ["--device", "abacus"],
        ["--end", "0"],
        ["--start", "soon"],
        ["--start", "2f", "--end", "1f"],
        ["--overwrite", "--skip-existing"],
    ],
)
def test_options_that_make_no_sense_are_usage_errors_and_write_nothing(
    flow: Flow, video: Path, tmp_path: Path, options: list[str]
) -> None:
    result = flow(video, *options)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("output", ["-", ""])
def test_flow_does_not_go_to_stdout_or_to_nowhere(
    flow: Flow, video: Path, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert flow(video, output=output).exit_code == 2


@pytest.mark.parametrize("preset", ["brox", "no-such-preset"])
def test_weights_without_a_flow_network_end_with_the_code_for_weights(
    video: Path, tmp_path: Path, preset: str
) -> None:
    weights = tmp_path / "small.safetensors"
    if preset == "brox":
        small_checkpoint(weights, preset)
    arguments = ["flow", str(video), "-o", str(tmp_path / "out"), "--weights", str(weights)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 4
    assert len(result.stderr.splitlines()) == 1
    assert "small.safetensors" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_absent_video_ends_with_the_code_for_videos(flow: Flow, tmp_path: Path) -> None:
    result = flow(tmp_path / "absent.mp4")
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_bad_video_does_not_stop_the_others(flow: Flow, video: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    result = flow(tmp_path / "bad.mp4", video, "-f", "flo")
    assert result.exit_code == 7
    reason, _, last = result.stderr.splitlines()  # between them the disk that .flo files take
    assert reason.startswith(f"tubedet: {tmp_path / 'bad.mp4'}: expected a video file")
    assert last == "tubedet: 1 of 2 videos failed"
    assert result.stdout.splitlines()[-1] == f"Results are in {tmp_path / 'out'}"
    assert len(names(tmp_path / "out/clip")) == 4


def test_an_existing_result_is_refused_unless_it_may_be_replaced(
    flow: Flow, video: Path, tmp_path: Path, network: KnownFlow
) -> None:
    assert flow(video, "-f", "flo").exit_code == 0
    calls = len(network.seen)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/clip").iterdir()}
    for options in (["-f", "flo"], ["-f", "flo,mp4", "--max-frames", "2"], ["--size", "128"]):
        refused = flow(video, *options)
        assert refused.exit_code == 6, options
        assert "--overwrite" in refused.stderr
        assert len(network.seen) == calls
        assert before == {path: path.stat().st_mtime_ns for path in before}
    assert flow(video, "-f", "flo,mp4").exit_code == 0  # adds the format that is not there
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert flow(video, "-f", "brox").exit_code == 0  # beside the .flo files
    assert flow(video, "-f", "flo", "--overwrite").exit_code == 0
    assert len(names(tmp_path / "out/clip")) == 8
    meta = json.loads((tmp_path / "out/clip.flow.meta.json").read_text("utf-8"))
    assert {name: told["name"] for name, told in meta["outputs"].items()} == {
        "flo": "clip",
        "brox": "clip",
        "mp4": "clip.flow.mp4",
    }


def test_skip_existing_leaves_out_what_is_whole_and_makes_the_rest(
    flow: Flow, video: Path, tmp_path: Path, network: KnownFlow
) -> None:
    assert flow(video, "-f", "flo").exit_code == 0
    other = write_video(tmp_path / "other.mp4", frames=2, width=64, height=48)
    calls = len(network.seen)
    result = flow(video, other, "-f", "flo", "--skip-existing")
    assert result.exit_code == 0, result.output
    assert "clip.mp4: skipped" in result.stdout
    assert len(network.seen) == calls + 1  # one pair
    assert names(tmp_path / "out/other") == ["000000.flo", "000001.flo"]
    (tmp_path / "out/clip/000002.flo").unlink()
    assert flow(video, "-f", "flo", "--skip-existing").exit_code == 0
    assert len(names(tmp_path / "out/clip")) == 4


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ([], [0, 1, 2, 3, 4, 5, 6, 7]),
        (["--start", "5f"], [5, 6, 7]),
        (["--start", "0.125", "--end", "00:00:00.25"], [3, 4, 5]),  # at 24 a second
        (["--start", "1f", "--duration", "3f"], [1, 2, 3]),
        (["--stride", "3"], [0, 3, 6]),
        (["--start", "1f", "--stride", "3", "--max-frames", "2"], [1, 4]),
        (["--max-frames", "1"], [0]),
    ],
)
def test_frames_are_picked_as_asked(
    flow: Flow, tmp_path: Path, options: list[str], frames: list[int]
) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=8, width=64, height=48)
    assert flow(video, "-f", "flo,brox", *options).exit_code == 0
    expected = [f"{frame:06d}.flo" for frame in frames] + [f"{n + 1:05d}.jpg" for n in frames]
    assert names(tmp_path / "out/clip") == sorted(expected)
    meta = json.loads((tmp_path / "out/clip.flow.meta.json").read_text("utf-8"))
    assert (meta["first_frame"], meta["processed_frames"]) == (frames[0], len(frames))


def test_the_flow_video_of_a_range_has_its_frames_and_those_of_a_stride_too(
    flow: Flow, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=8, width=64, height=48)
    options = ["--start", "2f", "--end", "7f", "--stride", "2"]
    assert flow(video, *options).exit_code == 0
    with av.open(str(tmp_path / "out/clip.flow.mp4")) as movie:
        times = [picture.time for picture in movie.decode(video=0)]
    assert times == pytest.approx([n / 24 for n in range(5)], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ([], "393.2 MB"),  # 30 frames of 1280x1280 at 8 bytes a pixel
        (["--stride", "3"], "131.1 MB"),  # 10 frames
        (["--start", "15f"], "196.6 MB"),
        (["--max-frames", "8"], "104.9 MB"),
    ],
)
def test_the_disk_that_flo_files_take_is_said_before_the_work(
    flow: Flow, tmp_path: Path, network: KnownFlow, options: list[str], size: str
) -> None:
    def refuse(*_: object) -> None:
        raise OutputError("no work")

    network.register_forward_pre_hook(refuse)
    video = write_video(tmp_path / "clip.mp4", frames=30, width=1280, height=1280)
    result = flow(video, "-f", "flo", *options)
    assert result.exit_code == 6
    estimate = result.stderr.splitlines()[0]
    assert estimate.startswith(f"clip.mp4: about {size} of .flo files, ")
    assert estimate.endswith(" GB are free")


@pytest.mark.parametrize("output_format", ["mp4", "brox"])
def test_other_formats_need_no_estimate(flow: Flow, video: Path, output_format: str) -> None:
    assert flow(video, "-f", output_format).stderr == ""


def detect_with(weights: Path, images: Path, output: Path, *inputs: Path) -> Any:
    arguments = ["detect", *inputs, "-o", output, "-f", "csv", "--weights", weights]
    arguments += ["--flow-images", images, "--min-score", 0, "--device", "cpu"]
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_detect_finds_the_flow_images_of_trees_and_of_twins(flow: Flow, tmp_path: Path) -> None:
    """Of every video its own: here the images say how many frames it has."""
    folder = tmp_path / "in"
    lengths = {"b.avi": 2, "b.mp4": 3, "day 1/b.mp4": 4, "day 1/c.mp4": 5, "day 2/b.mp4": 6}
    for name, length in lengths.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(folder / name, frames=length, width=64, height=48)
    weights, _ = small_checkpoint(tmp_path / "small.safetensors", "brox")

    written = flow(folder, "-f", "brox", output=tmp_path / "images")
    assert written.exit_code == 0, written.output
    images = sorted(len(list(each.glob("*.jpg"))) for each in tmp_path.glob("images/**/"))
    assert [count for count in images if count] == [2, 3, 4, 5, 6]
    result = detect_with(weights, tmp_path / "images", tmp_path / "boxes", folder)

    assert result.exit_code == 0, result.output
    found: dict[str, int] = {}
    for path in (tmp_path / "boxes").rglob("*.csv"):
        for line in path.read_text("utf-8").splitlines()[1:]:
            found[line.split(",")[0]] = found.get(line.split(",")[0], 0) + 1
    assert found == lengths


@pytest.mark.parametrize("inputs", [["cam1", "cam2"], ["cam1/0001.mp4", "cam2/0001.mp4"]])
def test_detect_finds_the_flow_images_of_videos_of_one_name_in_several_folders(
    flow: Flow, tmp_path: Path, inputs: list[str]
) -> None:
    for length, folder in enumerate(("cam1", "cam2"), start=3):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "0001.mp4", frames=length, width=64, height=48)
    paths = [tmp_path / each for each in inputs]
    weights, _ = small_checkpoint(tmp_path / "small.safetensors", "brox")

    assert flow(*paths, "-f", "brox", output=tmp_path / "images").exit_code == 0
    result = detect_with(weights, tmp_path / "images", tmp_path / "boxes", *paths)

    assert result.exit_code == 0, result.output
    tables = (path.read_text("utf-8") for path in (tmp_path / "boxes").glob("*.csv"))
    assert sorted(len(table.splitlines()) for table in tables) == [4, 5]


def test_flow_images_lie_in_a_folder_of_the_name_that_is_given(
    flow: Flow, video: Path, tmp_path: Path
) -> None:
    assert flow(video, "-f", "brox", "--name", "x").exit_code == 0
    assert len(names(tmp_path / "out/x")) == 4


@pytest.mark.skipif(os.name == "nt", reason="other permissions")
@pytest.mark.parametrize("output_format", ["mp4", "flo", "brox"])
def test_a_folder_that_cannot_be_written_ends_with_the_code_for_outputs(
    flow: Flow, video: Path, output_format: str
) -> None:
    result = flow(video, "-f", output_format, output=video / "below-a-file")
    assert result.exit_code == 6
    assert len(result.stderr.splitlines()) == 1


@contextmanager
def signals_heeded() -> Iterator[None]:
    """As the program does, even where whoever runs the tests has them ignore SIGINT."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    heed_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_an_interrupted_run_leaves_what_is_whole_under_partial_names(
    flow: Flow, video: Path, tmp_path: Path, network: KnownFlow
) -> None:
    def interrupt(*_: object) -> None:
        if len(network.seen) == 2:
            signal.raise_signal(signal.SIGINT)

    network.register_forward_hook(interrupt)
    with signals_heeded():
        result = flow(video, video.with_name("other.mp4"), "-f", "flo", "-f", "mp4")
    assert result.exit_code == 130
    assert "stopped early" in result.stdout
    assert names(tmp_path / "out") == [
        "clip.partial",
        "clip.partial.flow.meta.json",
        "clip.partial.flow.mp4",
        "clip.partial/000000.flo",
        "clip.partial/000001.flo",
        "tubedet.manifest.jsonl",
    ]


def test_videos_of_one_name_keep_apart_and_results_are_no_input(
    flow: Flow, video: Path, tmp_path: Path
) -> None:
    video.rename(tmp_path / "in.mp4")
    write_video(tmp_path / "in.avi", frames=2, width=64, height=48)
    for _ in range(2):
        result = flow(tmp_path, "--overwrite", output=tmp_path)
        assert result.exit_code == 0, result.output
    assert names(tmp_path) == [
        "in.avi",
        "in.avi.flow.meta.json",
        "in.avi.flow.mp4",
        "in.mp4",
        "in.mp4.flow.meta.json",
        "in.mp4.flow.mp4",
        "tubedet.manifest.jsonl",
    ]
