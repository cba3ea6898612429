import math
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from tubedet.benchmark import machine
from tubedet.benchmark.machine import (
    convolution_peak,
    convolution_peaks,
    memory_bandwidth,
    memory_bytes,
    wait_for,
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peak_is_two_operations_a_multiplication_over_the_time(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    clock: Iterator[float] = iter([10.0, 10.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))

    # 2 x 256 x 256 x 3 x 3 x 40 x 40 = 1.8874368e9 operations, four times in half a second.
    assert convolution_peak(dtype, torch.device("cpu"), repeats=4) == pytest.approx(8 * 1.8874368)


def test_a_device_is_given_more_at_once_and_waited_for_before_each_look_at_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []
    clock: Iterator[float] = iter([10.0, 10.5])

    def look() -> float:
        happened.append("clock")
        return next(clock)

    monkeypatch.setattr(time, "perf_counter", look)
    monkeypatch.setattr(machine, "wait_for", lambda device: happened.append(f"wait {device}"))

    peak = convolution_peak(torch.float16, torch.device("meta"), repeats=4)

    assert happened == ["wait meta", "clock", "wait meta", "clock"]
    assert peak == pytest.approx(64 * 8 * 1.8874368)  # 64 images


def test_the_bandwidth_is_what_is_read_and_written_over_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock: Iterator[float] = iter([10.0, 10.5])
    monkeypatch.setattr(machine, "COPIED_BYTES", 3_000_000)
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))

    # Four times 3 MB read and 3 MB written: 24 MB in half a second.
    assert memory_bandwidth(torch.device("cpu"), repeats=4) == pytest.approx(0.048)


def test_the_bandwidth_is_measured_where_the_device_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[str] = []
    monkeypatch.setattr(machine, "wait_for", lambda device: waited.append(str(device)))

    assert 0 < memory_bandwidth(torch.device("meta")) < math.inf
    assert waited == ["meta", "meta"]


@pytest.mark.parametrize(
    ("device", "waited"), [("cuda:1", ["cuda:1"]), ("mps", ["mps"]), ("cpu", [])]
)
def test_only_what_computes_by_itself_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, device: str, waited: list[str]
) -> None:
    found: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda place: found.append(str(place)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: found.append("mps"))

    wait_for(torch.device(device))

    assert found == waited


def test_a_gpu_is_measured_in_every_precision_and_a_processor_in_those_that_it_is_used_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "convolution_peak", lambda dtype, device: 8 * dtype.itemsize)

    assert list(convolution_peaks(torch.device("cpu"))) == ["fp32", "bf16"]
    assert list(convolution_peaks(torch.device("cuda"))) == ["fp32", "bf16", "fp16"]
    assert list(convolution_peaks(torch.device("cuda")).values()) == [32, 16, 16]


def test_only_a_card_has_a_memory_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)

    assert memory_bytes(torch.device("cuda:1")) == 25_769_803_776
    assert memory_bytes(torch.device("cpu")) is None
