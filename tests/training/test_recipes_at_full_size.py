"""Two steps of every recipe at full size: hours on a CPU, so only where TUBEDET_FULL_SIZE says.

It names a folder of about 10 GiB for weights and the report; `TUBEDET_FULL_SIZE_SET` may hold
settings for all recipes, such as "precision=bf16". Real training clips, golden-rule weights.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.full_size_weights import write_flow, write_voc
from tests.golden import PROJECT_ROOT
from tests.kinetics_layout import lay_out_as_kinetics
from tests.ucf_layout import real_ucf_root
from tubedet.training.paper_recipes import RECIPES

FOLDER = Path(os.environ.get("TUBEDET_FULL_SIZE", ""))
SETTINGS = [*os.environ.get("TUBEDET_FULL_SIZE_SET", "").split(), "steps=2", "accumulation=16"]
BROX_LAST = [*(name for name in RECIPES if "brox" not in name), "brox+voc", "brox+kinetics"]
MOST_GIB = 12.0

pytestmark = pytest.mark.skipif(
    "TUBEDET_FULL_SIZE" not in os.environ, reason="TUBEDET_FULL_SIZE names no folder"
)


def run(*words: object) -> tuple[str, float, float]:
    """Output, seconds and peak memory in GiB of `tubedet` in a process of its own."""
    command = [sys.executable, "-m", "tubedet", *map(str, words), "--debug"]
    started = time.monotonic()
    with (FOLDER / "output.txt").open("w+") as output:
        process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
    assert process.returncode == 0, said
    return said, time.monotonic() - started, usage.ru_maxrss / 2**20


def imported(preset: str) -> Path:
    """A start file of a preset: both streams from VOC, and its flow network if it has one."""
    path = FOLDER / f"{preset}.safetensors"
    if not path.exists():
        files = [write_voc(FOLDER)] + ([] if preset == "brox" else [write_flow(FOLDER, preset)])
        run("weights", "import", *files, "--preset", preset, "-o", path)
        for file in files:
            file.unlink()
    return path


def trained(recipe: str, data: str, *options: object) -> Path:
    """The run folder of two steps, and a line in the report."""
    folder = FOLDER / recipe
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["--recipe", recipe, "--data", data, "-o", folder, "--device", "cpu", *settings]
    _, seconds, gib = run("train", *words, *options)
    steps = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    line = {"recipe": recipe, "gib": round(gib, 2), "seconds": round(seconds), "steps": steps}
    with (FOLDER / "report.jsonl").open("a") as report:
        report.write(json.dumps(line) + "\n")
    assert [step["step"] for step in steps] == [1, 2]
    assert gib < MOST_GIB
    (folder / "last.safetensors").unlink()
    return folder / "best.safetensors"


@pytest.fixture(scope="session")
def kinetics() -> Path:
    """What kinetics-pretraining leaves of two steps."""
    best = FOLDER / "kinetics-pretraining" / "best.safetensors"
    if not best.exists():
        one, other = sorted((real_ucf_root() / "videos" / "SoccerJuggling").iterdir())
        # As if their actions differed: of one class alone nothing can be learned.
        root = lay_out_as_kinetics(FOLDER / "kinetics", {"juggling": [one], "soccer": [other]})
        return trained("kinetics-pretraining", f"kinetics:{root}", "--init", imported("flownet2"))
    return best


@pytest.mark.parametrize(
    "name", [name for name in BROX_LAST if name not in ("light", "two-stream")]
)
def test_two_steps_of_a_full_batch_fit_into_memory(name: str, kinetics: Path) -> None:
    recipe = RECIPES[name]
    if recipe.task == "recognition":
        assert kinetics.exists()
        return
    starts = [kinetics] if recipe.start == "kinetics" else []
    if recipe.start == "voc" or recipe.preset in ("flownet2-css", "flownet2-sd"):
        starts.append(imported(recipe.preset))
    options: list[object] = [word for start in starts for word in ("--init", start)]
    data = f"ucf101-24:{real_ucf_root()}"
    if recipe.preset == "brox":
        options += ["--flow-images", brox_images()]
    trained(name, data, *options).unlink()


def brox_images() -> Path:
    """Images of the training clips' flow by the bundled network, as `tubedet flow` leaves them."""
    folder = FOLDER / "brox-images"
    if not folder.exists():
        run("flow", real_ucf_root() / "videos" / "SoccerJuggling", "-f", "brox", "-o", folder)
    return folder
