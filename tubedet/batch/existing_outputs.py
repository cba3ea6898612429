"""What stands where outputs will go: whether it is whole, and made with the same weights."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO


def exists(output: Path) -> bool:
    """Whether anything is there; False for a name that cannot be."""
    try:
        return output.exists()
    except OSError:  # whoever opens it will say why
        return False


def are_whole(outputs: Sequence[Path], weights_sha256: str | None) -> bool:
    """Whether all outputs of a run are there to their end, and come from these weights.

    Args:
        outputs: from `output_paths`, the meta last.
        weights_sha256: of the detector that would make them anew.
    """
    return all(map(_is_whole, outputs)) and _weights_behind(outputs[-1]) == weights_sha256


def _weights_behind(meta: Path) -> object:
    """The hash that a run's meta tells; of what is no meta, something that equals no hash."""
    try:
        told = json.loads(meta.read_bytes())
    except (OSError, ValueError):
        return False
    return told.get("weights_sha256", False) if isinstance(told, dict) else False


def _is_whole(output: Path) -> bool:
    """Whether a file is there to its end, which a copy cut short is not. Nothing is decoded."""
    try:
        with output.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if output.suffix == ".mp4":
                return size > 0 and _end_of_boxes(file, size) == size
            file.seek(max(0, size - 1))
            return file.read() == b"\n" or (output.suffix == ".jsonl" and size == 0)
    except OSError:
        return False


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last top-level box of an MP4 ends (ISO 14496-12 §4.2); behind `size` if cut."""
    end = 0
    while end < size:
        file.seek(end)
        header = file.read(16)
        length = int.from_bytes(header[:4])
        if length == 1:
            length = int.from_bytes(header[8:16])
        if length < 8:
            return -1
        end += length
    return end
