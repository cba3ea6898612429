"""`tubedet status`: what became of the videos of a job, and what is left to do."""

import json
from dataclasses import asdict
from typing import Annotated, Any

from typer import Argument, Option

from tubedet.cli.console import complain, mention, say, show_table
from tubedet.errors import UsageError

NAMED = 10  # videos that are left, without --json
TO_DO = ("partial", "waiting", "failed")
CALLED = {"partial": "stopped early"}

Folder = Annotated[
    str,
    Argument(
        metavar="FOLDER",
        help="Where the results of `tubedet detect` or `tubedet flow` over a folder, or several "
        "videos, are; also an address such as s3://bucket/results.",
        show_default="tubedet-output",
    ),
]
AsJson = Annotated[
    bool, Option("--json", help="Write one JSON object with everything that is known.")
]


def status(folder: Folder = "tubedet-output", *, as_json: AsJson = False) -> None:
    """Say what became of every video of a folder, also while a run is going on.

    It reads tubedet.manifest.jsonl there, and loads no network.
    """
    from tubedet.batch.folder_search import some_of
    from tubedet.batch.manifest import MANIFEST, ManifestContent
    from tubedet.batch.remote_videos import RemoteTree

    with RemoteTree() as remote, remote.mirror.named():
        local_path = remote.output(folder) / MANIFEST
        remote.fetch(local_path)
        path = remote.mirror.as_addresses(str(local_path))
        if not local_path.exists():
            raise UsageError(
                f"{path}: expected what a run over a folder or several videos has left, found "
                "nothing; name the folder that was given as -o"
            )
        content = ManifestContent.read(local_path)
    if content.torn_bytes:
        complain(f"{path}: its last line is torn and left out; the next run cuts it off")
    if content.strange_lines:
        complain(f"{path}: {content.strange_lines} lines are no records and are left out")
    records = [each for each in content.records.values() if each.status != "left out"]
    by_status: dict[str, list[Any]] = {name: [] for name in ("done", *TO_DO)}
    for each in records:
        by_status[each.status].append(each)
    if as_json:
        told = {
            "manifest": path,
            "counts": {name: len(those) for name, those in by_status.items()},
            "frames": sum(each.frames for each in records),
            "seconds": round(sum(each.seconds or 0 for each in records), 3),
            "left": [each.video for name in TO_DO for each in by_status[name]],
            "torn_bytes": content.torn_bytes,
            "videos": [asdict(each) for each in records],
        }
        say(json.dumps(told))
        return
    if not records:
        say(f"{path}: of no video is anything known yet")
        return
    show_table(
        ["", "videos", "frames", "seconds"],
        [
            [
                CALLED.get(name, name),
                str(len(those)),
                str(sum(each.frames for each in those)),
                f"{sum(each.seconds or 0 for each in those):.1f}",
            ]
            for name, those in by_status.items()
            if those
        ],
    )
    if failed := by_status["failed"]:
        show_table(["failed", "why"], [[each.video, each.error or ""] for each in failed])
    left = [each.video for name in TO_DO for each in by_status[name]]
    if left:
        say(f"left to do ({len(left)}): {some_of(left, NAMED)}")
        mention(
            "The same `tubedet detect` or `tubedet flow` command again does that, and nothing else"
        )
