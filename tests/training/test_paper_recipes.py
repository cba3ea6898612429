"""The nine recipes of the paper: their numbers, and two steps of each with narrow networks."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.kinetics_layout import lay_out_as_kinetics
from tests.small_training import HEIGHT, WIDTH, steps_of
from tests.synthetic_video import write_video
from tests.voc_files import HEADER_2016, NARROW, narrow_arrays, write_darknet_file
from tubedet.checkpoints.catalog import sha256_of
from tubedet.checkpoints.foreign_weights import import_weights
from tubedet.checkpoints.native import load_checkpoint, load_partial, read_header, save_checkpoint
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.augmentation import AugmentationRecipe
from tubedet.datasets.kinetics import KineticsDataset, load_kinetics
from tubedet.errors import UsageError, WeightsError
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.loop import Trainer
from tubedet.training.paper_recipes import RECIPES, UcfRecipe, named_recipe
from tubedet.training.recipes import Recipe
from tubedet.training.run_folder import RunFolder
from tubedet.training.settings import apply_settings, explain_settings
from tubedet.training.start_network import StartWeights
from tubedet.training.train_detector import augmentation_of, prepare_training
from tubedet.video.preprocess import encode_flow_image

ROWS = [name for name in RECIPES if "+" in name]
AFTER_KINETICS = [name for name in ROWS if name.endswith("+kinetics")]
NETWORKS = {"flownet2": FlowNet2, "flownet2-css": FlowNet2CSS, "flownet2-sd": FlowNet2SD}


def small(name: str) -> Recipe:
    """A recipe on inputs of 64 px, two pairs a step in two parts."""
    return replace(
        named_recipe(name), input_size=64, batch_size=2, accumulation=2, steps=2, save_every=2
    )


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By preset a narrow start file of foreign weights, as `tubedet weights import` leaves it."""
    folder = tmp_path_factory.mktemp("imported")
    voc = write_darknet_file(folder / "yolo-voc.weights", narrow_arrays(), HEADER_2016)
    starts = {"brox": [voc]}
    for preset, network in NETWORKS.items():
        torch.manual_seed(4)
        content = {"epoch": 0, "state_dict": network(width=NARROW).state_dict(), "best_EPE": 1e10}
        path = folder / f"{preset}_checkpoint.pth.tar"
        torch.save(content, path, _use_new_zipfile_serialization=False)
        starts[preset] = [voc, path]
    for preset, files in starts.items():
        weights = import_weights(files, preset, width=NARROW)
        save_checkpoint(folder / preset, weights.network, weights.header)
    return {preset: folder / preset for preset in starts}


@pytest.fixture(scope="session")
def actions(tmp_path_factory: pytest.TempPathFactory) -> KineticsDataset:
    """Two clips of two actions, laid out as Kinetics."""
    folder = tmp_path_factory.mktemp("videos")
    video = write_video(folder / "v.mp4", frames=5, width=64, height=48)
    labels = {"juggling": [video], "archery": [video]}
    return load_kinetics(lay_out_as_kinetics(folder / "kinetics", labels))


@pytest.fixture(scope="session")
def brox_images(data: AnnotatedDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stored flow of both clips: 2 px a frame to the right, everywhere."""
    folder = tmp_path_factory.mktemp("brox")
    image = np.full((HEIGHT, WIDTH, 3), (160, 128, 160), dtype=np.uint8)
    for clip in data.clips:
        (folder / clip.path.stem).mkdir()
        for frame in range(clip.frames):
            path = folder / clip.path.stem / f"{frame + 1:05d}.jpg"
            path.write_bytes(encode_flow_image(image))
    return folder


def prepared(
    name: str,
    data: AnnotatedDataset | KineticsDataset,
    folder: Path,
    *start: Path,
    brox_images: Path | None = None,
) -> Trainer[TwoStreamDetector]:
    return prepare_training(
        small(name),
        data,
        None,
        RunFolder(folder),
        start=StartWeights(checkpoints=start),
        flow_images=brox_images if named_recipe(name).preset == "brox" else None,
        device="cpu",
        loader_workers=0,
    )


@pytest.fixture(scope="session")
def kinetics(
    imported: dict[str, Path], actions: KineticsDataset, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What two steps of kinetics-pretraining leave."""
    folder = tmp_path_factory.mktemp("kinetics-run")
    trainer = prepared("kinetics-pretraining", actions, folder, imported["flownet2"])
    before = state(trainer)
    steps_of(trainer.train())
    after = state(trainer)
    assert torch.equal(
        after["flow.flownetc.conv1.0.weight"], before["flow.flownetc.conv1.0.weight"]
    )
    for stream in ("rgb_stream", "motion_stream"):
        name = f"{stream}.conv4.0.conv.weight"
        assert not torch.equal(after[name], before[name])
    stored, header = load_partial(folder / "best.safetensors")
    assert header.missing == ("fusion",)
    assert all(torch.equal(tensor, after[name]) for name, tensor in stored.items())
    return folder / "best.safetensors"


def state(trainer: Trainer[TwoStreamDetector]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def test_killed_pretraining_goes_on_to_the_same_losses(
    imported: dict[str, Path], actions: KineticsDataset, tmp_path: Path
) -> None:
    recipe = replace(small("kinetics-pretraining"), steps=3, save_every=1)

    def trainer(folder: str, *, resume: bool = False) -> Trainer[TwoStreamDetector]:
        return prepare_training(
            recipe,
            actions,
            None,
            RunFolder(tmp_path / folder),
            start=StartWeights(checkpoints=(imported["flownet2"],)),
            device="cpu",
            resume=resume,
            loader_workers=0,
        )

    unbroken = [step.losses for step in steps_of(trainer("1").train())]
    steps_of(trainer("2").train(), most=2)  # killed before the second save

    resumed = steps_of(trainer("2", resume=True).train())

    assert [step.step for step in resumed] == [2, 3]
    assert [step.losses for step in resumed] == unbroken[1:]
    one, two = (load_partial(tmp_path / run / "best.safetensors")[0] for run in ("1", "2"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.mark.parametrize("name", ROWS)
def test_the_numbers_are_those_of_the_paper(name: str) -> None:
    recipe = named_recipe(name)
    assert isinstance(recipe, UcfRecipe)
    assert recipe.name == name
    assert (recipe.optimizer, recipe.batch_size, recipe.input_size) == ("adam", 32, 320)
    assert {recipe.rgb_rate, recipe.motion_rate, recipe.head_rate} == {5e-5}
    assert recipe.flow_rate == (1e-7 if name.startswith("tuned") else 0.0)
    assert recipe.preset == name.partition("+")[0].removeprefix("tuned-")
    assert recipe.start == name.partition("+")[2]
    assert recipe.sampling == "sequence"


@pytest.mark.parametrize("name", [*ROWS, "kinetics-pretraining"])
def test_samples_are_cropped_as_yolo2_pytorch_did_and_recoloured_as_darknet_did(name: str) -> None:
    # imcv2_affine_trans: uniform(1, 1.1) times as large; detect.c of Darknet: hue .1, others 1.5.
    assert augmentation_of(named_recipe(name)) == AugmentationRecipe(
        max_scale=1.1,
        flip_chance=0.5,
        hue=0.1,
        saturation=1.5,
        exposure=1.5,
        grey_chance=0.0,
        background_chance=0.0,
        widen_chance=0.0,
        blank_chance=0.0,
        drift_chance=0.0,
    )


def test_samples_of_light_are_changed_as_strongly_as_its_recipe_says() -> None:
    recipe = apply_settings(named_recipe("light"), ["max_widening=1.5", "mosaic_chance=0.5"])
    drawn = augmentation_of(recipe)
    assert (drawn.max_widening, drawn.mosaic_chance, drawn.max_scale) == (1.5, 0.5, None)
    assert asdict(drawn).items() <= recipe.to_dict().items()


def test_the_strength_of_a_change_is_a_setting() -> None:
    recipe = replace(named_recipe("brox+voc"), max_scale=1.3, hue=0.0)
    assert (augmentation_of(recipe).max_scale, augmentation_of(recipe).hue) == (1.3, 0.0)


def test_pretraining_has_the_numbers_of_the_paper() -> None:
    recipe = named_recipe("kinetics-pretraining")
    assert (recipe.optimizer, recipe.rgb_rate, recipe.preset) == ("sgd", 8e-4, "flownet2")
    assert (recipe.flow_rate, recipe.start) == (0.0, "voc")


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("light", "two-stream")])
def test_nothing_is_validated_where_the_paper_names_no_part_for_it(name: str) -> None:
    assert named_recipe(name).evaluate_every == 0


def test_numbers_of_the_paper_are_printed_with_their_section() -> None:
    meanings = {each.name: each.meaning for each in explain_settings(named_recipe("brox+voc"))}
    for name in ("batch_size", "rgb_rate", "flow_rate", "input_size", "sampling", "optimizer"):
        assert "§IV-C" in meanings[name]
    assert "yolo2-pytorch" in meanings["max_scale"]
    assert "not stated" in meanings["steps"]
    assert meanings["seed"] == "of sampling, initialisation and dropout."


def test_a_recipe_without_that_name_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'brox': expected one of light, two-stream, brox\+voc, "):
        named_recipe("brox")


@dataclass(frozen=True)
class Files:
    """What a researcher has at hand."""

    imported: dict[str, Path]
    kinetics: Path
    brox_images: Path

    def starts_of(self, name: str) -> list[Path]:
        """As the README gives them to a row."""
        preset = named_recipe(name).preset
        if name not in AFTER_KINETICS:
            return [self.imported[preset]]
        own_flow = [self.imported[preset]] if preset in ("flownet2-css", "flownet2-sd") else []
        return [self.kinetics, *own_flow]


@pytest.fixture(scope="session")
def files(imported: dict[str, Path], kinetics: Path, brox_images: Path) -> Files:
    return Files(imported, kinetics, brox_images)


@pytest.mark.parametrize("name", ROWS)
def test_two_steps_of_a_row_train_what_it_tunes_and_nothing_else(
    name: str, data: AnnotatedDataset, files: Files, tmp_path: Path
) -> None:
    starts = files.starts_of(name)
    trainer = prepared(name, data, tmp_path, *starts, brox_images=files.brox_images)
    before = state(trainer)

    assert len(steps_of(trainer.train())) == 2

    changed = {n for n, value in state(trainer).items() if not torch.equal(value, before[n])}
    assert any(n.startswith("flow.") for n in changed) == name.startswith("tuned")
    for part in ("rgb_stream.conv4.0.conv", "motion_stream.conv1s.0.0.conv", "fusion.conv"):
        assert f"{part}.weight" in changed
    network, header = load_checkpoint(tmp_path / "best.safetensors")
    # In float32: at these rates half the digits would round much of the tuning away.
    kept = network.state_dict()
    assert all(torch.equal(kept[n], value) for n, value in state(trainer).items())
    assert header.recipe["name"] == name
    assert header.config["width"] == NARROW
    # Whoever gets the result is told under what terms the start weights were published.
    assert header.source is not None
    assert all(f"{path.name}, SHA-256 {sha256_of(path)}" in header.source for path in starts)
    given = {read_header(path).licence for path in starts}
    assert header.licence == " AND ".join(sorted(each for each in given if each)) != ""


@pytest.mark.parametrize("name", AFTER_KINETICS)
def test_one_pretrained_checkpoint_starts_every_row_with_equal_streams_and_a_new_head(
    name: str, data: AnnotatedDataset, files: Files, tmp_path: Path
) -> None:
    starts = files.starts_of(name)
    assert starts[0] == files.kinetics

    start = state(prepared(name, data, tmp_path, *starts, brox_images=files.brox_images))

    pretrained, flow_source = (load_partial(starts[i])[0] for i in (0, -1))
    for key, value in start.items():
        if key.startswith(("rgb_stream.", "motion_stream.")):
            assert torch.equal(value, pretrained[key]), key
        elif key.startswith("flow."):
            assert torch.equal(value, flow_source[key]), key
    assert start["fusion.conv.weight"].shape[0] == 5 * (5 + 2)
    assert any(key.startswith("flow.") for key in start) != name.startswith("brox")


@pytest.mark.parametrize(
    ("name", "which", "complaint"),
    [
        ("flownet2+kinetics", ["flownet2"], "expects streams from kinetics, found voc"),
        ("flownet2+voc", ["kinetics"], "expects streams from voc, found kinetics"),
        ("tuned-flownet2-sd+kinetics", ["kinetics"], "expected preset flownet2-sd, found flownet2"),
        ("flownet2+voc", ["flownet2", "brox"], "the files before it have all of its parts"),
    ],
)
def test_weights_of_another_row_are_refused(
    name: str,
    *,
    which: list[str],
    complaint: str,
    data: AnnotatedDataset,
    files: Files,
    tmp_path: Path,
) -> None:
    starts = [files.kinetics if each == "kinetics" else files.imported[each] for each in which]
    with pytest.raises(WeightsError, match=complaint):
        prepared(name, data, tmp_path, *starts)


def test_a_row_without_its_flow_network_is_refused(data: AnnotatedDataset, tmp_path: Path) -> None:
    voc = tmp_path / "yolo-voc.weights"
    write_darknet_file(voc, narrow_arrays(), HEADER_2016)
    weights = import_weights([voc], "flownet2", width=NARROW, allow_random=True)
    save_checkpoint(tmp_path / "start", weights.network, weights.header)
    with pytest.raises(WeightsError, match="expects a published flow network, found no weights"):
        prepared("flownet2+voc", data, tmp_path / "run", tmp_path / "start")


def test_a_row_without_start_weights_is_refused(data: AnnotatedDataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="starts from voc weights: give them with --init"):
        prepared("flownet2+voc", data, tmp_path)


def test_flow_is_either_read_or_estimated(
    data: AnnotatedDataset, files: Files, tmp_path: Path
) -> None:
    for name, folder, complaint in (
        ("brox+voc", None, "reads stored flow: give --flow-images FOLDER"),
        ("flownet2+voc", files.brox_images, "makes its own flow: leave --flow-images out"),
    ):
        start = StartWeights(checkpoints=(files.imported[named_recipe(name).preset],))
        run = RunFolder(tmp_path)
        with pytest.raises(UsageError, match=complaint):
            prepare_training(small(name), data, None, run, start=start, flow_images=folder)


def test_clips_without_boxes_are_for_recognition_alone(
    data: AnnotatedDataset, actions: KineticsDataset, imported: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="learns detection, which kinetics is not for"):
        prepared("flownet2+voc", actions, tmp_path, imported["flownet2"])
    with pytest.raises(UsageError, match="learns recognition, which d is not for"):
        prepared("kinetics-pretraining", data, tmp_path, imported["flownet2"])
