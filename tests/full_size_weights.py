"""Start weights of full size in their published layouts, made by the golden rule."""

from collections import OrderedDict
from pathlib import Path

import torch

from tests.golden import golden_tensor, reference_json
from tests.old_checkpoints import save_as
from tests.voc_files import HEADER_2016, golden_arrays, write_darknet_file

KEYS_OF = {
    "flownet2": "flownet2_keys.json",
    "flownet2-css": "flownet2css_keys.json",
    "flownet2-sd": "flownet2sd_keys.json",
}


def write_voc(folder: Path) -> Path:
    """Darknet's YOLOv2-VOC of 2016."""
    return write_darknet_file(folder / "yolo-voc.weights", golden_arrays("direct"), HEADER_2016)


def write_flow(folder: Path, preset: str) -> Path:
    """NVIDIA's checkpoint of a preset's flow network, in the layout of its time."""
    keys = reference_json(KEYS_OF[preset])
    state = OrderedDict(
        (key, torch.from_numpy(golden_tensor(key, tuple(keys["shapes"][key]))))
        for key in keys["order_in_checkpoint"]
    )
    content = {"epoch": 0, "state_dict": state, "best_EPE": 1e10}
    return save_as("v1 py2 legacy", content, folder / f"{preset}_checkpoint.pth.tar")
