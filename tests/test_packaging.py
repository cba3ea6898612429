"""What an installed package carries, and that the pinned versions fit the declared ones."""

import os
import re
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
    assert everything == {"tubedet[train,h5,onnx,formats]"}
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
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_packaging.py"]
    run = subprocess.run(
        command,
        cwd=tmp_path / f"tubedet-{tubedet.__version__}",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
