from pathlib import Path

import pytest
import torch

from tubedet.runtime.device_names import device_name, processor_name


def test_the_processor_is_named_as_the_system_names_it() -> None:
    file = Path("/proc/cpuinfo")
    if not file.is_file() or "model name" not in file.read_text():
        pytest.skip("only Linux on common processors says more than the architecture")

    name = processor_name()

    assert name.strip()
    assert f": {name}\n" in file.read_text()


def test_a_card_has_the_name_that_its_driver_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA Card of {device}")

    assert device_name(torch.device("cuda:1")) == "NVIDIA Card of cuda:1"
    assert device_name(torch.device("cpu")) == processor_name()
