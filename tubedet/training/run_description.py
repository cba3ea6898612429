"""What config.json says of a run: enough to repeat it, and to refuse to go on with other data."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tubedet import __version__
from tubedet.checkpoints.catalog import sha256_of
from tubedet.checkpoints.native import CheckpointHeader, read_header
from tubedet.training.start_network import Data, StartWeights

CHECKOUT = Path(__file__).resolve().parents[2]


def describe_program() -> dict[str, Any]:
    """Versions of what trains."""
    return {
        "tubedet_version": __version__,
        "git_revision": git_revision(),
        "torch_version": torch.__version__,
    }


def describe_data(data: Data) -> dict[str, Any]:
    """Which clips; `sha256` also covers their labels and boxes."""
    return {
        "name": data.name,
        "split": data.split,
        "part": data.part,
        "clips": len(data.clips),
        "missing_videos": list(data.missing_videos),
        "sha256": data.sha256,
    }


def checkpoint_header(
    described: Mapping[str, Any], measures: Mapping[str, float]
) -> CheckpointHeader:
    """What a checkpoint of a run says of itself.

    Args:
        described: what config.json says.
        measures: of the validation part, by the names that they get in the header.
    """
    return CheckpointHeader(
        config=described["detector"],
        recipe=described["recipe"],
        training_data_sha256=described["data"]["sha256"],
        git_revision=described["git_revision"],
        source=_source_of(described["start"]),
        licence=described["start"].get("licence"),
        metrics={f"validation_{name}": value for name, value in measures.items()},
    )


def _source_of(start: Mapping[str, Any]) -> str | None:
    """The files that a run started from."""
    files = [*start.get("checkpoints", ()), start.get("video_backbone"), start.get("flow")]
    named = [f"{file['file']}, SHA-256 {file['sha256']}" for file in files if file]
    return f"trained from {'; '.join(named)}" if named else None


def describe_file(path: Path | None) -> dict[str, str] | None:
    """Name and hash of a file that a run starts from; WeightsError if it cannot be read."""
    return None if path is None else {"file": path.name, "sha256": sha256_of(path)}


def describe_start(start: StartWeights) -> dict[str, Any]:
    """The files that a run starts from, and the licences of the checkpoints among them."""
    headers = [read_header(path) for path in start.checkpoints]
    licences = sorted({header.licence for header in headers if header.licence})
    return {
        "licence": " AND ".join(licences) or None,
        "checkpoints": [describe_file(path) for path in start.checkpoints],
        "video_backbone": describe_file(start.video_backbone),
        "flow": describe_file(start.flow),
    }


def git_revision() -> str | None:
    """The checkout's commit, with "-dirty" where files differ from it; None outside a checkout."""
    if not (CHECKOUT / ".git").exists():
        return None
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        found = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
