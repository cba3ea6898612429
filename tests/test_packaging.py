"""What an installed package carries, and that the pinned versions fit the declared ones."""

import os
import re
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

import tubedet

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
    assert "tubedet = tubedet.cli.app:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_every_declared_dependency_is_pinned_without_a_build_suffix(
    project: dict[str, Any],
) -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    missing = {re.split(r"[\[<>=;]", entry)[0] for entry in declared} - set(pins)
    assert not missing
    assert not [version for version in pins.values() if "+" in version]


@pytest.mark.skipif(os.name != "posix", reason="execute bits are a POSIX matter")
def test_the_entry_point_of_continuous_integration_can_be_executed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
