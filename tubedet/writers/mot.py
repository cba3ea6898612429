"""Rows as a sequence of MOT Challenge, as its tools, CVAT and Datumaro read it.

    STEM.mot/gt/gt.txt        frame, track, x, y, width, height, score, class, 1, -1
    STEM.mot/gt/labels.txt    the class numbered n is its n-th line
    STEM.mot/seqinfo.ini      size, rate, length

Frames, tracks, classes and pixels count from 1, as the challenge has it; the track of a box without
a tube is -1. The ninth column is the visible share, which nobody has looked at. Readers expect a
whole rate; the exact one is in the meta, behind the `;` of a comment.

Source: Milan et al., "MOT16: A Benchmark for Multi-Object Tracking", 2016, section 3.3.
"""

from fractions import Fraction

from tubedet.writers.from_rows import FolderFromRows, as_line, label_indices, text_file
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta

TABLE, LABELS, SEQUENCE = "gt/gt.txt", "gt/labels.txt", "seqinfo.ini"


class MotWriter(FolderFromRows):
    """STEM.mot/."""

    suffix = ".mot"
    own_files = (TABLE, LABELS, SEQUENCE)

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write the three files."""
        classes = label_indices(rows, meta)
        (self.path / "gt").mkdir()
        with text_file(self.path / TABLE) as file:
            for row in rows.rows():
                track = -1 if row.tube is None else row.tube + 1
                corner = f"{row.x1 + 1:.2f},{row.y1 + 1:.2f}"
                sides = f"{row.x2 - row.x1:.2f},{row.y2 - row.y1:.2f}"
                label = classes[row.label] + 1
                file.write(
                    f"{row.frame + 1},{track},{corner},{sides},{row.score:.4f},{label},1,-1\n"
                )
        with text_file(self.path / LABELS) as file:
            file.writelines(f"{as_line(label)}\n" for label in classes)
        told = meta.to_json(indent=None).replace("=", "\\u003d")  # Datumaro knows no comments
        with text_file(self.path / SEQUENCE) as file:
            file.write(
                f"[Sequence]\nname={as_line(self.target.stem)}\nimDir=img1\n"
                f"frameRate={round(Fraction(meta.fps))}\nseqLength={meta.decoded_frames}\n"
                f"imWidth={meta.width}\nimHeight={meta.height}\nimExt=.jpg\n"
                f"; tubedet {told}\n"
            )
