"""Files that are called like videos and are none, each in a way of its own."""

import random
import wave
from collections.abc import Callable
from pathlib import Path


def write_broken_videos(folder: Path, good: Path) -> list[str]:
    """Write ten of them; their names.

    Args:
        folder: where.
        good: an MP4 whose index is at its end, parts of which are used.
    """
    data = good.read_bytes()
    content: dict[str, bytes] = {
        "empty.mp4": b"",
        "text.mp4": b"this is no video\n" * 50,
        "zeros.mp4": bytes(5000),
        "noise.mp4": random.Random(1).randbytes(5000),
        "index gone.mp4": data[: len(data) // 2],
        "first bytes.mp4": data[:24],
        "backwards.mp4": data[::-1],
    }
    for name, each in content.items():
        (folder / name).write_bytes(each)
    links: dict[str, Callable[[Path], None]] = {
        "dead link.mp4": lambda path: path.symlink_to("not there"),
        "loop.mp4": lambda path: path.symlink_to(path.name),
    }
    for name, link in links.items():
        link(folder / name)
    with wave.open(str(folder / "sound.mp4"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(4000))
    return [*content, *links, "sound.mp4"]
