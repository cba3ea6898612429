"""What an installed package carries, and that the pinned versions fit the declared ones."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import tubedet
from tests.synthetic_video import write_video
from tubedet.extras import EXTRA_OF

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["project"]
    return table


def build_wheel(folder: Path, version: str) -> zipfile.ZipFile:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=[version])
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return build_wheel(tmp_path_factory.mktemp("dist"), "standard")


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables under which Python finds the wheel's contents, and no checkout."""
    folder = tmp_path_factory.mktemp("installed")
    options = "--quiet --no-deps --no-index --no-compile --target".split()
    subprocess.run([sys.executable, "-m", "pip", "install", *options, folder, wheel.filename or ""],
                   check=True)  # fmt: skip
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_a_wheel_carries_the_package_and_the_weights_inside_it(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    weights = {f"tubedet/weights/{path.name}" for path in (ROOT / "weights").iterdir()}
    assert {"tubedet/__init__.py", "tubedet/py.typed", "tubedet/weights/README.md"} <= names
    assert weights <= names
    assert {name.split("/")[0] for name in names} == {"tubedet", "tubedet-0.1.0.dist-info"}


def test_a_wheel_carries_what_pages_are_made_of(wheel: zipfile.ZipFile) -> None:
    files = {f"tubedet/page/files/{path.name}" for path in (ROOT / "tubedet/page/files").iterdir()}
    assert {"tubedet/page/files/page.html.j2", "tubedet/page/files/app.js"} <= files
    assert files <= set(wheel.namelist())


def test_an_installed_wheel_detects_with_the_weights_it_brings(
    installed: dict[str, str], tmp_path: Path
) -> None:
    write_video(tmp_path / "clip.mp4", frames=4, width=64, height=48)
    run = subprocess.run(
        [sys.executable, "-m", "tubedet", "detect", "clip.mp4", "-f", "csv"],
        cwd=tmp_path,
        env=installed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    meta = json.loads((tmp_path / "tubedet-output" / "clip.meta.json").read_text())
    bundled = (ROOT / "weights" / "light.safetensors").read_bytes()
    assert meta["weights_sha256"] == hashlib.sha256(bundled).hexdigest()


@pytest.mark.parametrize(
    ("words", "expected"),
    [("tubedet weights sh", "show"), ("tubedet detect --overw", "--overwrite")],
)
def test_bash_completes_commands_and_options(
    installed: dict[str, str], words: str, expected: str
) -> None:
    asked = {"_TUBEDET_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2"}
    command = [sys.executable, "-m", "tubedet"]
    run = subprocess.run(
        command, env={**installed, **asked}, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [expected]


def test_an_editable_install_points_to_the_checkout_and_copies_nothing(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path, "editable")
    assert wheel.read("_tubedet.pth").decode().strip() == str(ROOT)
    assert not [name for name in wheel.namelist() if name.startswith("tubedet/")]


def test_a_wheel_says_its_version_licence_and_command(wheel: zipfile.ZipFile) -> None:
    folder = f"tubedet-{tubedet.__version__}.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["Version"] == tubedet.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in wheel.read(f"{folder}/licenses/LICENSE").decode()
    assert "tubedet = tubedet.__main__:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_a_user_gets_no_library_that_only_training_or_old_weights_need(
    project: dict[str, Any],
) -> None:
    everything = set(project["optional-dependencies"]["all"])
    assert everything == {"tubedet[train,h5,onnx,formats,cluster]"}
    assert not [entry for entry in project["dependencies"] if entry.startswith(tuple(EXTRA_OF))]


def test_every_declared_dependency_is_pinned_without_a_build_suffix(
    project: dict[str, Any],
) -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    extras = project["optional-dependencies"]
    declared = {
        re.split(r"[\[<>=;]", entry)[0]
        for entry in chain(project["dependencies"], *extras.values())
    }
    assert not declared - set(pins) - {"tubedet"}
    assert not [version for version in pins.values() if "+" in version]


@pytest.mark.skipif(os.name != "posix", reason="execute bits are a POSIX matter")
def test_the_entry_point_of_continuous_integration_can_be_executed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_tests_of_an_unpacked_source_archive_find_what_they_need(tmp_path: Path) -> None:
    if (ROOT / "PKG-INFO").exists():
        pytest.skip("this is an unpacked source archive")
    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    folder = tmp_path / f"tubedet-{tubedet.__version__}"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    for what in (["tests/test_packaging.py"], ["--collect-only"]):
        run = subprocess.run(
            [*command, *what], cwd=folder, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a checkout holds, with a changelog in which something is unreleased."""
    if not shutil.which("make"):
        pytest.skip("no make")
    (archive,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path))
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    folder = tmp_path / f"tubedet-{tubedet.__version__}"
    (folder / "PKG-INFO").unlink()  # by which hatchling knows an archive, whose version is fixed
    (folder / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n### Added\n\n- All.\n")
    return folder


def make_release(folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    """With the tools of this environment in place of those that make would install."""
    pytest.importorskip("build", reason="the extra release is not installed")
    environment = [f"VENV={sys.prefix}", "READY="]
    return subprocess.run(
        ["make", "release", f"VERSION={version}", *environment],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_release_cuts_the_changelog_and_builds_both_archives_of_its_version(copy: Path) -> None:
    run = make_release(copy, "9.8.7")
    assert run.returncode == 0, run.stdout + run.stderr
    headings = re.findall("^## .*", (copy / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "## [Unreleased]"
    assert re.fullmatch(r"## \[9\.8\.7\] - \d{4}-\d\d-\d\d", headings[1])
    wheel = zipfile.ZipFile(copy / "dist" / "tubedet-9.8.7-py3-none-any.whl")
    assert '__version__ = "9.8.7"' in wheel.read("tubedet/__init__.py").decode()
    with tarfile.open(copy / "dist" / "tubedet-9.8.7.tar.gz") as archive:
        assert "tubedet-9.8.7/weights/light.safetensors" in archive.getnames()


@pytest.mark.parametrize("version", ["", "v1.2.3", "1.2"])
def test_a_release_without_a_version_of_three_numbers_changes_nothing(
    copy: Path, version: str
) -> None:
    before = (copy / "tubedet" / "__init__.py").read_text()
    run = make_release(copy, version)
    assert run.returncode == 2
    assert "expected a version: make release VERSION=0.2.0" in run.stderr
    assert (copy / "tubedet" / "__init__.py").read_text() == before


def test_a_release_of_nothing_unreleased_is_refused(copy: Path) -> None:
    (copy / "CHANGELOG.md").write_text("# Changelog\n\n## [1.0.0] - 2020-01-01\n")
    run = make_release(copy, "9.8.7")
    assert run.returncode == 2
    assert "expected a section '## [Unreleased]', found none" in run.stderr
