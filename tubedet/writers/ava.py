"""Rows as AVA annotates actions: keyframes in seconds, boxes in fractions of the frame.

    STEM.ava/ava.csv              video, seconds, x1, y1, x2, y2, action, person; no header
    STEM.ava/action_list.pbtxt    the names of the actions, which are numbered from 1
    STEM.ava/classes.txt          the same, one a line, as `tubedet train --data ava:` reads them

`video` is without what tells its format; seconds are the frame's own; the person is the tube.

Source: Gu et al., "AVA: A Video Dataset of Spatio-temporally Localized Atomic Visual Actions",
2018, and the files that its challenge gives out.
"""

import csv
import json
from pathlib import PurePosixPath

from tubedet.writers.from_rows import FolderFromRows, as_line, label_indices, text_file
from tubedet.writers.row_store import RowStore, spelled_out
from tubedet.writers.run_meta import RunMeta

TABLE, ACTIONS, CLASSES = "ava.csv", "action_list.pbtxt", "classes.txt"


class AvaWriter(FolderFromRows):
    """STEM.ava/."""

    suffix = ".ava"
    own_files = (TABLE, ACTIONS, CLASSES)

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write the three files."""
        actions = label_indices(rows, meta)
        name = spelled_out(PurePosixPath(self.target.video).with_suffix("").as_posix())
        sides = (meta.width, meta.height) * 2
        with text_file(self.path / TABLE) as file:
            table = csv.writer(file, lineterminator="\n")
            for row in rows.rows():
                box = (f"{edge / side:.6f}" for edge, side in zip(row[-4:], sides, strict=True))
                tube = "" if row.tube is None else row.tube
                table.writerow((name, f"{row.time_s:.6f}", *box, actions[row.label] + 1, tube))
        with text_file(self.path / ACTIONS) as file:
            file.write(f"# tubedet {meta.to_json(indent=None)}\n")
            file.writelines(
                f"item {{\n  name: {json.dumps(label, ensure_ascii=False)}\n  id: {index + 1}\n}}\n"
                for label, index in actions.items()
            )
        with text_file(self.path / CLASSES) as file:
            file.writelines(f"{as_line(label)}\n" for label in actions)
