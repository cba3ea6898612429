"""The whole flow networks: NVIDIA's keys and sizes, golden flow, gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.golden import fill_by_rule, frames, golden_file, reference_json
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD

FlowNet = FlowNet2SD | FlowNet2CSS
STACKS = [FlowNet2SD, FlowNet2CSS, FlowNet2]
NARROW = 1 / 16
# Without it the small-displacement branch would warp by 0.02 px and go untested.
FLOWNET2_SCALE = {"flownets_d.predict_flow2.weight": 100.0, "flownets_d.predict_flow2.bias": 100.0}
# Modules that are called several times here and are separate ones, or calls, in the original.
GOLDEN_NAMES = {"resample/2": "resample4/0", "resample/3": "resample3/0"}
ONLY_SD = pytest.mark.parametrize("golden_network", [FlowNet2SD], indirect=True)


def full_size(network_class: type[FlowNet], device: str = "meta") -> FlowNet:
    """A published-size network without the cost of random weights."""
    with torch.device("meta"):
        network = network_class()
    return network.to_empty(device=device).eval()


@pytest.fixture(scope="module", params=[FlowNet2SD, FlowNet2])
def golden_network(request: pytest.FixtureRequest) -> FlowNet:
    network = full_size(request.param, device="cpu")
    fill_by_rule(network, FLOWNET2_SCALE if request.param is FlowNet2 else {})
    return network


def golden_arrays(network: FlowNet) -> dict[str, Tensor]:
    with golden_file(type(network).__name__.lower()) as golden:
        return {key: torch.from_numpy(golden[key]) for key in golden}


def assert_same_flow(flow: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(flow, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("network_class", STACKS)
def test_keys_and_shapes_are_those_of_the_original_checkpoints(
    network_class: type[FlowNet],
) -> None:
    expected = reference_json(f"{network_class.__name__.lower()}_keys.json")["shapes"]
    found = {key: list(v.shape) for key, v in full_size(network_class).state_dict().items()}
    assert found == expected


@pytest.mark.parametrize(
    ("network_class", "parameters"),
    [(FlowNet2SD, 45_371_666), (FlowNet2CSS, 116_565_942), (FlowNet2, 162_518_834)],
)
def test_parameter_counts_are_the_published_ones(
    network_class: type[FlowNet], parameters: int
) -> None:
    assert sum(p.numel() for p in full_size(network_class).parameters()) == parameters


@pytest.mark.parametrize("network_class", STACKS)
def test_work_for_a_320_pixel_pair_is_that_of_the_original(network_class: type[FlowNet]) -> None:
    expected = reference_json("flops.json")[network_class.__name__]["total"]
    network = full_size(network_class)
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 2, 320, 320, device="meta"))
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_flow_and_activations_equal_the_original(golden_network: FlowNet) -> None:
    golden = golden_arrays(golden_network)
    activations: dict[str, Tensor] = {}
    calls: dict[str, int] = {}

    def keep(name: str) -> None:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            call = f"{name}/{calls.setdefault(name, 0)}"
            calls[name] += 1
            activations[GOLDEN_NAMES.get(call, call)] = output

        handles.append(golden_network.get_submodule(name).register_forward_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    stored = {key.removeprefix("act/"): golden[key] for key in golden if key.startswith("act/")}
    for name, _ in golden_network.named_modules():
        if f"{name}/0" in stored or name == "resample":
            keep(name)
    with torch.inference_mode():
        flow = golden_network(frames())
    for handle in handles:
        handle.remove()

    assert_same_flow(flow, golden["flow"])
    assert_same_flow(flow, golden["flow64"])
    assert stored.keys() <= activations.keys()
    for name, expected in stored.items():
        thinned = activations[name][:, :: activations[name].shape[1] // expected.shape[1]]
        assert_same_flow(thinned, expected)


def test_flow_of_a_batch_of_two_equals_the_original(golden_network: FlowNet) -> None:
    golden = golden_arrays(golden_network)
    with torch.inference_mode():
        flow = golden_network(frames(2, 64, 128))
    assert_same_flow(flow, golden["b2_flow"])
    assert_same_flow(flow, golden["b2_flow64"])


def test_align_corners_gives_the_flow_of_old_pytorch(
    golden_network: FlowNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden = golden_arrays(golden_network)
    monkeypatch.setattr(golden_network, "align_corners", True)
    with torch.inference_mode():
        flow = golden_network(frames())
    assert_same_flow(flow, golden["flow_align_corners_true"])
    assert (flow - golden["flow"]).abs().max() > 3


@ONLY_SD
def test_swapped_colours_and_swapped_frames_give_another_flow(golden_network: FlowNet) -> None:
    clip = frames(2, 64, 128)
    golden = golden_arrays(golden_network)["b2_flow"]
    with torch.inference_mode():
        for swapped in (clip.flip(1), clip.flip(2)):
            assert (golden_network(swapped) - golden).abs().max() > 1


@ONLY_SD
def test_more_brightness_changes_nothing_at_all(golden_network: FlowNet) -> None:
    clip = frames(2, 64, 128)
    with torch.inference_mode():
        assert torch.equal(golden_network(clip + 10), golden_network(clip))


def test_sd_scale_is_a_factor_on_the_flow() -> None:
    torch.manual_seed(8)
    network = FlowNet2SD(width=NARROW)
    clip = torch.rand(1, 3, 2, 64, 64) * 255
    with torch.inference_mode():
        times_20 = network(clip)
        network.sd_scale = 1 / 20
        torch.testing.assert_close(network(clip) * 400, times_20)


@pytest.mark.parametrize("network_class", STACKS)
def test_gradient_reaches_every_layer_and_both_frames(network_class: type[FlowNet]) -> None:
    torch.manual_seed(9)
    network = network_class(width=NARROW)
    clip = (torch.rand(1, 3, 2, 64, 64) * 255).requires_grad_()
    network(clip).square().sum().backward()
    gradients = {n: p.grad for n, p in network.named_parameters()}
    assert [n for n, g in gradients.items() if g is None or not g.any()] == []
    assert clip.grad is not None
    assert clip.grad[:, :, 0].any()
    assert clip.grad[:, :, 1].any()


@pytest.mark.parametrize("texture", [0.0, 255.0])
@pytest.mark.parametrize("network_class", STACKS)
def test_no_gradient_is_nan_on_two_identical_frames(
    network_class: type[FlowNet], texture: float
) -> None:
    torch.manual_seed(10)
    network = network_class(width=NARROW)
    frame = torch.rand(1, 3, 1, 64, 64) * texture
    clip = torch.cat([frame, frame], dim=2).requires_grad_()
    network(clip).square().sum().backward()
    gradients = {n: p.grad for n, p in network.named_parameters()} | {"clip": clip.grad}
    broken = [n for n, g in gradients.items() if g is None or not g.isfinite().all()]
    assert broken == []


@pytest.mark.parametrize("network_class", STACKS)
def test_a_size_that_64_does_not_divide_is_refused(network_class: type[FlowNet]) -> None:
    with pytest.raises(ValueError, match="multiples of 64, found 100x64"):
        network_class(width=NARROW)(torch.zeros(1, 3, 2, 64, 100))


@pytest.mark.parametrize("network_class", STACKS)
def test_time_before_channel_is_refused(network_class: type[FlowNet]) -> None:
    with pytest.raises(ValueError, match=r"\(B, 3, 2, H, W\), found \(1, 2, 3, 64, 64\)"):
        network_class(width=NARROW)(torch.zeros(1, 2, 3, 64, 64))


def test_a_quarter_of_the_width_is_about_a_sixteenth_of_the_work() -> None:
    work = []
    for width in (1.0, 0.25):
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            FlowNet2SD(width=width)(torch.zeros(1, 3, 2, 192, 192))
        work.append(counter.get_total_flops())
    assert work[1] / work[0] == pytest.approx(1 / 16, rel=0.1)  # the first layer saves less


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_flow_of_the_processor() -> None:
    torch.manual_seed(11)
    network = FlowNet2(width=NARROW).double()
    clip = torch.rand(2, 3, 2, 64, 128, dtype=torch.float64) * 255
    with torch.inference_mode():
        expected = network(clip)
        torch.testing.assert_close(network.cuda()(clip.cuda()).cpu(), expected)
