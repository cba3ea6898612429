import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tubedet.benchmark.machine import convolution_peak, processor_name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_is_two_operations_a_multiplication_over_the_time(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    clock: Iterator[float] = iter([10.0, 10.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))

    # 2 x 256 x 256 x 3 x 3 x 40 x 40 = 1.8874368e9 operations, four times in half a second.
    assert convolution_peak(dtype, repeats=4) == pytest.approx(8 * 1.8874368)


def test_the_processor_is_named_as_the_system_names_it() -> None:
    file = Path("/proc/cpuinfo")
    if not file.is_file() or "model name" not in file.read_text():
        pytest.skip("only Linux on common processors says more than the architecture")

    name = processor_name()

    assert name.strip()
    assert f": {name}\n" in file.read_text()
