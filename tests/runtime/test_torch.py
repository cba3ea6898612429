from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.small_detector import seeded_clip, small_config, small_network
from tubedet.errors import UsageError
from tubedet.models.presets import PRESETS, LightConfig
from tubedet.models.yolov2.box_decoding import DecodedBoxes, decode_boxes
from tubedet.runtime.detector import DEFAULT_MIN_SCORE, Detector, PairTask
from tubedet.runtime.torch import (
    TorchDetector,
    a_core_left,
    fold_batch_norm,
    pick_device,
    pick_precision,
    pick_training_precision,
)
from tubedet.runtime.torch_light import TorchLightDetector

CPU = torch.device("cpu")


def detector(
    preset: str = "light",
    precision: str = "fp32",
    *,
    min_score: float | None = None,
    weights_sha256: str | None = None,
) -> TorchDetector:
    config = small_config(preset)
    kind = TorchLightDetector if isinstance(config, LightConfig) else TorchDetector
    return kind(
        small_network(config),
        config,
        device="cpu",
        precision=precision,
        min_score=min_score,
        weights_sha256=weights_sha256,
    )


def found_by(one: TorchDetector, clip: Tensor) -> DecodedBoxes:
    """The boxes of every pair, each by itself, its successor a backbone step."""
    of_pairs = []
    for pair in torch.split(clip, 1):
        (prediction,), _ = one.predict(pair, [PairTask(next_is_step=True)])
        of_pairs.append(one.decode(prediction, [prediction.step] if prediction.step else []))
    return DecodedBoxes(*map(torch.cat, zip(*of_pairs, strict=True)))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Pretend to be a machine with this many CUDA devices, and with or without MPS."""
    cuda, mps = request.param
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("machine", "name", "expected"),
    [
        ((2, True), "auto", "cuda"),
        ((0, True), "auto", "mps"),
        ((0, False), "auto", "cpu"),
        ((2, False), "cuda", "cuda"),
        ((2, False), "cuda:1", "cuda:1"),
        ((2, False), "cpu", "cpu"),
        ((0, True), "mps", "mps"),
    ],
    indirect=["machine"],
)
@pytest.mark.usefixtures("machine")
def test_a_device_is_the_named_one_or_the_best_of_the_machine(name: str, expected: str) -> None:
    assert pick_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("machine", "name", "choice"),
    [
        ((0, False), "cuda", "auto, cpu"),
        ((0, False), "mps", "auto, cpu"),
        ((1, False), "cuda:1", "auto, cpu, cuda:0"),
        ((0, True), "xpu", "auto, cpu, mps:0"),
        ((0, False), "meta", "auto, cpu"),
        ((0, False), "cpu:1", "auto, cpu"),
        ((0, False), "toaster", "auto, cpu"),
        ((0, False), "", "auto, cpu"),
    ],
    indirect=["machine"],
)
@pytest.mark.usefixtures("machine")
def test_an_absent_device_is_a_usage_error_that_lists_the_present_ones(
    name: str, choice: str
) -> None:
    with pytest.raises(UsageError) as failure:
        pick_device(name)
    assert str(failure.value) == f"device '{name}' is not available here; choose one of {choice}"


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_bf16": False, "avx512_f": True}, "fp32"),
        ({}, "fp32"),
    ],
    ids=str,
)
def test_auto_precision_on_a_cpu_depends_on_native_bfloat16(
    features: Mapping[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    assert pick_precision("auto", CPU) == expected
    assert pick_training_precision("auto", CPU) == expected


def test_auto_precision_is_half_on_cuda_and_full_on_mps() -> None:
    assert pick_precision("auto", torch.device("cuda:1")) == "fp16"
    assert pick_precision("auto", torch.device("mps")) == "fp32"


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16"), (False, "fp32")])
def test_training_on_cuda_is_never_in_fp16_of_itself(
    supported: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_bf16_supported(including_emulation: bool) -> bool:
        return supported or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    assert pick_training_precision("auto", torch.device("cuda")) == expected
    assert pick_training_precision("fp32", torch.device("cuda")) == "fp32"


def test_a_named_precision_is_taken_on_any_device_and_another_word_is_a_usage_error() -> None:
    assert pick_precision("bf16", torch.device("cuda")) == "bf16"
    with pytest.raises(UsageError, match="'fp8' is unknown; choose one of auto, fp32, bf16, fp16"):
        pick_precision("fp8", CPU)


@pytest.mark.parametrize("preset", PRESETS)
def test_folding_removes_every_batch_norm_of_a_convolution_and_keeps_the_answer(
    preset: str,
) -> None:
    config = small_config(preset)
    network, clip = small_network(config), seeded_clip(config.input_size)
    with torch.inference_mode():
        expected = network(clip)
        fold_batch_norm(network)
        folded = network(clip)
    assert not [each for each in network.modules() if isinstance(each, nn.BatchNorm2d)]
    assert expected.std() > 1e-3
    torch.testing.assert_close(folded, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_detector_answers_as_the_plain_network_does(preset: str) -> None:
    config = small_config(preset)
    clip = seeded_clip(config.input_size, batch=2)
    with torch.inference_mode():
        raw = small_network(config)(clip)
    expected = decode_boxes(raw, torch.tensor(config.anchors_wh), 2)
    found = found_by(detector(preset), clip)
    cells = 4 * 4 if preset == "light" else 2 * 2
    assert found.boxes_xyxy.shape == (2, 2 * cells, 4)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_pairs_without_boxes_are_not_looked_at() -> None:
    one, clip = detector("brox"), seeded_clip(64, batch=3)
    tasks = [PairTask(), PairTask(boxes=False), PairTask()]
    predictions, state = one.predict(clip, tasks)
    assert [each.raw is None for each in predictions] == [False, True, False]
    assert [each.step for each in predictions] == [None] * 3
    assert state is None
    torch.testing.assert_close(predictions[2].raw, one.predict(clip[2:], tasks[2:])[0][0].raw)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("preset", PRESETS)
def test_half_precision_moves_boxes_and_scores_by_little(preset: str, precision: str) -> None:
    clip = seeded_clip(64)
    full, half = found_by(detector(preset), clip), found_by(detector(preset, precision), clip)
    assert {tensor.dtype for tensor in half} == {torch.float32}
    for exact, rounded in zip(full, half, strict=True):
        torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0.02)
    assert not torch.equal(full.overlap, half.overlap)


def test_a_detector_says_what_it_is() -> None:
    one: Detector = detector("brox", "bf16", min_score=0.5, weights_sha256="ab")
    assert one.class_names == ("walk", "run")
    assert one.input_size == 64
    assert one.uses_flow_images
    assert one.description == "brox on cpu in bf16"
    assert (one.min_score, one.weights_sha256) == (0.5, "ab")


def test_weights_without_a_threshold_get_the_default_one() -> None:
    one = detector("light")
    assert (one.min_score, one.weights_sha256) == (DEFAULT_MIN_SCORE, None)
    assert not one.uses_flow_images


class Exhausted(nn.Module):
    """A network for which the device has no room."""

    def forward(self, clip: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")


def test_a_device_without_room_for_the_batch_is_a_usage_error_that_says_what_takes_less() -> None:
    exhausted: Any = Exhausted()
    one = TorchDetector(exhausted, small_config(), device="cpu", precision="fp32")
    with pytest.raises(UsageError) as failure:
        one.predict(seeded_clip(64, batch=3), [PairTask()] * 3)
    assert str(failure.value) == (
        "flownet2-sd on cpu in fp32: out of memory with 3 pairs of 64x64 px at once; give a "
        "smaller --batch-size, or --device cpu"
    )


def test_any_other_error_of_a_network_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory, it seems")

    monkeypatch.setattr(Exhausted, "forward", fail)
    exhausted: Any = Exhausted()
    one = TorchDetector(exhausted, small_config(), device="cpu", precision="fp32")
    with pytest.raises(RuntimeError, match="it seems"):
        one.predict(seeded_clip(64), [PairTask()])


def test_a_core_is_left_to_others_while_they_need_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        for threads, left in ((3, 2), (1, 1)):
            torch.set_num_threads(threads)
            with suppress(KeyboardInterrupt), a_core_left(to_others=True):
                assert torch.get_num_threads() == left
                raise KeyboardInterrupt
            assert torch.get_num_threads() == threads
            with a_core_left(to_others=False):
                assert torch.get_num_threads() == threads
        torch.set_num_threads(3)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        with a_core_left(to_others=True):
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
