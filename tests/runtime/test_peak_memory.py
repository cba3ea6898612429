import sys

import numpy as np
import pytest
import torch

from tubedet.runtime import peak_memory as module
from tubedet.runtime.peak_memory import forget_peak_memory, peak_memory

CPU = torch.device("cpu")
MB = 10**6


@pytest.mark.skipif(not module.CLEAR_REFS.exists(), reason="only Linux can forget")
def test_what_was_freed_counts_until_it_is_forgotten() -> None:
    held = np.ones(300 * MB, np.uint8)
    del held
    with_it = peak_memory(CPU)
    forget_peak_memory(CPU)
    without = peak_memory(CPU)

    assert with_it is not None
    assert without is not None
    assert 0 < without < with_it - 200 * MB


def test_of_a_gpu_its_tensors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    card = torch.device("cuda:1")
    forgotten: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 * device.index)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", forgotten.append)

    forget_peak_memory(card)

    assert peak_memory(card) == 7
    assert forgotten == [card]


def test_nothing_is_said_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory(CPU) is None
