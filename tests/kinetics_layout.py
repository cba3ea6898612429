"""Videos laid out as Kinetics: a list, and files by its naming, linked and not copied."""

from collections.abc import Mapping, Sequence
from pathlib import Path

HEADER = "label,youtube_id,time_start,time_end,split"


def lay_out_as_kinetics(
    root: Path, videos: Mapping[str, Sequence[Path]], split: str = "train"
) -> Path:
    """Every video of a label becomes `root/<label>/<id>_000000_000010.mp4`."""
    root.mkdir(parents=True, exist_ok=True)
    rows = [HEADER]
    for label, paths in videos.items():
        (root / label).mkdir(exist_ok=True)
        for number, path in enumerate(paths):
            name = f"{label[:4]}{number:07}"
            link = root / label / f"{name}_000000_000010.mp4"
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
            rows.append(f"{label},{name},0,10,{split}")
    (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return root
