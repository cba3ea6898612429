"""Published weights to start from, as one partial checkpoint.

What a file is, its content says and not its name. VOC weights go into both streams: the motion
stream sees flow as an image of three channels (`motion_input.py`), so its first convolution takes
the weights of the RGB one as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from tubedet.checkpoints.catalog import sha256_of
from tubedet.checkpoints.darknet_weights import HEADER_BYTES, read_darknet
from tubedet.checkpoints.flownet2_nvidia import (
    LEGACY_START,
    outline_flownet2,
    read_flownet2,
)
from tubedet.checkpoints.flownet2_nvidia import LICENCE as FLOW_LICENCE
from tubedet.checkpoints.name_mapping import shapes_of
from tubedet.checkpoints.native import (
    ANY_HEAD,
    FUSED_HEAD,
    CheckpointHeader,
    lay_out,
)
from tubedet.checkpoints.voc_weights import STREAM_PARTS, VocWeights
from tubedet.checkpoints.yolo2_pytorch_h5 import read_h5
from tubedet.checkpoints.yolo2_pytorch_npz import read_npz
from tubedet.checkpoints.zip_directory import ZipError, opened_zip
from tubedet.errors import UsageError, WeightsError
from tubedet.models.presets import DetectorConfig, build_detector, build_flow
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.passthrough import PassthroughOrder

FLOW_NAMES = {
    "flownet2": "FlowNet2",
    "flownet2-css": "FlowNet2-CSS",
    "flownet2-sd": "FlowNet2-SD",
}
IMPORTABLE = (*FLOW_NAMES, "brox")
VOC_READERS = {"darknet": read_darknet, "h5": read_h5, "npz": read_npz}
# SHA-256 → name of published files: those whose hash we could learn without the file.
# Source: the Git LFS pointer in github.com/ranata/wts, whose size is this layout's to the byte.
KNOWN_FILES = {
    "9b8b4d2e15200d7be487c85d70e18c6be6fffbd1401e9b4eb48e8e0f585d1a1a": "darknet19_448.conv.23",
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


def import_weights(
    paths: Sequence[Path],
    preset: str,
    *,
    allow_random: bool = False,
    passthrough: PassthroughOrder | None = None,
    width: float = 1.0,
) -> ImportedWeights:
    """Read published weights into the parts of a preset that they are for.

    Args:
        paths: at most one file of FlowNet2 weights and one of YOLOv2 weights, in any order.
        preset: one of the paper's; its flow network is the file's.
        allow_random: leave parts out that no file is for; training draws them at random.
        passthrough: order of the folded channels; None: what the file's own program does.
        width: of narrow twins, for tests.

    Raises:
        UsageError: if there are two files for a part, or the preset has no such parts.
        WeightsError: if a file cannot be read or does not fit, or parts are left over.
    """
    if preset not in IMPORTABLE:
        raise UsageError(
            f"preset {preset}: published weights fit none of its parts; one of "
            f"{', '.join(IMPORTABLE)}"
        )
    kinds = {path: _kind_of(path) for path in paths}
    flow_path, voc_path = (
        _only([path for path, kind in kinds.items() if (kind == "flow") is is_flow], which)
        for is_flow, which in ((True, "the flow network"), (False, "the streams"))
    )
    config = DetectorConfig.from_dict({"preset": preset, "width": width, **ANY_HEAD})
    flow = _read_flow(flow_path, config) if flow_path else {}
    voc = VOC_READERS[kinds[voc_path]](voc_path, width) if voc_path else None
    if voc is not None:
        order = passthrough or voc.passthrough
        config = replace(config, darknet_layout=voc.layout, passthrough=order)
    network = lay_out(lambda: build_detector(config))
    tensors = {f"flow.{name}": tensor for name, tensor in flow.items()}
    # Copies: a checkpoint holds each stream, and training parts their ways.
    for part, is_copy in zip(STREAM_PARTS, (False, True), strict=True):
        for name, tensor in (voc.stream if voc else {}).items():
            tensors[f"{part}.{name}"] = tensor.clone() if is_copy else tensor
    missing = _missing_parts(network, tensors)
    _require_given(missing, paths, preset, allow_random)
    network.load_state_dict(tensors, assign=True, strict=False)
    files = tuple(_describe(path) for path in paths)
    return ImportedWeights(
        network=network,
        header=CheckpointHeader(
            config={**config.to_dict(), "class_names": [], "anchors_wh": []},
            source="; ".join(f"{file.path.name}, SHA-256 {file.sha256}" for file in files),
            licence=_licence(bool(flow), voc),
            missing=missing,
        ),
        files=files,
    )


def _kind_of(path: Path) -> str:
    """`flow`, or a key of `VOC_READERS`, by the first bytes of a file."""
    try:
        with path.open("rb") as file:
            start = file.read(len(LEGACY_START))
        if start.startswith(b"PK") and (kind := _kind_of_zip(path)):
            return kind
    except (OSError, ZipError) as error:
        raise WeightsError(f"{path}: expected published weights, found {error}") from error
    if start == LEGACY_START:
        return "flow"
    if start.startswith(b"\x89HDF"):
        return "h5"
    version = tuple(int.from_bytes(start[at : at + 4], "little") for at in (0, 4))
    if len(start) >= 8 and version in HEADER_BYTES:
        return "darknet"
    raise WeightsError(
        f"{path}: expected NVIDIA's FlowNet2 .pth.tar, Darknet's .weights, or yolo2-pytorch's .h5 "
        "or .npz, found a file of another kind"
    )


def _kind_of_zip(path: Path) -> str | None:
    with opened_zip(path) as archive:
        names = archive.namelist()
    ends = {"npz": ".npy", "flow": "/data.pkl"}
    return next((k for k, end in ends.items() if any(n.endswith(end) for n in names)), None)


def _only(paths: list[Path], which: str) -> Path | None:
    if len(paths) > 1:
        raise UsageError(f"{len(paths)} files for {which}: {', '.join(map(str, paths))}; give one")
    return paths[0] if paths else None


def _read_flow(path: Path, config: DetectorConfig) -> dict[str, Tensor]:
    if config.preset not in FLOW_NAMES:
        raise UsageError(f"preset {config.preset} has no flow network for {path}")
    found = outline_flownet2(path)
    for preset, name in FLOW_NAMES.items():
        expected = _flow_outline(replace(config, preset=preset))
        if preset == config.preset:
            wanted = expected
        elif found == shapes_of(expected):
            raise WeightsError(
                f"{path}: expected {FLOW_NAMES[config.preset]} for preset {config.preset}, found "
                f"{name}; take --preset {preset}"
            )
    return read_flownet2(path, wanted, FLOW_NAMES[config.preset])


def _flow_outline(config: DetectorConfig) -> dict[str, Tensor]:
    flow = lay_out(lambda: build_flow(config))
    assert flow is not None
    return flow.state_dict()


def _missing_parts(network: TwoStreamDetector, tensors: dict[str, Tensor]) -> tuple[str, ...]:
    """The largest parts of which no tensor is given."""
    missing: list[str] = []
    for part, module in network.named_children():
        absent = [name for name, _ in module.named_children() if not _has(tensors, part, name)]
        if not any(name.startswith(f"{part}.") for name in tensors):
            missing.append(part)
        else:
            with_state = (name for name in absent if module.get_submodule(name).state_dict())
            missing += [f"{part}.{name}" for name in with_state]
    return tuple(missing)


def _has(tensors: dict[str, Tensor], part: str, name: str) -> bool:
    return any(tensor.startswith(f"{part}.{name}.") for tensor in tensors)


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


def _describe(path: Path) -> ForeignFile:
    sha256 = sha256_of(path)
    return ForeignFile(path=path, sha256=sha256, known_as=KNOWN_FILES.get(sha256))


def _licence(has_flow: bool, voc: VocWeights | None) -> str | None:
    parts = [FLOW_LICENCE] * has_flow + ([voc.licence] if voc else [])
    return " AND ".join(parts) or None
