"""Which kind of published weights a file holds, by its first bytes."""

from pathlib import Path

from tubedet.checkpoints.darknet_weights import HEADER_BYTES
from tubedet.checkpoints.flownet2_nvidia import LEGACY_START as FLOW_START
from tubedet.checkpoints.foreign_files import ZIP_START, opened_zip, refused_as
from tubedet.checkpoints.movinet_tflite import FILE_ID, FILE_ID_AT
from tubedet.errors import WeightsError


def kind_of(path: Path) -> str:
    """`flow`, `backbone`, or for VOC weights `darknet`, `h5` or `npz`.

    Raises:
        WeightsError: if the file cannot be read or is of another kind.
    """
    with refused_as(path, "published weights"):
        with path.open("rb") as file:
            start = file.read(len(FLOW_START))
        names = []
        if start.startswith(ZIP_START):
            with opened_zip(path) as archive:
                names = archive.namelist()
    if start == FLOW_START or any(name.endswith("/data.pkl") for name in names):
        return "flow"
    if any(name.endswith(".npy") for name in names):
        return "npz"
    if start[FILE_ID_AT:].startswith(FILE_ID):
        return "backbone"
    if start.startswith(b"\x89HDF"):
        return "h5"
    version = tuple(int.from_bytes(start[at : at + 4], "little") for at in (0, 4))
    if len(start) >= 8 and version in HEADER_BYTES:
        return "darknet"
    raise WeightsError(
        f"{path}: expected NVIDIA's FlowNet2 .pth.tar, Darknet's .weights, yolo2-pytorch's .h5 or "
        ".npz, or MoViNet's .tflite, found a file of another kind"
    )
