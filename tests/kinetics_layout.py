"""Videos laid out as Kinetics: a list, and files by its naming, linked and not copied."""

from pathlib import Path


def lay_out_as_kinetics(root: Path, videos: Path, *labels: str, split: str = "train") -> Path:
    """Every video in `videos/<label>/` becomes `root/<label>/<id>_000000_000010.mp4`."""
    root.mkdir(parents=True, exist_ok=True)
    rows = ["label,youtube_id,time_start,time_end,split"]
    for label in labels:
        (root / label).mkdir(exist_ok=True)
        for number, path in enumerate(sorted((videos / label).iterdir())):
            name = f"{label[:4]}{number:07}"
            link = root / label / f"{name}_000000_000010.mp4"
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())
            rows.append(f"{label},{name},0,10,{split}")
    (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return root
