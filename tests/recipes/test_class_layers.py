"""The layer over the training speakers is that of each system's source: with a bias for each speaker, or without any."""

from pathlib import Path

import pytest

from steps.core import config
from steps.nnet.models import build_head, num_parameters
from steps.nnet.settings import HEAD_SETTINGS

RECIPES = Path(__file__).parents[2] / "recipes"
SPEAKERS, DIM = 7, 10
# Systems of published papers -> biases a speaker. Sources: WeidiXie/VGG-Speaker-Recognition, src/model.py (use_bias=False);
# edualc/ZHAW_deep_voice, networks/losses.py (cosines); oscarknagg/voicemap, voicemap/models.py (Keras' Dense); Stadelmann et al.
# 2018 (count of parameters); hsss/speaker_verification_pytorch (a Linear of torch); Kaldi's affine components; wespeaker,
# models/projections.py (margins and spheres without, softmax a Linear). Of the softmax of Nagrani 2017, Chung 2018, Cai 2019
# and Zhou 2019 nothing is known: the ordinary one, which has it.
BIASES = {
    "voxceleb/thin_resnet_*_softmax": 0, "voxceleb/thin_resnet_*_am": 0,
    "voxceleb/vggm_softmax*": 1, "voxceleb/resnet34_softmax": 1, "voxceleb/resnet50_softmax": 1,
    "voxceleb/resnet34_dku_softmax": 1, "voxceleb/resnet_attentive_softmax": 1, "voxceleb/resnet_attentive_l2softmax": 1,
    "voxceleb/resnet_attentive_asoftmax": 0, "voxceleb/*_plda": 1, "voxceleb/etdnn_am*": 0,
    "voxceleb/resnet34_*_softmax*": 1, "voxceleb/tdnn_big_softmax*": 1, "voxceleb/tdnn_big_aam": 0, "voxceleb/resnet*_aam*": 0,
    "voxceleb/bilstm*_aam": 0, "voxceleb/bilstm_kl": 1, "voxceleb/heo_*": 1, "voxceleb/ecapa*": 0, "voxceleb/redimnet*": 0,
    "timit/bilstm_kl": 1, "timit/cnn_kl": 1, "librispeech/voicemap_classifier": 1, "cnceleb/*_aam": 0,
}  # fmt: skip


def head_settings(path: Path):
    return config.build("head", HEAD_SETTINGS, config.load_layers([path]))


def systems(pattern: str) -> list[Path]:
    """Those of a pattern that are trained by gradients: an i-vector extractor has no head."""
    paths = [path for path in sorted(RECIPES.glob(f"{pattern}.toml")) if not path.stem.startswith(("fusion", "ivector"))]
    assert paths, f"no system is called {pattern}"
    return paths


@pytest.mark.parametrize(("pattern", "biases"), BIASES.items())
def test_a_class_layer_has_the_biases_of_its_source(pattern, biases):
    for path in systems(pattern):
        found = num_parameters(build_head(head_settings(path), DIM, SPEAKERS))
        assert found == SPEAKERS * (DIM + biases), path.stem


def test_every_softmax_of_recipe_voxceleb_is_compared_with_its_source():
    named = {path for pattern in BIASES for path in systems(pattern)}
    every = config.load_layers([RECIPES / "voxceleb" / "recipe.toml"]).tables["recipe"]["systems"]
    kinds = {name: head_settings(RECIPES / "voxceleb" / f"{name}.toml").type for name in every}
    softmax = [name for name, kind in kinds.items() if "softmax" in kind or kind in ("heo", "centre", "pairwise_kl")]
    assert len(softmax) > 20
    assert {RECIPES / "voxceleb" / f"{name}.toml" for name in softmax} <= named


def test_settings_from_before_there_was_a_choice_mean_a_bias(tmp_path):
    """A model folder's settings.toml names only what there was: its head.safetensors has a bias."""
    (tmp_path / "settings.toml").write_text('[head]\ntype = "softmax"\n')
    head = build_head(head_settings(tmp_path / "settings.toml"), DIM, SPEAKERS)
    assert {name: tuple(value.shape) for name, value in head.state_dict().items()} == {
        "weight_SD": (SPEAKERS, DIM), "bias_S": (SPEAKERS,),
    }  # fmt: skip
