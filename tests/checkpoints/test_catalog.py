from pathlib import Path

import pytest

from tubedet.checkpoints import catalog as catalog_module
from tubedet.checkpoints.catalog import catalog, resolve_weights, sha256_of, weights_folder
from tubedet.errors import WeightsError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands in for the one with the bundled weights; empty."""
    folder = tmp_path / "bundled"
    folder.mkdir()
    monkeypatch.setattr(catalog_module, "weights_folder", lambda: folder)
    return folder


def test_a_checkout_has_its_weights_beside_the_package() -> None:
    assert weights_folder() == ROOT / "weights"
    assert weights_folder().is_dir()


def test_an_installed_package_has_its_weights_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "tubedet" / "weights"
    inside.mkdir(parents=True)
    (tmp_path / "weights").mkdir()  # of another package
    module = tmp_path / "tubedet" / "checkpoints" / "catalog.py"
    monkeypatch.setattr(catalog_module, "__file__", str(module))
    assert weights_folder() == inside


def test_the_catalogue_lists_every_preset_and_then_other_bundled_names(bundled: Path) -> None:
    for name in ("light.safetensors", "light-sports.safetensors", "README.md"):
        (bundled / name).touch()
    assert [(entry.name, entry.path) for entry in catalog()] == [
        ("flownet2", None),
        ("flownet2-css", None),
        ("flownet2-sd", None),
        ("brox", None),
        ("light", bundled / "light.safetensors"),
        ("light-sports", bundled / "light-sports.safetensors"),
    ]


def test_no_name_at_all_means_light(bundled: Path) -> None:
    (bundled / "light.safetensors").touch()
    assert resolve_weights() == resolve_weights("light") == bundled / "light.safetensors"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "no weights are bundled for the default preset 'light'"),
        ("light", "no weights are bundled for preset 'light'"),
        ("flownet2-sd", "no weights are bundled for preset 'flownet2-sd'"),
    ],
)
@pytest.mark.usefixtures("bundled")
def test_a_preset_without_bundled_weights_says_what_to_do(name: str | None, message: str) -> None:
    with pytest.raises(WeightsError) as failure:
        resolve_weights(name)
    assert str(failure.value) == f"{message}: train one, or give the path of a checkpoint"


def test_a_path_is_taken_as_it_is_and_a_name_goes_before_a_file_of_that_name(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundled / "light.safetensors").touch()
    mine, namesake = tmp_path / "mine.safetensors", tmp_path / "light"
    mine.touch()
    namesake.touch()
    monkeypatch.chdir(tmp_path)
    assert resolve_weights(str(mine)) == resolve_weights(mine) == mine
    assert resolve_weights("light") == bundled / "light.safetensors"
    assert resolve_weights("./light").resolve() == resolve_weights(Path("light")).resolve()
    assert resolve_weights("./light").resolve() == namesake


@pytest.mark.usefixtures("bundled")
def test_what_is_neither_file_nor_name_is_answered_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no such checkpoint file, .*flownet2-sd, brox, light"):
        resolve_weights(tmp_path / "absent.safetensors")


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "w") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    with pytest.raises(WeightsError, match="cannot be read"):
        sha256_of(tmp_path / "absent")
