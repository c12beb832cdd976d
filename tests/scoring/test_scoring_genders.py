"""gender.txt holds the log odds of a probe of the training set, also where that probe comes from elsewhere."""

import numpy as np
import pytest

from steps.backend.gender import GenderClassifier
from steps.backend.items import Items
from steps.core.errors import RecipeError
from steps.data.manifests import Utterance, write_set
from steps.scoring.embedded import Embedded
from steps.scoring.genders import fitted_probe, load_probe, write_log_odds

SPEAKERS = {"a": "f", "b": "f", "c": "m", "d": "m", "e": ""}
IDS = [f"{speaker}/u{index}" for speaker in SPEAKERS for index in range(4)]


def manifests(folder, genders):
    common = {"session": "", "corpus": "", "sampling_rate": 8000, "num_samples": 8000}
    write_set(folder / "train", [
        Utterance(id=name, speaker=name[0], gender=genders[name[0]], path=f"{name}.wav", **common) for name in IDS
    ])  # fmt: skip
    return folder


def test_the_probe_is_that_of_the_documented_genders(tmp_path):
    x_ND = np.random.default_rng(0).normal(size=(20, 3)) + np.repeat([[1.0], [1.0], [-1.0], [-1.0], [0.0]], 4, axis=0)
    train = Embedded(IDS, Items.single(x_ND))
    probe = fitted_probe(train, manifests(tmp_path / "m", SPEAKERS), tmp_path)
    expected = GenderClassifier().fit(x_ND, [SPEAKERS[name[0]] for name in IDS], [name[0] for name in IDS]).log_odds(x_ND)
    for number, each in enumerate((probe, load_probe(tmp_path))):
        write_log_odds(tmp_path / f"{number}.txt", each, (train.part(np.arange(8)), train.part(np.arange(8, 20))))
        lines = [line.split() for line in (tmp_path / f"{number}.txt").read_text().splitlines()]
        assert [name for name, _ in lines] == IDS
        np.testing.assert_allclose([float(odds) for _, odds in lines], expected, rtol=1e-8)


def test_genders_that_are_not_documented_and_a_probe_that_is_not_there_are_said(tmp_path):
    train = Embedded(IDS, Items.single(np.eye(20)))
    with pytest.raises(RecipeError, match="score.predict_gender: genders: expected both"):
        fitted_probe(train, manifests(tmp_path / "m", SPEAKERS | {"a": "", "b": ""}), tmp_path)
    with pytest.raises(RecipeError, match="has no gender.safetensors; run stage 6 there with --set score.predict_gender=true"):
        load_probe(tmp_path)
