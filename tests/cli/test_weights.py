"""`tubedet weights import | export | show | verify`, on narrow twins of published files."""

import functools
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from tests.golden import PROJECT_ROOT
from tests.known_flow import KnownFlow
from tests.movinet_file import write_made_movinet
from tests.small_detector import small_config, small_network
from tests.synthetic_video import write_video
from tests.voc_files import HEADER_2016, NARROW, narrow_arrays, write_darknet_file
from tubedet.checkpoints import foreign_weights
from tubedet.checkpoints.catalog import sha256_of
from tubedet.checkpoints.native import (
    CheckpointHeader,
    load_partial,
    read_header,
    save_checkpoint,
)
from tubedet.cli.app import app
from tubedet.models.flownet2.stacks import FlowNet2SD
from tubedet.models.light.video_backbone import VideoBackbone

PUBLISHED = PROJECT_ROOT.parent / "shared/data/weights/movinet-a0-stream-int8.tflite"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command knows full width only."""
    narrowed = functools.partial(foreign_weights.import_weights, width=NARROW)
    monkeypatch.setattr(foreign_weights, "import_weights", narrowed)
    monkeypatch.setenv("COLUMNS", "250")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    torch.manual_seed(4)
    flow = tmp_path / "flow.pth.tar"
    torch.save({"state_dict": FlowNet2SD(width=NARROW).state_dict()}, flow)
    return [flow, write_darknet_file(tmp_path / "voc.weights", narrow_arrays(), HEADER_2016)]


def weights(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["weights", *map(str, arguments)])


def test_import_reports_what_it_read_and_what_is_missing(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "start.safetensors"
    result = weights("import", *files, "--preset", "flownet2-sd", "-o", output)
    assert result.exit_code == 0, result.output
    for file in files:
        assert f"{file}: SHA-256 {sha256_of(file)}, not a file known to tubedet" in result.stdout
    assert f"{output}: without fusion" in result.stdout
    assert f"tubedet train --preset flownet2-sd --init {output}" in result.stdout

    shown = weights("show", output)
    assert shown.exit_code == 0
    for fact in ("flownet2-sd", "none yet", sha256_of(output), "voc.weights", "LicenseRef-Darknet"):
        assert fact in shown.stdout
    assert f"{sum(t.numel() for t in FlowNet2SD(width=NARROW).parameters()):,}" in shown.stdout
    verified = weights("verify", output)
    assert verified.exit_code == 0
    assert f"without fusion, {60 + 2 * 126} tensors, SHA-256" in verified.stdout


def test_light_is_given_its_video_backbone(tmp_path: Path) -> None:
    file, output = write_made_movinet(tmp_path / "made.tflite"), tmp_path / "start.safetensors"
    result = weights("import", file, "--preset", "light", "-o", output)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{file}: SHA-256 {sha256_of(file)}, not a file known to tubedet; compare it with your "
        "source's",
        f"{output}: without flow, rgb_stream.fine, rgb_stream.coarse, rgb_stream.join, "
        "motion_stream, fusion, context_window",
        f"train first: tubedet train --video-backbone {output} …",
    ]
    shown = weights("show", output)
    count = sum(parameter.numel() for parameter in VideoBackbone().parameters())
    for fact in ("light", "256 px", "none yet", "Apache-2.0", "made.tflite", f"{count:,}"):
        assert fact in shown.stdout
    verified = weights("verify", output)
    assert verified.exit_code == 0
    assert f"context_window, {len(VideoBackbone().state_dict())} tensors" in verified.stdout


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"{PUBLISHED} is not here")
def test_the_published_backbone_is_called_by_its_name(tmp_path: Path) -> None:
    result = weights("import", PUBLISHED, "--preset", "light", "-o", tmp_path / "w")
    assert result.exit_code == 0, result.output
    assert f"SHA-256 {sha256_of(PUBLISHED)}, MoViNet-A0-Stream, Kinetics-600, int8" in result.stdout


def test_a_file_for_another_preset_is_refused_in_one_line(
    files: list[Path], tmp_path: Path
) -> None:
    backbone, output = write_made_movinet(tmp_path / "made.tflite"), tmp_path / "w"
    for preset in ("flownet2", "flownet2-css", "flownet2-sd", "brox"):
        refused = weights("import", backbone, "--preset", preset, "--allow-random", "-o", output)
        complaint = f"preset {preset} has no video backbone for {backbone}; take light"
        assert (refused.exit_code, refused.stderr) == (2, f"tubedet: {complaint}\n")
    for file in files:
        refused = weights("import", file, "--preset", "light", "-o", output)
        assert refused.exit_code == 4
        assert f"{file}: expected MoViNet-A0-Stream" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    both = weights("import", backbone, files[0], "--preset", "light", "-o", output)
    assert both.exit_code == 2
    assert "2 files for the video backbone" in both.stderr
    assert not output.exists()


def test_import_says_the_flow_of_a_known_shift_and_doubts_a_wrong_scale(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["import", *files, "-o", tmp_path / "w", "--overwrite", "--preset"]
    for u, is_right in ((2.125, True), (800.0, False)):
        answer = KnownFlow(u, 0.25)
        monkeypatch.setattr(foreign_weights.ImportedWeights, "flow", answer)
        result = weights(*arguments, "flownet2-sd")
        assert result.exit_code == 0, result.output
        words = f"moved 2 px to the right: u {u:.2f}, v 0.25 px (expected 2.00, 0.00)"
        assert words in result.stdout
        assert ("another --sd-scale (20 or 0.05)" in result.stderr) is not is_right
        assert answer.seen == [(256, 256)]
    monkeypatch.undo()


def test_import_takes_scale_and_upsampling(files: list[Path], tmp_path: Path) -> None:
    arguments = ["import", *files, "--preset", "flownet2-sd", "-o", tmp_path / "w"]
    assert weights(*arguments, "--sd-scale", "0.05", "--align-corners").exit_code == 0
    config = read_header(tmp_path / "w").config
    assert (config["sd_scale"], config["align_corners"]) == (0.05, True)
    refused = weights("import", files[1], "--preset", "brox", "--sd-scale", 1, "-o", tmp_path / "b")
    assert refused.exit_code == 2
    assert "SD scale 1.0: expected a positive number, for flownet2-sd alone" in refused.stderr


def test_detect_refuses_an_imported_file(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "start.safetensors"
    assert weights("import", *files, "--preset", "flownet2-sd", "-o", output).exit_code == 0
    video = write_video(tmp_path / "clip.mp4", frames=1, width=64, height=48)
    arguments = ["detect", str(video), "--weights", str(output), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 4
    assert "train first" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_parts_without_a_file_need_to_be_allowed(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "start.safetensors"
    arguments = ["import", files[1], "--preset", "flownet2-sd", "-o", output]
    refused = weights(*arguments)
    assert refused.exit_code == 4
    assert "found none of flow; give a file" in refused.stderr
    assert not output.exists()
    assert weights(*arguments, "--allow-random").exit_code == 0
    assert read_header(output).missing == ("flow", "fusion")


def test_a_damaged_file_ends_with_code_4_one_line_and_no_output(
    files: list[Path], tmp_path: Path
) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:-1])
    before = sorted(tmp_path.iterdir())
    for file in files:
        output = tmp_path / "start.safetensors"
        arguments = ["import", file, "--preset", "flownet2-sd", "--allow-random", "-o", output]
        result = weights(*arguments)
        assert result.exit_code == 4
        assert len(result.stderr.splitlines()) == 1
        assert str(file) in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_that_exists_is_kept_unless_told_otherwise(
    files: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "start.safetensors"
    output.write_bytes(b"mine")
    arguments = ["import", *files, "--preset", "flownet2-sd", "-o", output]
    refused = weights(*arguments)
    assert (refused.exit_code, output.read_bytes()) == (6, b"mine")
    assert weights(*arguments, "--overwrite").exit_code == 0
    assert read_header(output).missing == ("fusion",)


def test_export_writes_a_part_in_its_own_layout(files: list[Path], tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    weights("import", *files, "--preset", "flownet2-sd", "-o", start)
    flow, stream = tmp_path / "flow", tmp_path / "rgb.weights"
    for part, output in (("flow", flow), ("rgb", stream)):
        result = weights("export", start, "--part", part, "-o", output)
        assert result.exit_code == 0, result.output
        assert "space_to_depth" not in result.stderr
    again = tmp_path / "again.safetensors"
    assert weights("import", flow, stream, "--preset", "flownet2-sd", "-o", again).exit_code == 0
    before, after = (load_partial(path)[0] for path in (start, again))
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())


def test_export_writes_a_detector_for_others(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    config, checkpoint = small_config(), tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, small_network(config), CheckpointHeader(config=config.to_dict()))
    result = weights("export", checkpoint, "--to", "onnx", "-o", tmp_path / "graphs")
    assert result.exit_code == 0, result.output
    assert "pairs.onnx" in result.stdout
    assert (tmp_path / "graphs/pairs.onnx").stat().st_size > 10_000
    again = weights("export", checkpoint, "--to", "onnx", "-o", tmp_path / "graphs")
    assert again.exit_code == 6


@pytest.mark.parametrize("what", [(), ("--to", "onnx", "--part", "flow")])
def test_an_export_is_of_one_kind(what: tuple[str, ...], tmp_path: Path) -> None:
    result = weights("export", "light", *what, "-o", tmp_path / "x")
    assert result.exit_code == 2
    assert "give either --part flow, rgb or motion, or --to onnx" in result.stderr


def test_an_export_whose_order_is_not_darknets_says_so(files: list[Path], tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    arguments = ["import", files[1], "--preset", "brox", "--passthrough", "space_to_depth"]
    assert weights(*arguments, "-o", start).exit_code == 0
    result = weights("export", start, "--part", "motion", "-o", tmp_path / "m.weights")
    assert result.exit_code == 0
    assert "trained with space_to_depth" in result.stderr


def test_verify_goes_on_after_a_damaged_file(files: list[Path], tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    weights("import", *files, "--preset", "flownet2-sd", "-o", start)
    result = weights("verify", files[0], start)
    assert result.exit_code == 4
    assert "pickled PyTorch file" in result.stderr
    assert "1 of 2 checkpoints cannot be used" in result.stderr
    assert "without fusion" in result.stdout
