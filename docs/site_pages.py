"""Pages that are made from what lies elsewhere: the program's commands, the model card, changes.

MkDocs runs this at every build (`hooks` in mkdocs.yml), so nothing here has a second copy.
"""

import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file in docs/."""
    card = (ROOT / "weights" / "README.md").read_text("utf-8").replace("](../docs/", "](")
    pages = {
        "cli.md": command_reference(),
        "model-card.md": card.replace("# Bundled weights", "# Model card", 1),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text("utf-8"),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def command_reference() -> str:
    """Every command and option in Markdown, as Typer describes the program."""
    command = "-m typer tubedet.cli.app utils docs --name tubedet --title Commands".split()
    run = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sections = dict(re.findall(r"^#+ `(tubedet[\w -]*)`\n+(.+)", run.stdout, re.MULTILINE))

    def linked(entry: re.Match[str]) -> str:
        """Typer cuts what a list says of a command: give the whole, and the way there."""
        name = next(name for name in sections if name.split()[-1] == entry[1])
        return f"* [`{entry[1]}`](#{name.replace(' ', '-')}): {sections[name]}"

    listed = re.split(r"(?m)^(\*\*Commands\*\*:\n\n(?:\* .*\n)+)", run.stdout)
    listed[1::2] = [re.sub(r"(?m)^\* `([\w-]+)`.*", linked, each) for each in listed[1::2]]
    return "".join(listed)
