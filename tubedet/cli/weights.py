"""`tubedet weights list`: the checkpoints that come with tubedet."""

from pathlib import Path

from tubedet.cli.console import say, show_table


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
        return size, f"{preset}, {len(classes)} classes", sha256_of(path)
    except WeightsError as error:
        return "", f"damaged: {error}", ""
