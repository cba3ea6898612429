"""The steps of `light`, its pairs and its windows, against the network's own parts."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.small_detector import heed_context, learn_statistics, seeded_clip, small_config
from tests.small_detector import small_network as fresh_network
from tubedet.models.light.detector import LightDetector
from tubedet.models.yolov2.box_decoding import DecodedBoxes, decode_boxes
from tubedet.runtime.detector import PairPrediction, PairTask, StreamState
from tubedet.runtime.torch_light import TorchLightDetector

CONFIG = replace(small_config("light"), flow_size=64)
FRAMES = 11
STEPS = (0, 2, 3, 5, 8, 9)


def network() -> LightDetector:
    one = fresh_network(CONFIG)
    heed_context(one)
    learn_statistics(one, seeded_clip(64, batch=4))
    return one


@pytest.fixture(scope="module")
def detector() -> TorchLightDetector:
    return TorchLightDetector(network(), CONFIG, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """(11, 3, 64, 64), RGB 0..255."""
    clip = seeded_clip(64, batch=FRAMES)[:, :, 0]
    return 0.5 * clip + 0.5 * clip[:1]


def predicted(detector: TorchLightDetector, frames: Tensor, batch: int) -> list[PairPrediction]:
    """Of all pairs of successive frames, so many at once."""
    pairs = torch.stack([frames[:-1], frames[1:]], dim=2)
    tasks = [
        PairTask(n % 3 != 1, n in STEPS, n + 1 in STEPS, seconds=1 / 25) for n in range(FRAMES - 1)
    ]
    state: StreamState | None = None
    found: list[PairPrediction] = []
    for at in range(0, FRAMES - 1, batch):
        of_batch, state = detector.predict(pairs[at : at + batch], tasks[at : at + batch], state)
        found += of_batch
    return found


@torch.inference_mode()
def by_hand(frames: Tensor, n: int, around: list[int]) -> DecodedBoxes:
    """A frame's boxes from the parts of the network, its steps all at once."""
    one = network()
    steps, _ = one.steps(frames[list(STEPS)][None])
    pairs = torch.stack([frames[:-1], frames[1:]], dim=2)
    motion = one.motion(pairs, torch.full((len(pairs),), 1 / 25))
    latest = max(at for at, step in enumerate(STEPS) if step <= n + 1)
    boxes = one.fusion(steps.last[0, latest][None], motion.last[n][None])
    numbers = [STEPS.index(step) for step in around]
    actions = one.context_window(steps.logits[0, numbers], motion.maps[around])
    fine = actions.repeat_interleave(2, 1).repeat_interleave(2, 2)
    raw = torch.cat([boxes.view(2, 5, 4, 4), fine.expand(2, 2, 4, 4)], dim=1)
    return decode_boxes(raw.view(1, -1, 4, 4), torch.tensor(CONFIG.anchors_wh), 2)


@pytest.mark.parametrize("batch", [1, 3, 4, 10])
@pytest.mark.parametrize(("n", "around"), [(0, [0, 2]), (3, [2, 3, 5]), (6, [5, 8]), (8, [8])])
def test_a_frame_takes_the_latest_map_its_own_flow_and_the_steps_of_its_window(
    detector: TorchLightDetector, frames: Tensor, batch: int, n: int, around: list[int]
) -> None:
    predictions = predicted(detector, frames, batch)
    window = [step for k in around if (step := predictions[k].step) is not None]
    assert len(window) == len(around)
    found = detector.decode(predictions[n], window)
    for ours, theirs in zip(found, by_hand(frames, n, around), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_there_is_what_was_asked_for(detector: TorchLightDetector, frames: Tensor) -> None:
    predictions = predicted(detector, frames, 4)
    assert [n for n, each in enumerate(predictions) if each.raw is None] == [1, 4, 7]
    assert [n for n, each in enumerate(predictions) if each.step is not None] == list(STEPS)


def test_pairs_of_which_nothing_is_asked_may_be_left_out(
    detector: TorchLightDetector, frames: Tensor
) -> None:
    pairs = torch.stack([frames[:-1], frames[1:]], dim=2)[:5]
    asked, nothing = PairTask(next_is_step=True), PairTask(boxes=False, is_step=False)
    tasks = [asked, nothing, nothing, nothing, asked]
    all_of_them, _ = detector.predict(pairs, tasks)
    some, _ = detector.predict(pairs[[0, 4]], [asked, asked])
    torch.testing.assert_close(some[1].raw, all_of_them[4].raw)


def test_frames_before_have_a_say(detector: TorchLightDetector, frames: Tensor) -> None:
    pairs = torch.stack([frames[:-1], frames[1:]], dim=2)
    _, state = detector.predict(pairs[:1], [PairTask(next_is_step=True)])
    (behind,), _ = detector.predict(pairs[1:2], [PairTask(next_is_step=True)], state)
    (alone,), _ = detector.predict(pairs[1:2], [PairTask(next_is_step=True)])
    assert behind.raw is not None
    assert alone.raw is not None
    assert (behind.raw - alone.raw).abs().max() > 0.05


@pytest.mark.parametrize(("latency", "after"), [("half-second", 16 / 30), ("none", 0)])
def test_a_latency_is_where_windows_end(latency: str, after: float) -> None:
    one = TorchLightDetector(network(), CONFIG, device="cpu", precision="fp32", latency=latency)
    assert one.temporal == (1 / 15, 28, 16 / 30, after)
    ending = "" if after else ", without latency"
    assert one.description == f"light on cpu in fp32{ending}"


def test_on_a_cpu_it_rounds_nothing_unless_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    chosen = {
        name: TorchLightDetector(network(), CONFIG, device="cpu", precision=name).precision
        for name in ("auto", "bf16")
    }
    assert chosen == {"auto": "fp32", "bf16": "bf16"}
