import json
from pathlib import Path

import torch

from examples import bundle_weights
from tests.drawn_jhmdb import save_small_checkpoint
from tests.small_detector import seeded_clip
from tubedet.checkpoints.native import load_checkpoint


def test_a_bundled_checkpoint_says_its_threshold_figures_source_and_licence(tmp_path: Path) -> None:
    trained = save_small_checkpoint(tmp_path / "best.safetensors")
    result = {"data": "jhmdb-21", "part": "validation", "f_map": {"0.5": 0.43219, "0.75": 0.1}}
    (tmp_path / "figures.json").write_text(json.dumps(result))
    target = tmp_path / "light.safetensors"

    bundle_weights.main(
        [
            *(str(trained), str(target), "--min-score", "0.35", "--input-size", "128"),
            *("--evaluation", str(tmp_path / "figures.json")),
        ]
    )

    network, header = load_checkpoint(target)
    assert header.min_score == 0.35
    assert header.config["input_size"] == 128
    assert header.metrics["jhmdb-21_validation_f_map@0.5"] == 0.4322
    assert header.licence == "CC-BY-4.0"
    assert "HMDB51" in str(header.source)
    before = load_checkpoint(trained)[0]
    for name, value in before.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-3, atol=1e-3)
    assert network(seeded_clip(128)).shape[-1] == 4
