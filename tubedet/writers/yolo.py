"""Rows as labels for YOLO: one text file a frame, and the names of the classes.

    STEM.yolo/000000.txt    class, centre x, centre y, width, height of a box a line, in fractions
    STEM.yolo/data.yaml     the names of the classes, which are numbered from 0

Frames count from 0, as `ffmpeg -i VIDEO -start_number 0 STEM.yolo/%06d.jpg` puts them beside their
labels. A frame without a box has no file. Scores are left out: programs that train refuse them.
"""

import json
import re
from itertools import groupby

from tubedet.writers.from_rows import FolderFromRows, label_indices, text_file
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta

LABELS, NAMES = "[0-9]" * 6 + "*.txt", "data.yaml"
NO_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")  # to be spelled out in YAML


class YoloWriter(FolderFromRows):
    """STEM.yolo/."""

    suffix = ".yolo"
    own_files = (LABELS, NAMES)

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write a file a frame, and the names."""
        classes = label_indices(rows, meta)
        for frame, boxes in groupby(rows.rows(), lambda row: row.frame):
            with text_file(self.path / f"{frame:06d}.txt") as file:
                for row in boxes:
                    centre = (row.x1 + row.x2) / 2 / meta.width, (row.y1 + row.y2) / 2 / meta.height
                    sides = (row.x2 - row.x1) / meta.width, (row.y2 - row.y1) / meta.height
                    box = " ".join(f"{share:.6f}" for share in (*centre, *sides))
                    file.write(f"{classes[row.label]} {box}\n")
        with text_file(self.path / NAMES) as file:
            file.write(f"# tubedet {meta.to_json(indent=None)}\npath: .\ntrain: .\nval: .\n")
            file.write(f"nc: {len(classes)}\nnames:\n")
            file.writelines(f"  {index}: {_yaml(label)}\n" for label, index in classes.items())


def _yaml(text: str) -> str:
    """A double-quoted scalar."""
    quoted = json.dumps(text, ensure_ascii=False)
    return NO_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
