"""How the two streams of `light` are fused, and what is left out of it in training."""

import torch
from torch import Tensor

from tubedet.models.light.fusion import LightFusion, StreamFeatures

ANCHORS, CLASSES = 2, 3


def fusion(stream_dropout: float = 0.0, dropout: float = 0.0) -> LightFusion:
    """One channel of each kind; RGB counts 1 for boxes and actions, motion 10, and no bias."""
    made = LightFusion(
        stream_channels=(1, 1),
        context_channels=(2, 1),
        num_anchors=ANCHORS,
        num_classes=CLASSES,
        dropout=dropout,
        stream_dropout=stream_dropout,
    )
    with torch.no_grad():
        for conv, weights in ((made.conv, [1.0, 10.0]), (made.action, [1.0, 3.0, 10.0])):
            conv.weight.copy_(torch.tensor(weights).view(1, -1, 1, 1).expand_as(conv.weight))
            assert conv.bias is not None
            conv.bias.zero_()
    return made


def ones(batch: int) -> tuple[StreamFeatures, StreamFeatures]:
    one = torch.ones(batch, 1, 1, 1)
    return StreamFeatures(one, (one, one)), StreamFeatures(one, (one,))


def by_anchor(raw: Tensor) -> tuple[Tensor, Tensor]:
    """What is said of boxes (B, A, 5) and of actions (B, A, C) in the only cell."""
    fields = raw.view(len(raw), ANCHORS, 5 + CLASSES)
    return fields[..., :5], fields[..., 5:]


def test_boxes_depend_on_last_activations_and_actions_on_contexts() -> None:
    rgb, motion = ones(1)
    boxes, actions = by_anchor(fusion().eval()(rgb, motion))
    assert (boxes == 11).all()
    assert (actions == 14).all()
    boxes, actions = by_anchor(fusion().eval()(rgb._replace(last=rgb.last * 5), motion))
    assert (boxes == 15).all()
    assert (actions == 14).all()
    elsewhere = motion._replace(contexts=(torch.full((1, 1, 1, 1), 2.0),))
    boxes, actions = by_anchor(fusion().eval()(rgb, elsewhere))
    assert (boxes == 11).all()
    assert (actions == 24).all()


def test_training_leaves_a_share_of_the_samples_with_one_stream_that_counts_twice() -> None:
    torch.manual_seed(0)
    boxes, actions = by_anchor(fusion(stream_dropout=0.6).train()(*ones(2000)))
    assert (boxes == boxes[:, :1, :1]).all()
    for of_boxes, of_actions, share in ((2, 8, 0.3), (20, 20, 0.3), (11, 14, 0.4)):
        chosen = boxes[:, 0, 0] == of_boxes
        assert abs(chosen.float().mean() - share) < 0.05
        assert (actions[chosen] == of_actions).all()


def test_all_samples_keep_both_streams_outside_training_or_without_stream_dropout() -> None:
    for one in (fusion(stream_dropout=1.0).eval(), fusion().train()):
        assert (by_anchor(one(*ones(100)))[0] == 11).all()


def test_dropout_drops_features_of_boxes_and_of_actions_in_training_alone() -> None:
    torch.manual_seed(0)
    boxes, actions = by_anchor(fusion(dropout=0.5).train()(*ones(500)))
    assert set(boxes[:, 0, 0].tolist()) == {0, 2, 20, 22}
    assert set(actions[:, 0, 0].tolist()) == {0, 2, 6, 8, 20, 22, 26, 28}
    assert (by_anchor(fusion(dropout=0.5).eval()(*ones(5)))[0] == 11).all()


def test_with_a_prior_all_actions_are_equally_likely() -> None:
    one = fusion()
    one.set_overlap_prior(0.02)
    assert not one.action.weight.any()
