"""The fit of the action layers: its samples, what it changes and what it leaves as it is."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from tests.small_detector import small_config, small_network
from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.augmentation import View
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.errors import DatasetError, UsageError
from tubedet.models.light.context_window import WINDOW_SECONDS
from tubedet.models.light.detector import LightDetector
from tubedet.models.light.flow_histograms import neighbourhood_histograms
from tubedet.training import action_fit
from tubedet.training.action_fit import ActionFit, chosen_frames, mirrored
from tubedet.training.box_corrections import box_corrections

FRAMES, WIDTH, HEIGHT, RATE, SIZE = 30, 160, 96, 30, 128


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedDataset:
    """Two clips of 30 frames, 30 a second; the second is narrower. The actor is the square."""
    folder = tmp_path_factory.mktemp("moving")
    clips = []
    for class_index, (label, width) in enumerate((("walk", WIDTH), ("run", HEIGHT))):
        path = write_video(
            folder / f"{label}.mkv", frames=FRAMES, width=width, height=HEIGHT, fps=Fraction(RATE)
        )
        squares = (square_xyxy(t, width, HEIGHT) for t in range(FRAMES))
        boxes = tuple((LabelledBox(class_index, square),) for square in squares)
        clips.append(AnnotatedClip(label, path, class_index, label, width, HEIGHT, boxes))
    return AnnotatedDataset("d", 1, "train", ("walk", "run"), tuple(clips))


def with_box(
    data: AnnotatedDataset, x1: float, y1: float, x2: float, y2: float
) -> AnnotatedDataset:
    """The clips with one box throughout, in fractions of the frame."""
    clips = []
    for clip in data.clips:
        box = (x1 * clip.width, y1 * clip.height, x2 * clip.width, y2 * clip.height)
        boxes = ((LabelledBox(clip.class_index, box),),) * clip.frames
        clips.append(replace(clip, boxes_by_frame=boxes))
    return replace(data, clips=tuple(clips))


@pytest.fixture
def network() -> LightDetector:
    return small_network(small_config("light", SIZE))


def fit_of(network: LightDetector, data: AnnotatedDataset) -> ActionFit:
    return ActionFit(network, small_config("light", SIZE), data, ClipFrames(), device="cpu")


@torch.no_grad()
def twin_features(network: LightDetector, clip: AnnotatedClip, frame: int, *, flip: bool) -> Tensor:
    """Features at the clip's box of a frame, all steps at once and each pair by itself."""
    pictures = ClipFrames().of(clip)
    view = View((0, 0, clip.width, clip.height), flip)

    def seen(number: int, *, flip: bool = flip) -> Tensor:
        as_seen = replace(view, flip=flip).frames(pictures[number : number + 1], SIZE)
        return torch.from_numpy(as_seen)[0].permute(2, 0, 1).float()

    numbers = list(range(0, FRAMES, 2))
    steps = torch.stack([seen(number) for number in numbers])[None] / 255.0
    contexts = network.rgb_stream(steps)[0].context[0]
    x1, _, x2, _ = clip.boxes_by_frame[frame][0].box_xyxy
    center = (x1 + x2) / 2 / clip.width
    column, row = int((1 - center if flip else center) * 4), 2  # of 4x4 cells; its y is 1/2
    near = [place for place, t in enumerate(numbers) if abs(t - frame) / RATE <= WINDOW_SECONDS]
    maps = []
    for place in near:
        first = min(numbers[place], FRAMES - 2)
        pair = torch.stack([seen(first, flip=False), seen(first + 1, flip=False)], dim=1)[None]
        assert network.flow is not None
        flow_uv = network.flow(pair)
        if flip:
            flow_uv = flow_uv.flip(-1) * torch.tensor([-1.0, 1.0])[:, None, None]
        maps.append(network.motion_stream(flow_uv).maps[0])
    histograms = neighbourhood_histograms(torch.stack(maps).mean(dim=0)[None])
    return torch.cat([contexts[near].mean(dim=0)[:, row, column], histograms[0, :, row, column]])


def test_features_are_those_of_a_slow_twin(
    network: LightDetector, moving: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_fit, "PIECE", 5)  # so that a state is handed on
    monkeypatch.setattr(action_fit, "pick_precision", lambda name, device: "fp32")
    clip = moving.clips[1]
    found = fit_of(network, moving).measure(clip)

    for samples, (flip, frame) in zip(
        found, [(flip, frame) for flip in (False, True) for frame in (0, 8, 16, 24)], strict=True
    ):
        expected = twin_features(network, clip, frame, flip=flip)
        torch.testing.assert_close(samples.features[0], expected, atol=1e-3, rtol=1e-3)
        assert (samples.classes.tolist(), samples.sources.tolist()) == ([1], [1])


def test_of_every_class_a_frame_in_eight_is_used(moving: AnnotatedDataset) -> None:
    marks = {0: "0", 3: "0", 4: "1", 9: "0", 20: "01", 27: "1", 28: "1"}
    boxes = tuple(
        tuple(LabelledBox(int(mark), (0, 0, 8, 8)) for mark in marks.get(frame, ""))
        for frame in range(FRAMES)
    )
    clip = replace(moving.clips[0], boxes_by_frame=boxes)
    assert chosen_frames(clip) == [0, 4, 9, 20, 28]


def test_fit_changes_the_action_layers_and_the_bias_of_boxes(
    network: LightDetector, moving: AnnotatedDataset
) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names = list(fit_of(network, moving).run())

    assert names == [clip.video for clip in moving.clips]
    after = network.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed - {"fusion.conv.bias"} == {
        *("context_window.appearance.weight", "context_window.appearance.bias"),
        "context_window.motion.weight",
    }


def test_the_fitted_window_names_the_clips_that_it_was_fitted_to(
    network: LightDetector, moving: AnnotatedDataset
) -> None:
    fit = fit_of(network, moving)
    list(fit.run())
    window = network.context_window
    for clip in moving.clips:
        for samples in fit.measure(clip):
            features = samples.features.clone()
            context, histograms = features[:, :960], features[:, 960:]
            logits = window.appearance(context[..., None, None])
            logits = (logits + window.motion(histograms[..., None, None]))[:, :, 0, 0]
            assert torch.equal(logits.argmax(dim=1), samples.classes)


def test_frames_that_a_video_lacks_are_left_out(
    network: LightDetector, moving: AnnotatedDataset
) -> None:
    boxes = moving.clips[0].boxes_by_frame
    longer = replace(moving.clips[0], boxes_by_frame=(*boxes, *boxes[-2:], boxes[-1])[:32])
    rest = replace(moving, clips=(longer, moving.clips[1]))
    assert len(fit_of(network, rest).measure(longer)) == 2 * 4


def test_flow_of_the_mirror_image_goes_the_other_way_on_the_other_side() -> None:
    flow_uv = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # a row of two pixels: u, then v
    assert mirrored(flow_uv).tolist() == [[[-2.0, -1.0]], [[4.0, 3.0]]]


def test_corrected_detector_finds_boxes_of_the_median_size(
    network: LightDetector, moving: AnnotatedDataset
) -> None:
    bias = network.fusion.conv.bias
    assert bias is not None
    # Every box is the second anchor's, in the first of 8x8 cells: half a cell wide, from 1/4 on.
    torch.nn.init.zeros_(network.fusion.conv.weight)
    bias.data = torch.tensor([0.0, 0.0, 0.0, 0.0, -5.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    moving = with_box(moving, 0.3 / 8, 0.25 / 8, 0.7 / 8, 0.75 / 8)  # which is too wide
    before = bias.detach().clone()
    list(fit_of(network, moving).run())
    change = (bias.detach() - before).view(2, 5)
    assert change[:, 2:].any()
    torch.testing.assert_close(change[0], change[1])  # every anchor's boxes alike
    assert not change[:, :2].any()  # and none is moved
    again = fit_of(network, moving)
    frames = [frame for clip in moving.clips for frame in again.measure(clip)]
    true, found, overlap = (
        torch.cat([getattr(frame, name) for frame in frames])
        for name in ("true_xyxy", "predicted_xyxy", "overlap")
    )
    log_size, overlap_logit = box_corrections(true, found, overlap)
    torch.testing.assert_close(log_size, torch.zeros(2), atol=0.02, rtol=0)
    torch.testing.assert_close(overlap_logit, torch.zeros(()), atol=0.1, rtol=0)


def test_data_that_does_not_fit_is_refused(
    network: LightDetector, moving: AnnotatedDataset
) -> None:
    with pytest.raises(UsageError, match="other classes"):
        fit_of(network, replace(moving, class_names=("swim", "fly")))
    with pytest.raises(DatasetError, match="no clip"):
        fit_of(network, replace(moving, clips=moving.clips[:1]))
