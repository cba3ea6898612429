"""Published weights to start from, as one partial checkpoint.

Files are recognised by their content, not by their names. In the paper's networks, VOC weights go
into both streams: the motion stream's input is flow as an image of three channels
(`motion_stream.py`), so its first convolution takes the weights of the RGB one as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tubedet.checkpoints.catalog import sha256_of
from tubedet.checkpoints.darknet_weights import read_darknet
from tubedet.checkpoints.flownet2_nvidia import LICENCE as FLOW_LICENCE
from tubedet.checkpoints.flownet2_nvidia import network_of, outline_flownet2, read_flownet2
from tubedet.checkpoints.foreign_kinds import kind_of
from tubedet.checkpoints.movinet_tflite import LICENCE as BACKBONE_LICENCE
from tubedet.checkpoints.movinet_tflite import SHA256 as BACKBONE_SHA256
from tubedet.checkpoints.movinet_tflite import load_video_backbone
from tubedet.checkpoints.native import ANY_HEAD, FUSED_HEAD, CheckpointHeader, lay_out
from tubedet.checkpoints.voc_weights import HEAD
from tubedet.checkpoints.yolo2_pytorch import read_h5, read_npz
from tubedet.errors import UsageError, WeightsError
from tubedet.models.light.detector import VIDEO_BACKBONE
from tubedet.models.light.video_backbone import VideoBackbone
from tubedet.models.presets import (
    DetectorConfig,
    PaperConfig,
    build_detector,
    build_flow,
    config_from_dict,
)
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.passthrough import PassthroughOrder

STREAM_PARTS = ("rgb_stream", "motion_stream")  # of a detector: both take the VOC weights
NETWORK_OF = {
    "flownet2": "FlowNet2",
    "flownet2-css": "FlowNet2-CSS",  # and -CSS-ft-sd: the same tensors, trained longer
    "flownet2-sd": "FlowNet2-SD",
}
PRESET_OF = {network: preset for preset, network in NETWORK_OF.items()}
SCALED = "flownet2-sd"  # the preset whose flow has a scale to choose
IMPORTABLE = (*NETWORK_OF, "brox", "light")
VOC_READERS = {"darknet": read_darknet, "h5": read_h5, "npz": read_npz}
# SHA-256 → name of published files: those whose hash we could learn without the file.
# Source: the Git LFS pointer in github.com/ranata/wts, whose size is this layout's to the byte.
KNOWN_FILES = {
    "9b8b4d2e15200d7be487c85d70e18c6be6fffbd1401e9b4eb48e8e0f585d1a1a": "darknet19_448.conv.23",
    BACKBONE_SHA256: "MoViNet-A0-Stream, Kinetics-600, int8",
}


@dataclass(frozen=True, kw_only=True)
class ForeignFile:
    """One imported file.

    Attributes:
        path: where it was.
        sha256: of its bytes.
        known_as: the published file with these bytes; None if we do not know them.
    """

    path: Path
    sha256: str
    known_as: str | None


@dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """A network with the imported parts, the others on `meta`, and what `save_checkpoint` needs."""

    network: TwoStreamDetector
    header: CheckpointHeader
    files: tuple[ForeignFile, ...]

    @property
    def flow(self) -> nn.Module | None:
        """The flow network, if a file gave one."""
        return None if "flow" in self.header.missing else self.network.flow


def import_weights(
    paths: Sequence[Path],
    preset: str,
    *,
    allow_random: bool = False,
    passthrough: PassthroughOrder | None = None,
    sd_scale: float | None = None,
    align_corners: bool = False,
    width: float = 1.0,
) -> ImportedWeights:
    """Read published weights into the parts of a preset that they are for.

    Args:
        paths: at most one file of FlowNet2 weights and one of YOLOv2 weights, in any order; for
            `light` the one of its video backbone.
        preset: one of the paper's, whose flow network is the file's, or `light`.
        allow_random: leave parts out that no file is for; training draws them at random.
        passthrough: order of the folded channels; None: what the file's own program does.
        sd_scale: of FlowNet2-SD; None: as in NVIDIA's class.
        align_corners: of FlowNet2's bilinear upsampling.
        width: factor on hidden channels, for tests.

    Raises:
        UsageError: if there are two files for a part, or the preset has no such parts.
        WeightsError: if a file cannot be read or does not fit, or there is none for a part.
    """
    _require_options(preset, passthrough, sd_scale, align_corners)
    kinds = {path: kind_of(path) for path in paths}
    if preset == "light":
        return _import_backbone(_only(list(paths), "the video backbone"))
    for path, kind in kinds.items():
        if kind == "backbone":
            raise UsageError(f"preset {preset} has no video backbone for {path}; take light")
    flow_path = _only([p for p, kind in kinds.items() if kind == "flow"], "the flow network")
    voc_path = _only([p for p, kind in kinds.items() if kind != "flow"], "the streams")
    settings: dict[str, Any] = {"preset": preset, "align_corners": align_corners, "width": width}
    if sd_scale is not None:
        settings["sd_scale"] = sd_scale
    config = config_from_dict({**settings, **ANY_HEAD})
    assert isinstance(config, PaperConfig)
    flow = _read_flow(flow_path, config) if flow_path else {}
    voc = VOC_READERS[kinds[voc_path]](voc_path, width) if voc_path else None
    if voc is not None:
        order = passthrough or voc.passthrough
        config = replace(config, darknet_layout=voc.layout, passthrough=order)
    tensors = {f"flow.{name}": tensor for name, tensor in flow.items()}
    stream = voc.tensors if voc else {}
    stream = {name: tensor for name, tensor in stream.items() if not name.startswith(HEAD)}
    # Copies: a checkpoint holds each stream, and training parts their ways.
    for part, is_copy in zip(STREAM_PARTS, (False, True), strict=True):
        for name, tensor in stream.items():
            tensors[f"{part}.{name}"] = tensor.clone() if is_copy else tensor
    licences = [FLOW_LICENCE] * bool(flow) + ([voc.licence] if voc else [])
    weights = _assembled(config, tensors, paths, " AND ".join(licences) or None)
    _require_given(weights.header.missing, paths, preset, allow_random)
    return weights


def _import_backbone(path: Path | None) -> ImportedWeights:
    """All of `light` that anybody has published; the rest is trained."""
    if path is None:
        raise UsageError("preset light: expected the file of its video backbone, found none")
    backbone = VideoBackbone()
    load_video_backbone(path, backbone)
    tensors = {f"{VIDEO_BACKBONE}.{name}": each for name, each in backbone.state_dict().items()}
    config = config_from_dict({"preset": "light", **ANY_HEAD})
    return _assembled(config, tensors, [path], BACKBONE_LICENCE)


def _assembled(
    config: DetectorConfig, tensors: dict[str, Tensor], paths: Sequence[Path], licence: str | None
) -> ImportedWeights:
    """The network with these tensors, and a header that says where they are from."""
    network = lay_out(lambda: build_detector(config))
    network.load_state_dict(tensors, assign=True, strict=False)
    files = tuple(_described(path) for path in paths)
    header = CheckpointHeader(
        config={**config.to_dict(), "class_names": [], "anchors_wh": []},
        source="; ".join(f"{file.path.name}, SHA-256 {file.sha256}" for file in files),
        licence=licence,
        missing=_missing_parts(network, tensors),
    )
    return ImportedWeights(network=network, header=header, files=files)


def _require_options(
    preset: str,
    passthrough: PassthroughOrder | None,
    sd_scale: float | None,
    align_corners: bool,
) -> None:
    if preset not in IMPORTABLE:
        raise UsageError(
            f"preset {preset}: published weights fit none of its parts; one of "
            f"{', '.join(IMPORTABLE)}"
        )
    if passthrough is not None and preset == "light":
        raise UsageError(f"passthrough {passthrough}: preset light has none")
    if sd_scale is not None and not (preset == SCALED and isfinite(sd_scale) and sd_scale > 0):
        raise UsageError(f"SD scale {sd_scale}: expected a positive number, for {SCALED} alone")
    if align_corners and preset not in NETWORK_OF:
        raise UsageError(f"align corners: preset {preset} takes no published flow network")


def _only(paths: list[Path], which: str) -> Path | None:
    if len(paths) > 1:
        raise UsageError(f"{len(paths)} files for {which}: {', '.join(map(str, paths))}; give one")
    return paths[0] if paths else None


def _read_flow(path: Path, config: PaperConfig) -> dict[str, Tensor]:
    wanted = NETWORK_OF.get(config.preset)
    if wanted is None:
        raise UsageError(f"preset {config.preset} has no flow network for {path}")
    found = network_of(outline_flownet2(path))
    if found not in (wanted, None):
        remedy = (
            f"; take --preset {PRESET_OF[found]}"
            if found in PRESET_OF
            else f", which the paper does not use; get {wanted}_checkpoint.pth.tar"
        )
        raise WeightsError(
            f"{path}: expected {wanted} for preset {config.preset}, found {found}{remedy}"
        )
    flow = lay_out(lambda: build_flow(config))
    assert flow is not None
    return read_flownet2(path, flow.state_dict(), wanted)


def _missing_parts(network: TwoStreamDetector, tensors: dict[str, Tensor]) -> tuple[str, ...]:
    """The largest parts of which no tensor is given."""

    def given(part: str) -> bool:
        return any(name.startswith(f"{part}.") for name in tensors)

    missing: list[str] = []
    for part, module in network.named_children():
        if given(part):
            inner = (f"{part}.{n}" for n, child in module.named_children() if child.state_dict())
            missing += [name for name in inner if not given(name)]
        else:
            missing.append(part)
    return tuple(missing)


def _require_given(
    missing: tuple[str, ...], paths: Sequence[Path], preset: str, allow_random: bool
) -> None:
    absent = [part for part in missing if part != FUSED_HEAD]
    if absent and not allow_random:
        names = ", ".join(str(path) for path in paths)
        raise WeightsError(
            f"{names}: expected weights of every part of {preset} but the fused head, found none "
            f"of {', '.join(absent)}; give a file for them, or --allow-random to train them from "
            "random values"
        )


def _described(path: Path) -> ForeignFile:
    sha256 = sha256_of(path)
    return ForeignFile(path=path, sha256=sha256, known_as=KNOWN_FILES.get(sha256))
