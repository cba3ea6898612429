"""What the RGB stream of `light` makes of a frame, and of its mirror image."""

import pytest
import torch
from torch import Tensor, cat

from tests.small_detector import learn_statistics
from tubedet.models.light.rgb_stream import EfficientNetLiteStream


@pytest.fixture(scope="module")
def stream() -> EfficientNetLiteStream:
    """In evaluation mode, with activations that vary; its general tail is another network's."""
    torch.manual_seed(0)
    made = EfficientNetLiteStream()
    learn_statistics(made, torch.rand(2, 3, 224, 224))
    return made


@pytest.fixture
def image() -> Tensor:
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def test_contexts_are_means_of_the_widest_features_nearby_and_over_the_frame(
    stream: EfficientNetLiteStream, image: Tensor
) -> None:
    with torch.inference_mode():
        contexts = stream(image).contexts
        fine, _, tuned = stream.backbone(image)
        mirrored_fine, _, mirrored_tuned = stream.backbone(image.flip(3))
        wides = (tuned[1], stream.general(fine)[1])
        mirrored_wides = (mirrored_tuned[1], stream.general(mirrored_fine)[1])
    assert len(contexts) == 2
    assert (wides[0] - wides[1]).abs().mean() > 0.1
    for context, wide, mirrored in zip(contexts, wides, mirrored_wides, strict=True):
        assert (wide - mirrored).abs().mean() > 0.1
        near, whole = context[1].chunk(2)
        # Of seven columns the mirror image has 0..4 where the frame has 6..2.
        inner = (wide[:, 1:6, 0:5].mean(dim=(1, 2)) + mirrored[:, 1:6, 2:7].mean(dim=(1, 2))) / 2
        corner = (wide[:, 0:3, 4:7].mean(dim=(1, 2)) + mirrored[:, 0:3, 0:3].mean(dim=(1, 2))) / 2
        torch.testing.assert_close(near[:, 3, 2], inner, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(near[:, 0, 6], corner, atol=1e-4, rtol=1e-4)
        both = (wide.mean(dim=(1, 2)) + mirrored.mean(dim=(1, 2))) / 2
        torch.testing.assert_close(whole[:, 5, 1], both, atol=1e-4, rtol=1e-4)


def test_boxes_are_found_in_the_frame_alone(stream: EfficientNetLiteStream, image: Tensor) -> None:
    with torch.inference_mode():
        fine, coarse, _ = stream.backbone(image)
        expected = stream.join(cat([stream.passthrough(stream.lateral(fine)), coarse], dim=1))
        assert expected.std() > 0.1
        last = stream(image).last
    assert last.shape == (2, 512, 7, 7)
    torch.testing.assert_close(last, expected, atol=1e-4, rtol=1e-4)


def test_training_leaves_a_sample_with_either_context_both_or_none() -> None:
    torch.manual_seed(0)
    stream = EfficientNetLiteStream()
    stream.backbone.eval()
    stream.general.eval()
    tuned, general = stream(torch.rand(1, 3, 64, 64).expand(32, -1, -1, -1)).contexts
    kept = {(bool(one.any()), bool(other.any())) for one, other in zip(tuned, general, strict=True)}
    assert len(kept) == 4
