"""The video backbone against the published network's numbers, and frame by frame against clips."""

import pytest
import torch
from torch import Tensor

from tests.golden import PROJECT_ROOT, golden_file
from tubedet.checkpoints.movinet_tflite import load_video_backbone
from tubedet.checkpoints.native import lay_out
from tubedet.models.light.video_backbone import (
    BLOCKS,
    LAST_OF_STRIDE,
    MAP_CHANNELS,
    WIDE_CHANNELS,
    BackboneMaps,
    VideoBackbone,
)

PUBLISHED = PROJECT_ROOT.parent / "shared/data/weights/movinet-a0-stream-int8.tflite"
PAST = sum(block.temporal - 1 for block in BLOCKS)  # frames
SIZES = [(64, 64), (96, 96), (172, 172), (43, 70)]


def random_backbone() -> VideoBackbone:
    torch.manual_seed(0)
    backbone = VideoBackbone().eval()
    for name, parameter in backbone.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
        if "temporal.weight" in name:
            torch.nn.init.normal_(parameter)
    return backbone


def in_chunks(backbone: VideoBackbone, frames: Tensor, ends: list[int]) -> BackboneMaps:
    state = None
    chunks = []
    for chunk in frames.tensor_split(ends, dim=1):
        maps, state = backbone(chunk, state)
        chunks.append(maps)
    return BackboneMaps(*(torch.cat(maps, dim=1) for maps in zip(*chunks, strict=True)))


def assert_same(found: BackboneMaps, expected: BackboneMaps) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))


@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"{PUBLISHED} is not here")
@torch.inference_mode()
def test_maps_of_the_published_weights_are_the_published_network_s() -> None:
    backbone = VideoBackbone()
    load_video_backbone(PUBLISHED, backbone)
    with golden_file("movinet_a0_stream") as golden:
        frames = torch.from_numpy(golden["clip"]).permute(0, 3, 1, 2)[None]
        maps, _ = backbone(frames)
        for stride, found in zip((8, 16, 32), maps, strict=False):
            block = f"block{LAST_OF_STRIDE[stride]}"
            last, means = (torch.from_numpy(golden[f"{n}_{block}"]) for n in ("last", "mean"))
            torch.testing.assert_close(found[0, -1], last, rtol=0, atol=1e-3)
            torch.testing.assert_close(found[0].mean((2, 3)), means, rtol=0, atol=1e-3)
        wide = torch.from_numpy(golden["last_wide"])
        torch.testing.assert_close(maps.wide[0, -1], wide, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_single_frames_give_what_their_clip_gives(size: tuple[int, int]) -> None:
    backbone = random_backbone()
    frames = torch.rand(2, 4, 3, *size)
    maps, _ = backbone(frames)
    channels = {**MAP_CHANNELS, 33: WIDE_CHANNELS}
    for found, stride, count in zip(maps, (8, 16, 32, 32), channels.values(), strict=True):
        sides = [-(-side // stride) for side in size]
        assert found.shape == (2, 4, count, *sides)
    assert_same(in_chunks(backbone, frames, [1, 2, 3]), maps)


@pytest.mark.parametrize("ends", [[1], [4], [2, 7], [3, 4, 8]])
@torch.inference_mode()
def test_a_clip_may_be_split_anywhere(ends: list[int]) -> None:
    backbone = random_backbone()
    frames = torch.rand(1, 9, 3, 32, 48)
    assert_same(in_chunks(backbone, frames, ends), backbone(frames)[0])


@torch.inference_mode()
def test_it_begins_with_buffers_of_zeros() -> None:
    backbone = random_backbone()
    frames = torch.rand(2, 2, 3, 43, 70)
    maps, state = backbone(frames)
    assert [buffer.shape[1] for buffer in state] == [b.temporal - 1 for b in BLOCKS if b[-1] > 1]
    again, _ = backbone(frames, [torch.zeros_like(buffer) for buffer in state])
    assert_same(again, maps)


def test_a_map_depends_on_its_frame_and_28_before() -> None:
    backbone = random_backbone().double()
    frames = torch.rand(1, PAST + 4, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    maps, _ = backbone(frames)
    assert PAST == 28
    late = PAST + 2
    for index, past in [(0, 6), (2, PAST)]:
        (gradient,) = torch.autograd.grad(maps[index][:, late].sum(), frames, retain_graph=True)
        seen = gradient[0].abs().amax((1, 2, 3)) > 0
        assert seen.nonzero().flatten().tolist() == list(range(late - past, late + 1))


@torch.inference_mode()
def test_a_later_frame_changes_no_earlier_map() -> None:
    backbone = random_backbone()
    frames = torch.rand(1, 6, 3, 64, 64)
    changed = frames.clone()
    changed[:, 4:] = torch.rand(1, 2, 3, 64, 64)
    for before, after in zip(backbone(frames)[0], backbone(changed)[0], strict=True):
        torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0, atol=0)
        assert not torch.equal(after[:, 4], before[:, 4])


def test_it_can_be_laid_out_without_memory() -> None:
    backbone = lay_out(VideoBackbone)
    maps, state = backbone(torch.empty(2, 3, 3, 96, 128, device="meta"))
    assert maps.fine.shape == (2, 3, 32, 12, 16)
    assert all(buffer.is_meta for buffer in state)


def test_names_of_parameters_are_those_of_checkpoints() -> None:
    names = set(VideoBackbone().state_dict())
    layers = ["expand", "depthwise", "temporal", "project", "skip"]
    for number, block in enumerate(BLOCKS):
        absent = [(block.temporal == 1, "temporal"), (block.stride == 1, "skip")]
        present = [n for n in layers if (True, n) not in absent]
        expected = {f"blocks.{number}.{n}.{e}" for n in present for e in ("weight", "bias")}
        expected.add(f"blocks.{number}.rezero")
        assert {name for name in names if name.startswith(f"blocks.{number}.")} == expected
    rest = {f"{n}.{e}" for n in ("stem", "project") for e in ("weight", "bias")}
    assert {name for name in names if not name.startswith("blocks.")} == rest


def test_it_learns_in_bfloat16_what_it_learns_in_float32() -> None:
    backbone = random_backbone()
    frames = torch.rand(2, 3, 3, 64, 96)
    parameters = dict(backbone.named_parameters())
    gradients = []
    for is_rounded in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=is_rounded):
            maps, _ = backbone(frames)
        loss = torch.stack([each.float().square().mean() for each in maps]).sum()
        gradients.append(torch.autograd.grad(loss, list(parameters.values())))
    for name, exact, rounded in zip(parameters, *gradients, strict=True):
        similarity = torch.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)
        assert similarity > 0.98, name
