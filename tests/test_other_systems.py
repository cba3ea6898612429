"""What other systems lack, taken away here: modules of Unix alone, signals that Windows has not.

Stand-in for machines that are not at hand: it shows that everything can be imported there, and that
the program answers.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.synthetic_video import write_video

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lacks it anyway")

ROOT = Path(__file__).parents[1]
OF_UNIX_ALONE = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
OF_WINDOWS = ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM")
SIGNALS_OF_UNIX = tuple(each.name for each in signal.Signals if each.name not in OF_WINDOWS)
# Libraries choose their code by `sys.platform`, which stays: they may import what is blocked here.
LIKE_WINDOWS = f"""
import builtins, os, signal, sys

def import_if_there(name, scope=None, *others, of_python=builtins.__import__, **named):
    importer = (scope or {{}}).get("__name__", "")
    if name.partition(".")[0] in {OF_UNIX_ALONE} and importer.startswith(("tubedet", "__main__")):
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return of_python(name, scope, *others, **named)

builtins.__import__ = import_if_there
for name in {SIGNALS_OF_UNIX}:
    delattr(signal, name)
for name in ("fork", "geteuid", "getuid", "killpg", "mkfifo", "sched_getaffinity"):
    delattr(os, name)
"""


def run_like_windows(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LIKE_WINDOWS + program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", OF_UNIX_ALONE)
def test_the_stand_in_lacks_what_it_takes_away(module: str) -> None:
    assert f"No module named '{module}'" in run_like_windows(f"import {module}").stderr


def test_every_module_can_be_imported_without_what_unix_alone_has() -> None:
    result = run_like_windows("""
import importlib, pkgutil
import tubedet
names = [module.name for module in pkgutil.walk_packages(tubedet.__path__, "tubedet.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
""")
    assert result.stderr == ""
    assert int(result.stdout) == len([*(ROOT / "tubedet").rglob("*.py")]) - 1  # the package itself


@pytest.mark.parametrize(
    "arguments", [("--help",), ("detect", "--help"), ("doctor",), ("detect", "absent.mp4")], ids=str
)
def test_the_program_answers_without_what_unix_alone_has(arguments: tuple[str, ...]) -> None:
    result = run_like_windows("from tubedet.cli.app import main\nmain()", *arguments)
    assert result.returncode == (3 if "absent.mp4" in arguments else 0), result.stderr
    assert "unexpected" not in result.stderr


def test_a_video_is_processed_without_what_unix_alone_has(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=2, width=64, height=48)
    program = "from tubedet.cli.app import main\nmain()"
    result = run_like_windows(program, "detect", str(video), "-o", str(tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "clip.tubedet.mp4",
        "clip.csv",
        "clip.meta.json",
    }
