"""Published weights as a start: which parts they fill, and what is done with the result."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.movinet_file import write_made_movinet
from tests.voc_files import (
    HEADER_2016,
    NARROW,
    backbone_of,
    narrow_arrays,
    write_darknet_file,
    write_h5_file,
    write_npz_file,
)
from tubedet.checkpoints import foreign_weights
from tubedet.checkpoints.catalog import sha256_of
from tubedet.checkpoints.flownet2_nvidia import read_flownet2
from tubedet.checkpoints.foreign_exports import export_flow, export_stream
from tubedet.checkpoints.foreign_weights import import_weights
from tubedet.checkpoints.movinet_tflite import load_video_backbone
from tubedet.checkpoints.native import (
    CheckpointHeader,
    load_checkpoint,
    load_flow,
    load_partial,
    save_checkpoint,
)
from tubedet.errors import OutputError, UsageError, WeightsError
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD
from tubedet.models.light.video_backbone import VideoBackbone
from tubedet.models.presets import PaperConfig, build_detector, config_from_dict

NETWORKS = {"flownet2": FlowNet2, "flownet2-css": FlowNet2CSS, "flownet2-sd": FlowNet2SD}


@pytest.fixture
def flow_file(tmp_path: Path) -> Path:
    return write_flow(tmp_path / "FlowNet2-SD_checkpoint.pth.tar", "flownet2-sd")


@pytest.fixture
def voc_file(tmp_path: Path) -> Path:
    return write_darknet_file(tmp_path / "yolo-voc.weights", narrow_arrays(), HEADER_2016)


@pytest.fixture
def movinet_file(tmp_path: Path) -> Path:
    return write_made_movinet(tmp_path / "made.tflite")


def write_flow(path: Path, preset: str) -> Path:
    torch.manual_seed(4)
    state = NETWORKS[preset](width=NARROW).state_dict()
    content = {"epoch": 0, "state_dict": state, "best_EPE": 1e10}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def imported(
    output: Path, *files: Path, preset: str = "flownet2-sd", allow_random: bool = False
) -> tuple[dict[str, Tensor], CheckpointHeader]:
    weights = import_weights(files, preset, allow_random=allow_random, width=NARROW)
    save_checkpoint(output, weights.network, weights.header)
    return load_partial(output)


def test_both_files_fill_all_but_the_fused_head_in_any_order(
    flow_file: Path, voc_file: Path, tmp_path: Path
) -> None:
    tensors, header = imported(tmp_path / "w", voc_file, flow_file)
    assert header.missing == ("fusion",)
    assert (header.config["class_names"], header.config["anchors_wh"]) == ([], [])
    assert header.config["passthrough"] == "darknet"
    assert f"yolo-voc.weights, SHA-256 {sha256_of(voc_file)}" in (header.source or "")
    assert header.licence == "LicenseRef-FlowNet2-research-only AND LicenseRef-Darknet"
    arrays = narrow_arrays()
    for part in ("rgb_stream", "motion_stream"):  # the first convolution of both included
        kernel = tensors[f"{part}.conv1s.0.0.conv.weight"].numpy()
        assert (kernel == arrays["conv1s.0.0.conv.weight"]).all()
    state = torch.load(flow_file, weights_only=True)["state_dict"]
    assert all(torch.equal(tensors[f"flow.{name}"], tensor) for name, tensor in state.items())
    config = PaperConfig(
        preset="flownet2-sd", class_names=("a",), anchors_wh=((1, 1),), width=NARROW
    )
    names = [n for n in build_detector(config).state_dict() if not n.startswith("fusion")]
    assert list(tensors) == names


@pytest.mark.parametrize("preset", NETWORKS)
def test_the_flow_network_of_every_preset_is_read_alone(preset: str, tmp_path: Path) -> None:
    path = write_flow(tmp_path / "any-name", preset)
    with pytest.raises(WeightsError, match="none of rgb_stream, motion_stream; give a file"):
        imported(tmp_path / "w", path, preset=preset)
    _, header = imported(tmp_path / "w", path, preset=preset, allow_random=True)
    assert header.missing == ("rgb_stream", "motion_stream", "fusion")
    clip = 255 * torch.rand(1, 3, 2, 64, 64)
    torch.manual_seed(4)
    expected = NETWORKS[preset](width=NARROW)(clip)
    torch.testing.assert_close(load_flow(tmp_path / "w")[0](clip), expected)


def test_a_file_of_another_preset_is_called_by_its_name(tmp_path: Path) -> None:
    path = write_flow(tmp_path / "w.tar", "flownet2-css")
    with pytest.raises(WeightsError, match="found FlowNet2-CSS; take --preset flownet2-css"):
        imported(tmp_path / "w", path, allow_random=True)


def test_networks_that_the_paper_does_not_use_are_refused_by_name(tmp_path: Path) -> None:
    stack = FlowNet2CSS(width=NARROW)
    whole = stack.state_dict()
    parts = {
        "FlowNet2-C": stack.flownetc.state_dict(),
        "FlowNet2-S": stack.flownets_1.state_dict(),
        "FlowNet2-CS": {n: t for n, t in whole.items() if not n.startswith("flownets_2.")},
    }
    for name, state in parts.items():
        torch.save({"state_dict": state}, tmp_path / "w.tar")
        complaint = f"found {name}, which the paper does not use; get FlowNet2-SD_checkpoint"
        with pytest.raises(WeightsError, match=complaint):
            import_weights([tmp_path / "w.tar"], "flownet2-sd", width=NARROW)


def test_the_scale_and_the_upsampling_of_flow_can_be_given(flow_file: Path, tmp_path: Path) -> None:
    clip = 255 * torch.rand(1, 3, 2, 64, 64)
    imported(tmp_path / "plain", flow_file, allow_random=True)
    options: dict[str, Any] = {"sd_scale": 0.05, "align_corners": True}
    weights = import_weights([flow_file], "flownet2-sd", allow_random=True, width=NARROW, **options)
    save_checkpoint(tmp_path / "w", weights.network, weights.header)
    assert {name: weights.header.config[name] for name in options} == options
    torch.manual_seed(4)
    expected = FlowNet2SD(width=NARROW, sd_scale=20.0, align_corners=True)(clip)
    torch.testing.assert_close(load_flow(tmp_path / "w")[0](clip) * 400, expected)
    assert not torch.allclose(load_flow(tmp_path / "plain")[0](clip), expected)


@pytest.mark.parametrize(
    ("preset", "options", "complaint"),
    [
        ("flownet2", {"sd_scale": 20.0}, r"SD scale 20\.0: expected a positive number, for flown"),
        ("flownet2-sd", {"sd_scale": 0.0}, r"SD scale 0\.0: expected a positive number"),
        ("flownet2-sd", {"sd_scale": float("inf")}, "SD scale inf: expected a positive number"),
        ("flownet2-sd", {"sd_scale": float("nan")}, "SD scale nan: expected a positive number"),
        ("brox", {"align_corners": True}, "align corners: preset brox takes no published flow"),
        ("light", {"align_corners": True}, "align corners: preset light takes no published flow"),
        ("light", {"sd_scale": 20.0}, r"SD scale 20\.0: expected a positive number, for flown"),
        ("light", {"passthrough": "darknet"}, "passthrough darknet: preset light has none"),
    ],
)
def test_an_option_that_means_nothing_is_a_usage_error(
    preset: str, options: dict[str, Any], complaint: str, flow_file: Path
) -> None:
    with pytest.raises(UsageError, match=complaint):
        import_weights([flow_file], preset, width=NARROW, **options)


def test_a_backbone_leaves_the_rest_of_both_streams_open(tmp_path: Path) -> None:
    backbone = backbone_of(narrow_arrays())
    path = write_darknet_file(tmp_path / "darknet19_448.conv.23", backbone, HEADER_2016)
    with pytest.raises(WeightsError, match=r"none of rgb_stream\.conv3, rgb_stream\.conv4, motion"):
        imported(tmp_path / "w", path, preset="brox")
    _, header = imported(tmp_path / "w", path, preset="brox", allow_random=True)
    streams = ("rgb_stream", "motion_stream")
    rest = [f"{stream}.{part}" for stream in streams for part in ("conv3", "conv4")]
    assert header.missing == (*rest, "fusion")
    assert header.config["passthrough"] == "space_to_depth"


def test_yolo2_pytorchs_files_and_todays_layout_are_recognised(tmp_path: Path) -> None:
    direct, conv64 = narrow_arrays(), narrow_arrays("conv64")
    for path, layout, order in (
        (write_h5_file(tmp_path / "1", direct), "direct", "space_to_depth"),
        (write_npz_file(tmp_path / "2", direct), "direct", "space_to_depth"),
        (write_darknet_file(tmp_path / "3", conv64), "conv64", "darknet"),
    ):
        tensors, header = imported(tmp_path / "w", path, preset="brox")
        assert (header.config["darknet_layout"], header.config["passthrough"]) == (layout, order)
        assert header.missing == ("fusion",)
        assert ("rgb_stream.passthrough.conv.weight" in tensors) is (layout == "conv64")


def test_the_order_of_the_passthrough_can_be_given(voc_file: Path) -> None:
    weights = import_weights([voc_file], "brox", passthrough="space_to_depth", width=NARROW)
    assert weights.header.config["passthrough"] == "space_to_depth"


def test_two_files_for_a_part_or_a_preset_without_it_are_a_usage_error(
    flow_file: Path, voc_file: Path
) -> None:
    for files, preset, complaint in (
        ([voc_file, voc_file.with_name("other")], "brox", "2 files for the streams"),
        ([flow_file], "brox", "preset brox has no flow network"),
        ([voc_file, flow_file], "light", "2 files for the video backbone"),
        ([], "light", "preset light: expected the file of its video backbone, found none"),
        ([voc_file], "yolov9", "preset yolov9: published weights fit none"),
    ):
        voc_file.with_name("other").write_bytes(voc_file.read_bytes())
        with pytest.raises(UsageError, match=complaint):
            import_weights(files, preset, width=NARROW)


def test_light_takes_its_video_backbone_and_leaves_the_rest_open(
    movinet_file: Path, tmp_path: Path
) -> None:
    tensors, header = imported(tmp_path / "w", movinet_file, preset="light")
    backbone = VideoBackbone()
    load_video_backbone(movinet_file, backbone)
    expected = {f"rgb_stream.backbone.{name}": t for name, t in backbone.state_dict().items()}
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())
    streams = [f"rgb_stream.{part}" for part in ("fine", "coarse", "join")]
    assert header.missing == ("flow", *streams, "motion_stream", "fusion", "context_window")
    assert header.config == {
        "preset": "light",
        "class_names": [],
        "anchors_wh": [],
        "input_size": 256,
        "flow_size": 192,
        "dropout": 0.0,
    }
    assert header.source == f"made.tflite, SHA-256 {sha256_of(movinet_file)}"
    assert header.licence == "Apache-2.0"
    weights = import_weights([movinet_file], "light")
    assert weights.flow is None
    assert [file.known_as for file in weights.files] == [None]


def test_light_takes_no_other_file(flow_file: Path, voc_file: Path) -> None:
    for path in (flow_file, voc_file):
        with pytest.raises(WeightsError, match=f"{path}: expected MoViNet-A0-Stream.*another kind"):
            import_weights([path], "light")


@pytest.mark.parametrize("preset", [*NETWORKS, "brox"])
def test_a_video_backbone_is_for_light_alone(
    preset: str, movinet_file: Path, voc_file: Path
) -> None:
    for files in ([movinet_file], [voc_file, movinet_file]):
        complaint = f"preset {preset} has no video backbone for {movinet_file}; take light"
        with pytest.raises(UsageError, match=complaint):
            import_weights(files, preset, width=NARROW)


def test_an_archive_with_an_unreadable_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w", "w") as archive:
        archive.writestr("é.npy", b"")  # flagged as UTF-8
    (tmp_path / "w").write_bytes((tmp_path / "w").read_bytes().replace("é".encode(), b"\x80\x80"))
    with pytest.raises(WeightsError, match=r"w: expected published weights, found 'utf-8' codec"):
        import_weights([tmp_path / "w"], "brox", width=NARROW)


@pytest.mark.parametrize("content", [None, b"", b"hello, these are no weights", b"PK\x03\x04"])
def test_a_file_of_another_kind_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match=r"w: expected (NVIDIA|published)"):
        import_weights([tmp_path / "w"], "brox", width=NARROW)


def test_a_known_file_is_called_by_its_name(
    voc_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unknown,) = import_weights([voc_file], "brox", width=NARROW).files
    monkeypatch.setattr(foreign_weights, "KNOWN_FILES", {sha256_of(voc_file): "a published one"})
    (known,) = import_weights([voc_file], "brox", width=NARROW).files
    assert (unknown.known_as, known.known_as) == (None, "a published one")


def test_a_partial_file_is_no_detector_and_says_what_to_do(
    flow_file: Path, voc_file: Path, tmp_path: Path
) -> None:
    imported(tmp_path / "w", flow_file, voc_file)
    with pytest.raises(
        WeightsError, match="without fusion; train first: tubedet train --preset flownet2-sd --init"
    ):
        load_checkpoint(tmp_path / "w")


def test_flow_is_loaded_from_a_whole_checkpoint_and_missed_where_there_is_none(
    voc_file: Path, tmp_path: Path
) -> None:
    clip = 255 * torch.rand(1, 3, 2, 64, 64)
    for preset in ("flownet2-css", "light"):
        config = config_from_dict(
            {"preset": preset, "class_names": "a", "anchors_wh": [(1, 1)], "width": NARROW}
        )
        network = build_detector(config).eval()
        save_checkpoint(tmp_path / "w", network, CheckpointHeader(config=config.to_dict()))
        flow, header = load_flow(tmp_path / "w")
        assert network.flow is not None
        inner = network.flow.get_submodule("network") if preset == "light" else network.flow
        loaded, expected = flow.state_dict(), inner.state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], expected[name]) for name in loaded)
        # In double: where tensors lie in memory changes the order of sums.
        of_file, of_network = flow.double()(clip.double()), inner.double()(clip.double())
        torch.testing.assert_close(of_file, of_network)
        assert (header.config["preset"], flow.training) == (preset, False)
    imported(tmp_path / "w", voc_file, allow_random=True)
    with pytest.raises(WeightsError, match="expected a flow network, found none"):
        load_flow(tmp_path / "w")
    imported(tmp_path / "w", voc_file, preset="brox")
    with pytest.raises(WeightsError, match="preset brox"):
        load_flow(tmp_path / "w")


@pytest.mark.parametrize("layout", ["direct", "conv64"])
@pytest.mark.parametrize("part", ["rgb_stream", "motion_stream"])
def test_a_stream_is_exported_as_it_came_but_for_its_head(
    layout: str, part: str, tmp_path: Path
) -> None:
    arrays = narrow_arrays("conv64" if layout == "conv64" else "direct")
    source = write_darknet_file(tmp_path / "in", arrays).read_bytes()
    imported(tmp_path / "w", tmp_path / "in", preset="brox")
    assert export_stream(tmp_path / "w", part, tmp_path / "out") == "darknet"
    exported = (tmp_path / "out").read_bytes()
    head = 4 * (arrays["conv5.conv.weight"].size + 125)
    assert exported[20:] == source[20:-head]  # behind the count of images


def test_a_backbone_is_exported_as_it_came(tmp_path: Path) -> None:
    source = write_darknet_file(tmp_path / "in", backbone_of(narrow_arrays())).read_bytes()
    imported(tmp_path / "w", tmp_path / "in", preset="brox", allow_random=True)
    assert export_stream(tmp_path / "w", "rgb_stream", tmp_path / "out") is None
    assert (tmp_path / "out").read_bytes()[20:] == source[20:]


def test_the_flow_network_is_exported_as_it_came(flow_file: Path, tmp_path: Path) -> None:
    imported(tmp_path / "w", flow_file, allow_random=True)
    export_flow(tmp_path / "w", tmp_path / "out")
    before, after = (
        torch.load(path, weights_only=True)["state_dict"] for path in (flow_file, tmp_path / "out")
    )
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert read_flownet2(tmp_path / "out", before, "FlowNet2-SD").keys() == before.keys()


def test_light_has_no_stream_of_darknet_19_to_export(movinet_file: Path, tmp_path: Path) -> None:
    imported(tmp_path / "w", movinet_file, preset="light")
    for part in ("rgb_stream", "motion_stream"):
        with pytest.raises(WeightsError, match=f"expected a {part} of Darknet-19, found none"):
            export_stream(tmp_path / "w", part, tmp_path / "out")
    with pytest.raises(WeightsError, match="expected a flow network, found none"):
        export_flow(tmp_path / "w", tmp_path / "out")
    with pytest.raises(WeightsError, match="train first: tubedet train --preset light --init"):
        load_checkpoint(tmp_path / "w")
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_cannot_be_exported(flow_file: Path, tmp_path: Path) -> None:
    imported(tmp_path / "w", flow_file, allow_random=True)
    with pytest.raises(WeightsError, match="expected a rgb_stream of Darknet-19, found none"):
        export_stream(tmp_path / "w", "rgb_stream", tmp_path / "out")
    with pytest.raises(OutputError, match="could not be written"):
        export_flow(tmp_path / "w", tmp_path / "absent" / "out")
    assert not (tmp_path / "out").exists()
