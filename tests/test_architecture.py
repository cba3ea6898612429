"""The layers, the homes of libraries and the names of modules that CONTRIBUTING.md describes."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tubedet"

# An import points only to an earlier layer or into its own part; parts of a layer do not meet.
LAYERS = (
    {"errors", "notes", "labels", "boxes", "detections"},
    {"extras", "whole_file"},
    {"video", "models", "page"},
    {"checkpoints", "runtime", "tubes", "render", "writers", "datasets"},
    {"run"},
    {"pipeline"},
    {"evaluation", "batch", "benchmark", "conversion", "live"},
    {"training"},
    {"experiment"},
    {"cli"},
)
HOMES = {
    "defusedxml": ("datasets/cvat.py",),
    "anyascii": ("render/",),
    "av": ("video/", "writers/mp4"),
    "cv2": ("render/", "video/preprocess.py", "video/cuts.py", "video/still.py", "datasets/"),
    "fsspec": ("batch/remote_files.py",),
    "jinja2": ("page/",),
    "h5py": ("checkpoints/",),
    "markupsafe": ("page/",),
    "matplotlib": ("evaluation/plots.py",),
    "onnxruntime": ("runtime/",),
    "onnxscript": ("runtime/",),
    "pandas": ("writers/", "evaluation/", "datasets/row_files.py"),
    "platformdirs": ("runtime/",),
    "pyarrow": ("writers/parquet.py", "conversion/parquet_rows.py"),
    "ray": ("batch/cluster",),
    "rich": ("cli/",),
    "safetensors": ("checkpoints/",),
    "scipy": ("datasets/jhmdb_21.py",),
    "tflite": ("checkpoints/",),
    "typer": ("cli/",),
}
NAMELESS = {"utils", "helpers", "misc", "common", "core", "base"}
OUTSIDE = {"__init__.py", "__main__.py"}  # the doors of the package: they belong to no layer

MODULES = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
LAYER_OF = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}


def imports_of(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((PACKAGE / module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_only_from_earlier_layers_and_libraries_at_home_in_it(
    module: Path,
) -> None:
    part = module.parts[0].removesuffix(".py")
    for name in imports_of(module):
        library, _, rest = name.partition(".")
        if library != "tubedet":
            assert module.as_posix().startswith(HOMES.get(library, "")), (
                f"{library} lives elsewhere"
            )
        elif str(module) not in OUTSIDE and (other := rest.split(".")[0]) in LAYER_OF:
            assert other == part or LAYER_OF[other] < LAYER_OF[part], f"{name} is not below"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_stands_in_a_layer_and_bears_a_telling_name(module: Path) -> None:
    names = {part.removesuffix(".py") for part in module.parts}
    assert not names & NAMELESS
    assert str(module) in OUTSIDE or module.parts[0].removesuffix(".py") in LAYER_OF


@pytest.mark.parametrize("arguments", [["-m", "tubedet", "--help"], ["-c", "import tubedet"]])
def test_the_help_and_the_bare_import_do_not_load_torch(arguments: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"\| +(\S+)$", run.stderr, re.MULTILINE))
    assert "tubedet" in loaded
    assert not loaded & {"torch", "av", "cv2", "pandas"}
