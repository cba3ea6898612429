import torch
from torch import Tensor, nn

from tests.small_detector import small_config, small_network
from tubedet.training.batch_norm_statistics import measure_statistics


def clips() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [255 * torch.rand(2, 3, 2, 64, 64, generator=generator) for _ in range(3)]


def test_statistics_become_the_mean_of_those_of_all_batches() -> None:
    network = small_network(small_config("light"))
    stem = network.motion_stream.get_submodule("backbone.stem")
    assert isinstance(stem, nn.Sequential)
    conv, norm = stem[0], stem[1]
    seen: list[Tensor] = []
    conv.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))

    measure_statistics(network, clips(), keep_rgb_backbone=True)

    assert len(seen) == 3
    mean = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in seen]).mean(dim=0)
    variance = torch.stack([batch.var(dim=(0, 2, 3)) for batch in seen]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, variance)
    assert norm.momentum == 0.01
    assert not any(module.training for module in network.modules())


def test_a_backbone_that_knows_images_keeps_its_statistics() -> None:
    kept, measured = (small_network(small_config("light")) for _ in range(2))
    before = {name: value.clone() for name, value in kept.state_dict().items()}

    measure_statistics(kept, clips(), keep_rgb_backbone=True)
    measure_statistics(measured, clips(), keep_rgb_backbone=False)

    for network, same in ((kept, True), (measured, False)):
        after = network.state_dict()
        names = [n for n in after if n.startswith("rgb_stream.backbone.") and "running" in n]
        assert names
        assert all(torch.equal(after[name], before[name]) == same for name in names)
    join = "rgb_stream.join.1.1.running_mean"
    assert not torch.equal(kept.state_dict()[join], before[join])
