"""The fit of the action layers: its samples, what it changes and what it leaves as it is."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.small_detector import small_config, small_network
from tests.synthetic_video import write_video
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.errors import DatasetError, UsageError
from tubedet.models.light.context_window import WINDOW_CHANNELS
from tubedet.training import action_fit
from tubedet.training.action_fit import ActionFit, box_corrections, mirrored


def test_fit_changes_the_action_layer_and_the_bias_of_boxes(data: AnnotatedDataset) -> None:
    config = replace(small_config("light"), class_names=data.class_names)
    network = small_network(config)
    torch.nn.init.normal_(network.fusion.action.weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names = list(ActionFit(network, config, data, ClipFrames(), device="cpu").run())

    assert names == [clip.video for clip in data.clips]
    after = network.state_dict()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed - {"fusion.conv.bias"} == {"fusion.action.weight", "fusion.action.bias"}
    assert set(after) - set(before) == {"over_time.action.weight", "over_time.action.bias"}
    kernel, tuned = "fusion.action.weight", 2560
    assert torch.equal(after[kernel][:, :tuned], before[kernel][:, :tuned])


def test_fitted_layers_classify_the_clips_that_they_were_fitted_to(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    walk, run = data.clips
    path = write_video(tmp_path / "run.avi", frames=run.frames, width=80, height=40)
    # Another picture, of another shape: the clips of `data` look alike.
    clips = (walk, replace(run, path=path, width=80, height=40))
    data = replace(data, clips=clips)
    config = replace(small_config("light"), class_names=data.class_names)
    network = small_network(config)
    torch.nn.init.zeros_(network.fusion.action.weight)
    fit = ActionFit(network, config, data, ClipFrames(), device="cpu")
    list(fit.run())
    for clip in data.clips:
        samples, _ = fit.measure(clip)
        layers = network.state_dict()
        of_pair = layers["fusion.action.weight"][:, 2560:]  # behind the tuned context
        weight = torch.cat([of_pair, layers["over_time.action.weight"]], dim=1)[:, :, 0, 0]
        logits = samples.features @ weight.T + layers["fusion.action.bias"]
        assert torch.equal(logits.argmax(dim=1), samples.classes)


def test_every_fourth_frame_is_used_once_more_without_its_context_window(
    data: AnnotatedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(action_fit, "EVERY", 1)  # all six frames of a clip
    config = replace(small_config("light"), class_names=data.class_names)
    fit = ActionFit(small_network(config), config, data, ClipFrames(), device="cpu")
    for view in fit.measure(data.clips[0]):
        of_windows = view.features[:, -WINDOW_CHANNELS:]
        of_pairs = view.features[:, :-WINDOW_CHANNELS]
        assert len(view.features) == len(view.classes) == len(view.sources) == 6 + 2
        assert torch.equal(of_pairs[6:], of_pairs[[0, 4]])
        # One frame deviates from its mean by nothing: shares of 0, no stillness, no energy.
        deviation = of_windows[:, WINDOW_CHANNELS // 2 :]
        of_nothing = torch.tensor([0.01] * 600 + [0.01] * 24 + [0.0] * 75 + [math.log(0.01)] * 3)
        torch.testing.assert_close(deviation[6:], of_nothing.expand(2, -1))
        assert ((deviation[:6] - of_nothing).abs().amax(dim=1) > 0.1).all()


def test_flow_of_the_mirror_image_goes_the_other_way_on_the_other_side() -> None:
    flow_uv = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # a row of two pixels: u, then v
    assert mirrored(flow_uv).tolist() == [[[-2.0, -1.0]], [[4.0, 3.0]]]


def test_boxes_are_corrected_by_the_median_of_their_sizes_and_the_mean_of_their_overlap() -> None:
    true = torch.tensor([[0.2, 0.2, 0.6, 0.6]]).repeat(5, 1)
    # Same centre, same height; 1.25 times as wide, but for two outliers on either side.
    widths = 0.4 * torch.tensor([1.25, 1.25, 1.25, 1.1, 1.9])
    found = torch.stack([0.4 - widths / 2, true[:, 1], 0.4 + widths / 2, true[:, 3]], dim=1)
    elsewhere = torch.tensor([[0.8, 0.8, 0.9, 0.9]])
    log_size, overlap_logit = box_corrections(
        torch.cat([true, true[:1]]), torch.cat([found, elsewhere]), torch.tensor([0.6] * 5 + [0.01])
    )
    torch.testing.assert_close(log_size, torch.tensor([-math.log(1.25), 0.0]), atol=1e-5, rtol=0)
    # Narrowed by 1.25, three boxes fit, one is 0.88 as wide as the true one, one 1.52 times.
    reached = (3 + 1.1 / 1.25 + 1.25 / 1.9) / 5
    expected = math.log(reached / (1 - reached)) - math.log(0.6 / 0.4)
    assert overlap_logit.item() == pytest.approx(expected, abs=1e-4)


def test_without_a_box_near_the_true_one_nothing_is_corrected() -> None:
    true, found = torch.tensor([[0.1, 0.1, 0.2, 0.2]]), torch.tensor([[0.8, 0.8, 0.9, 0.9]])
    log_size, overlap_logit = box_corrections(true, found, torch.tensor([0.5]))
    assert not log_size.any()
    assert not overlap_logit.any()


def test_corrected_detector_finds_boxes_of_the_median_size(data: AnnotatedDataset) -> None:
    config = replace(small_config("light"), class_names=data.class_names)
    network = small_network(config)
    bias = network.fusion.conv.bias
    assert bias is not None
    # Every box is the second anchor's, in the first cell: on the square, and too wide.
    torch.nn.init.zeros_(network.fusion.conv.weight)
    bias.data = torch.tensor([0.0, 0.0, 0.0, 0.0, -5.0, -0.5, 10.0, 0.0, 0.0, 0.0])
    before = bias.detach().clone()
    list(ActionFit(network, config, data, ClipFrames(), device="cpu").run())
    change = (bias.detach() - before).view(2, 5)
    assert change[:, 2:].any()
    torch.testing.assert_close(change[0], change[1])  # every anchor's boxes alike
    assert not change[:, :2].any()  # and none is moved
    again = ActionFit(network, config, data, ClipFrames(), device="cpu")
    views = [view for clip in data.clips for view in again.measure(clip)]
    true, found, overlap = (
        torch.cat([getattr(view, name) for view in views])
        for name in ("true_xyxy", "predicted_xyxy", "overlap")
    )
    log_size, overlap_logit = box_corrections(true, found, overlap)
    torch.testing.assert_close(log_size, torch.zeros(2), atol=0.02, rtol=0)
    torch.testing.assert_close(overlap_logit, torch.zeros(()), atol=0.1, rtol=0)


def test_networks_and_data_that_do_not_fit_are_refused(data: AnnotatedDataset) -> None:
    for preset, classes, complaint in (
        ("flownet2-sd", data.class_names, "preset flownet2-sd, streams both: no general context"),
        ("light", ("swim", "fly"), "other classes"),
    ):
        config = replace(small_config(preset), class_names=classes)
        with pytest.raises(UsageError, match=complaint):
            ActionFit(small_network(config), config, data, ClipFrames())
    config = replace(small_config("light"), class_names=data.class_names)
    with pytest.raises(DatasetError, match="no clip"):
        ActionFit(small_network(config), config, replace(data, clips=data.clips[:1]), ClipFrames())
