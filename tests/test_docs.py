"""The pages of docs/: they build, and what they quote of the program is in it."""

import ast
import errno
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from tubedet.cli.app import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def commands_of(command: Any, *names: str) -> Iterator[tuple[str, Any]]:
    """Every command of the program below this one: ("weights list", command)."""
    if names:
        yield " ".join(names), command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands_of(each, *names, name)


COMMANDS = dict(commands_of(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_reference_with_every_option(site: Path, name: str) -> None:
    page = (site / "cli.html").read_text("utf-8")
    (section,) = re.findall(
        rf'<h[23] id="tubedet-{name.replace(" ", "-")}">(.*?)(?=<h[23] |</article>)',
        page,
        re.DOTALL,
    )
    options = {option for param in COMMANDS[name].params for option in param.opts}
    assert options - set(re.findall(r"--?[a-z][\w-]*", section)) <= {
        param.name for param in COMMANDS[name].params
    }


def test_the_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        loaded = r'<(?:script|img|link rel="stylesheet")[^>]+(?:src|href)="(?:https?:)?//[^"]+"'
        assert not re.findall(loaded, page.read_text("utf-8")), page.name


def written_commands() -> list[str]:
    text = "\n".join(path.read_text("utf-8") for path in sorted(DOCS.glob("*.md")))
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", "").splitlines()
    return [line for line in lines if re.match(r"(\$ )?tubedet ", line)]


@pytest.mark.parametrize("line", written_commands())
def test_every_command_on_a_page_has_options_that_there_are(line: str) -> None:
    words = shlex.split(line.removeprefix("$ "), comments=True)[1:]
    if words[0].startswith("-"):
        command: Any = typer.main.get_command(app)
    else:
        name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        command = COMMANDS[name]
    known = {option for param in command.params for option in param.opts} | {"-h", "--help"}
    asked = {word for word in words if re.match(r"--?[a-z]", word)}
    assert asked <= known | {option for p in command.params for option in p.secondary_opts}


@cache
def texts_of_the_program() -> tuple[str, ...]:
    """The strings in the source, of those with values their parts between values."""
    parts = [os.strerror(errno.ENOSPC)]
    for path in (ROOT / "tubedet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts.append(node.value)
    return tuple(parts)


def quoted_messages() -> list[str]:
    text = (DOCS / "trouble-shooting.md").read_text("utf-8")
    return re.findall(r"^`([^`]+)`\n:", text, re.MULTILINE)


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_that_is_explained_is_one_of_the_program(message: str) -> None:
    """Each piece between places for values is in a string of the program, or has one in it."""
    pieces = re.split(r"…|\(.*?\)", message.removeprefix("note: "))
    telling = [piece.strip(" ,;:") for piece in pieces if len(piece.split()) > 1]
    assert telling
    for piece in telling:
        assert any(
            piece in text or (len(text.split()) > 2 and text.strip(" ,;:") in piece)
            for text in texts_of_the_program()
        ), piece


def test_the_files_that_the_paper_is_found_in_are_there() -> None:
    named = re.findall(r"`([\w/]+(?:\.py|/))`", (DOCS / "paper.md").read_text("utf-8"))
    package = ROOT / "tubedet"
    homes = (ROOT, package, package / "models" / "flownet2", package / "models" / "yolov2")
    assert len(named) > 20
    for name in named:
        assert any((home / name).exists() for home in homes), name
