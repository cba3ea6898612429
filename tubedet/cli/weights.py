"""`tubedet weights list`, `show` and `verify`: which checkpoints there are, what is in them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from tubedet.cli.console import complain, say, show_table
from tubedet.cli.train_options import Debug

if TYPE_CHECKING:
    from torch import Tensor

    from tubedet.checkpoints.native import CheckpointHeader

# State of batch norms that is measured, not learned.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
Weights = Annotated[str, Argument(help="A checkpoint, or a name of `weights list`.")]


def list_weights() -> None:
    """Show the names --weights takes, and the checkpoint behind each."""
    from tubedet.checkpoints.catalog import DEFAULT_WEIGHTS, catalog, weights_folder

    rows = [
        [entry.name, *describe_checkpoint(entry.path), "*" * (entry.name == DEFAULT_WEIGHTS)]
        for entry in catalog()
    ]
    show_table(("name", "size", "what it is", "SHA-256", "default"), rows)
    say(f"They lie in {weights_folder()}")
    say("--weights also takes the path of any checkpoint that tubedet wrote.")


def show_weights(weights: Weights, debug: Debug = False) -> None:
    """Show what a checkpoint holds, what it lacks, and where it came from."""
    from tubedet.checkpoints.catalog import resolve_weights, sha256_of
    from tubedet.checkpoints.native import load_partial

    path = resolve_weights(weights)
    tensors, header = load_partial(path)
    parts = _parameters_by_part(tensors)
    rows = [
        ("file", str(path)),
        ("SHA-256", sha256_of(path)),
        *_describe_network(header),
        *((part, f"{count:,} parameters") for part, count in parts.items()),
        ("all", f"{sum(parts.values()):,} parameters"),
        ("missing", ", ".join(header.missing) or "nothing"),
        ("source", header.source or _trained_by(header)),
        ("licence", header.licence or "not stated"),
        *((name, f"{value:.4f}") for name, value in header.metrics.items()),
    ]
    show_table(("", "what it is"), rows)


def verify_weights(
    weights: Annotated[list[str], Argument(help="Checkpoints, or names of `weights list`.")],
    debug: Debug = False,
) -> None:
    """Read checkpoints to the last number; exit with 4 if one is damaged."""
    from tubedet.checkpoints.catalog import resolve_weights, sha256_of
    from tubedet.checkpoints.native import load_partial
    from tubedet.errors import WeightsError

    damaged = 0
    for each in weights:
        try:
            path = resolve_weights(each)
            tensors, header = load_partial(path)
            state = f"without {', '.join(header.missing)}" if header.missing else "whole"
            say(f"{path}: {state}, {len(tensors)} tensors, SHA-256 {sha256_of(path)}")
        except WeightsError as error:
            damaged += 1
            complain(str(error))
    if damaged:
        raise WeightsError(f"{damaged} of {len(weights)} checkpoints cannot be used")


def _describe_network(header: "CheckpointHeader") -> list[tuple[str, str]]:
    """Rows about the network that is built from a header."""
    config = header.config
    anchors = ", ".join(f"{w:g}x{h:g}" for w, h in config["anchors_wh"])
    return [
        ("preset", config["preset"]),
        ("input", f"{config.get('input_size', '')} px"),
        *([("passthrough", config["passthrough"])] if "passthrough" in config else []),
        ("classes", ", ".join(config["class_names"]) or "none yet"),
        ("anchors (cells)", anchors or "none yet"),
    ]


def _parameters_by_part(tensors: "Mapping[str, Tensor]") -> dict[str, int]:
    """Learned numbers of each part of a detector: flow, rgb_stream, motion_stream, fusion."""
    counts: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if not name.endswith(STATISTICS):
            counts[name.partition(".")[0]] += tensor.numel()
    return dict(counts)


def _trained_by(header: "CheckpointHeader") -> str:
    return f"trained by tubedet, revision {header.git_revision}" if header.recipe else "not stated"


def describe_checkpoint(path: Path | None) -> tuple[str, str, str]:
    """Size, contents and hash of a checkpoint, or what is wrong with it."""
    from tubedet.checkpoints.catalog import sha256_of
    from tubedet.checkpoints.native import read_header
    from tubedet.errors import WeightsError

    if path is None:
        return "", "not bundled", ""
    try:
        header = read_header(path)
        preset, classes = header.config.get("preset"), header.config.get("class_names", ())
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        lacks = f", without {', '.join(header.missing)}" if header.missing else ""
        return size, f"{preset}, {len(classes)} classes{lacks}", sha256_of(path)
    except WeightsError as error:
        return "", f"damaged: {error}", ""
