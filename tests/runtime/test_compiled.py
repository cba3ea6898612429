"""A compiled network: equal to the plain one, compiled once a size, and honest if it cannot be."""

import os
from functools import partial
from shutil import which
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.small_detector import seeded_clip, small_config, small_network
from tubedet.errors import UsageError
from tubedet.models.presets import LightConfig
from tubedet.runtime.compiled import CompiledForward
from tubedet.runtime.detector import PairTask, StreamState
from tubedet.runtime.torch import TorchDetector
from tubedet.runtime.torch_light import TorchLightDetector

CPU = torch.device("cpu")

# PyTorch's compiler uses what PyTorch itself deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class Compiler:
    """In the place of `torch.compile`: compiles nothing, but records what it is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.options: dict[str, Any] = {}
        self.batches: list[int] = []
        monkeypatch.setattr(torch, "compile", self)

    def __call__(self, forward: Any, **options: Any) -> Any:
        self.options = options

        def run(clip: Tensor) -> Any:
            self.batches.append(len(clip))
            return forward(clip)

        return run


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    return Compiler(monkeypatch)


@pytest.mark.parametrize(
    ("preset", "backend"), [("brox", "inductor"), ("light", "aot_eager"), ("light", "inductor")]
)
def test_a_compiled_detector_predicts_what_the_plain_one_does(
    preset: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "inductor" and which("c++") is None and which("g++") is None:
        pytest.skip("no C++ compiler is here")
    if (preset, backend) == ("light", "inductor") and "TUBEDET_FULL_JOB" not in os.environ:
        pytest.skip("code for all of light takes minutes to make; TUBEDET_FULL_JOB=1 makes it")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    config = small_config(preset)
    kind = TorchLightDetector if isinstance(config, LightConfig) else TorchDetector
    clip = seeded_clip(64, batch=2)
    tasks = [PairTask(is_step=True), PairTask(is_step=False, next_is_step=True)]
    plain, fast = (
        kind(small_network(config), config, device="cpu", precision="fp32", compile=compile)
        for compile in (False, True)
    )
    assert fast.description == f"{preset} on cpu in fp32, compiled"
    states: tuple[StreamState | None, StreamState | None] = (None, None)
    for batch, asked in ((clip, tasks), (clip[1:], tasks[1:])):
        expected, plain_state = plain.predict(batch, asked, states[0])
        found, fast_state = fast.predict(batch, asked, states[1])
        states = plain_state, fast_state
        for one, other in zip(expected, found, strict=True):
            assert one.raw is not None
            assert one.raw.std() > 1e-3
            torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-3)
    assert (states[0] is not None) == (preset == "light")


def test_a_smaller_batch_is_padded_to_a_size_that_is_compiled(compiler: Compiler) -> None:
    forward = CompiledForward(lambda clip: (clip * 2, clip.sum(dim=1)), CPU)
    for size in (2, 4, 3, 1, 2, 4, 5):
        clip = torch.rand(size, 3)
        double, total = forward(clip)
        assert torch.equal(double, clip * 2)
        assert torch.equal(total, clip.sum(dim=1))
    assert compiler.batches == [2, 4, 4, 2, 2, 4, 5]


@pytest.mark.parametrize(("device", "mode"), [("cpu", None), ("cuda:1", "reduce-overhead")])
def test_cuda_runs_graphs_of_a_fixed_size(
    compiler: Compiler, device: str, mode: str | None
) -> None:
    CompiledForward(torch.neg, torch.device(device))
    assert compiler.options == {"mode": mode, "dynamic": False}


def test_outputs_stay_when_the_next_ones_are_written_in_their_place(compiler: Compiler) -> None:
    """As a CUDA graph overwrites them in its next run."""
    outputs = torch.zeros(1)
    forward = CompiledForward(outputs.copy_, CPU)
    (first,), (second,) = forward(torch.tensor([1.0])), forward(torch.tensor([2.0]))
    assert (first.item(), second.item()) == (1, 2)


def test_without_a_compiler_that_works_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("/no/such/compiler",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    torch.compiler.reset()
    config = small_config("flownet2-sd")
    one = TorchDetector(small_network(config), config, device="cpu", precision="fp32", compile=True)
    with pytest.raises(UsageError) as failure:
        one.predict(seeded_clip(64), [PairTask()])
    message = str(failure.value)
    assert message.startswith("--compile: expected a compiler that works, found none (")
    assert message.endswith("or leave --compile out")
    assert "\n" not in message
