"""The network whose streams learn actions from clips without boxes."""

import pytest
import torch

from tests.small_detector import seeded_clip, small_config, small_network
from tubedet.models.action_recognition import build_recognizer


def test_an_action_s_score_is_the_mean_over_all_cells_of_what_a_convolution_says() -> None:
    config = small_config("flownet2-sd")
    network = build_recognizer(config).eval()
    detector = small_network(config)
    parts = {n: v for n, v in detector.state_dict().items() if not n.startswith("fusion.")}
    assert not network.load_state_dict(parts, strict=False).unexpected_keys
    clip = seeded_clip(64, batch=2)

    features = torch.cat(detector.features(clip), dim=1)
    weight, bias = network.fusion.conv.weight[:, :, 0, 0], network.fusion.conv.bias
    assert bias is not None
    expected = features.mean(dim=(2, 3)) @ weight.T + bias

    assert features.std() > 1e-2
    torch.testing.assert_close(network(clip), expected, atol=1e-5, rtol=1e-4)


def test_only_networks_of_the_paper_learn_actions_from_whole_clips() -> None:
    with pytest.raises(ValueError, match="preset light: expected one of the paper"):
        build_recognizer(small_config("light"))
