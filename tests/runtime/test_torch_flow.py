import pytest
import torch

from tests.known_flow import BrightnessFlow, KnownFlow
from tubedet.errors import UsageError
from tubedet.models.flownet2.stacks import FlowNet2SD
from tubedet.runtime.torch_flow import TorchFlow


def clip(height: int, width: int) -> torch.Tensor:
    return 255 * torch.rand(1, 3, 2, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("frame", "size", "seen", "flow"),
    [
        ((64, 128), None, (64, 128), (3, -2)),
        ((72, 100), None, (128, 128), (3 * 100 / 128, -2 * 72 / 128)),
        ((65, 64), None, (128, 64), (3, -2 * 65 / 128)),
        ((48, 320), (64, 64), (64, 64), (3 * 320 / 64, -2 * 48 / 64)),
        ((64, 128), (64, 128), (64, 128), (3, -2)),
    ],
)
def test_flow_is_in_pixels_of_the_frame_whatever_size_the_network_sees(
    frame: tuple[int, int],
    size: tuple[int, int] | None,
    seen: tuple[int, int],
    flow: tuple[float, float],
) -> None:
    network = KnownFlow(3, -2)
    flow_uv = TorchFlow(network, device="cpu", size=size).estimate(clip(*frame))
    assert network.seen == [seen]
    assert flow_uv.shape == (1, 2, *frame)
    expected = torch.tensor(flow, dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, *frame)
    torch.testing.assert_close(flow_uv, expected)


def test_a_frame_of_a_fitting_size_reaches_the_network_untouched() -> None:
    torch.manual_seed(4)
    network = FlowNet2SD(width=1 / 16).eval()
    pair = clip(64, 128)
    with torch.inference_mode():
        assert torch.equal(TorchFlow(network, device="cpu").estimate(pair), network(pair))


def test_both_frames_are_resized_alike() -> None:
    pair = torch.stack([torch.full((3, 50, 70), 10.0), torch.full((3, 50, 70), 200.0)], dim=1)
    flow_uv = TorchFlow(BrightnessFlow(), device="cpu").estimate(pair[None])
    torch.testing.assert_close(flow_uv[0, 0], torch.full((50, 70), 10.0 * 70 / 128))
    torch.testing.assert_close(flow_uv[0, 1], torch.full((50, 70), 200.0 * 50 / 64))


def test_an_absent_device_is_refused() -> None:
    with pytest.raises(UsageError, match="device 'abacus' is not available"):
        TorchFlow(KnownFlow(), device="abacus")


def test_a_device_without_room_for_the_frame_is_a_usage_error_that_names_its_size() -> None:
    class Exhausted(KnownFlow):
        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")

    with pytest.raises(UsageError, match=r"flow on cpu in fp32: out of memory .* 128x64 px"):
        TorchFlow(Exhausted(), device="cpu").estimate(clip(64, 128))
