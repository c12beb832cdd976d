"""NESSA finds the map between two spaces, the same one for the same seed, and leaves the rest of the program alone."""

import numpy as np
import pytest
import torch

from steps.backend.alignment.baselines import Procrustes
from steps.backend.alignment.nessa import Nessa, _means_of_others
from steps.backend.alignment.settings import MapperTraining
from steps.backend.estimator import get_state, set_state
from tests.backend.alignment.synthetic import asymmetric_eer, spaces

SMALL = MapperTraining(dim=16, hidden=64, batch_speakers=64, epochs=4, batches_per_epoch=35, learning_rate=5e-3)
FAST = MapperTraining(dim=8, hidden=16, batch_speakers=16, epochs=3, batches_per_epoch=3)


@pytest.fixture(scope="module")
def linear():
    return spaces(num_speakers=300, num_each=6, mixed=True), spaces(seed=1, num_speakers=40)


@pytest.fixture(scope="module")
def bent():
    return spaces(other="bent", num_speakers=300, num_each=6), spaces(other="bent", seed=1, num_speakers=40)


@pytest.mark.parametrize("variant", [("linear", "two", "ge2e"), ("linear", "one", "aam")])
def test_it_recovers_a_linear_map(linear, variant):
    train, test = linear
    nessa = Nessa(*variant, training=SMALL, seed=1).fit(train.new, train.old, train.speaker)
    symmetric = asymmetric_eer(Procrustes().fit(train.old, train.old), test.old, test.old, test.speaker)
    # Profiles in the wider space, tests in the narrower one; without a map it is chance.
    assert asymmetric_eer(nessa, test.new, test.old, test.speaker) < symmetric + 0.04


@pytest.mark.parametrize("variant", [("mlp", "two", "ge2e"), ("mlp", "one", "regression")])
def test_it_follows_a_bend_better_than_a_rotation(bent, variant):
    train, test = bent
    nessa = Nessa(*variant, training=SMALL, seed=1).fit(train.old, train.new, train.speaker)
    rotation = asymmetric_eer(Procrustes().fit(train.old, train.new), test.old, test.new, test.speaker)
    symmetric = asymmetric_eer(Procrustes().fit(train.old, train.old), test.old, test.old, test.speaker)
    found = asymmetric_eer(nessa, test.old, test.new, test.speaker)
    assert found < rotation - 0.02
    assert found < symmetric + 0.03


def test_shared_utterances_train_too(linear):
    train, test = linear
    training = MapperTraining(**{**vars(SMALL), "split": "shared", "epochs": 2})
    nessa = Nessa("linear", "two", "ge2e", training=training, seed=1).fit(train.new, train.old, train.speaker)
    assert asymmetric_eer(nessa, test.new, test.old, test.speaker) < 0.05


def test_without_speakers_that_belong_together_it_learns_nothing(linear):
    train, test = linear
    wrong = np.random.default_rng(0).permutation(train.speaker)
    nessa = Nessa("mlp", "two", "ge2e", training=FAST, seed=1).fit(train.old, train.new, wrong)
    assert asymmetric_eer(nessa, test.old, test.new, test.speaker) > 0.3


def test_one_sided_maps_leave_profiles_as_they_are(linear):
    train, test = linear
    nessa = Nessa("mlp", "one", "ge2e", training=FAST).fit(train.new, train.old, train.speaker)
    expected = test.new / np.linalg.norm(test.new, axis=1, keepdims=True)
    np.testing.assert_allclose(nessa.map_enrol(test.new), expected)
    assert nessa.map_run(test.old).shape == expected.shape


def test_the_best_epoch_is_kept(linear):
    train, test = spaces(num_speakers=20, spread=1.5), linear[1]  # few and hard: soon learnt by heart
    settings = {**vars(FAST), "batches_per_epoch": 20, "learning_rate": 0.01}
    whole = Nessa("mlp", "two", "ge2e", training=MapperTraining(**{**settings, "epochs": 8}), seed=2)
    whole.fit(train.old, train.new, train.speaker)
    best = whole.best_epoch_
    assert best == int(np.argmin(whole.validation_E_)) + 1
    assert best < 8, "the test needs a run that becomes worse at its end"
    short = Nessa("mlp", "two", "ge2e", training=MapperTraining(**{**settings, "epochs": best}), seed=2)
    short.fit(train.old, train.new, train.speaker)
    np.testing.assert_array_equal(short.map_run(test.new), whole.map_run(test.new))


def test_the_same_seed_gives_the_same_maps_and_torch_is_left_alone(linear):
    train, test = linear
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    maps = [Nessa(training=FAST, seed=seed).fit(train.old, train.new, train.speaker).map_run(test.new) for seed in (4, 4, 5)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.allclose(maps[0], maps[2])
    assert torch.equal(before, torch.get_rng_state())
    assert threads == torch.get_num_threads()


def test_means_of_others_leave_out_an_utterance_and_its_repetitions():
    rows, values = torch.tensor([[7, 8, 7], [1, 2, 3]]), torch.tensor([[[1.0], [5.0], [1.0]], [[1.0], [2.0], [6.0]]])
    expected = torch.tensor([[[5.0], [1.0], [5.0]], [[4.0], [3.5], [1.5]]])
    assert torch.equal(_means_of_others(values, rows), expected)


@pytest.mark.parametrize("variant", [("linear", "two", "ge2e"), ("residual", "one", "regression")])
def test_state_carries_it(linear, variant):
    train, test = linear
    nessa = Nessa(*variant, training=FAST).fit(train.old, train.new, train.speaker)
    state = get_state(nessa)
    assert all(array.dtype.kind in "fi" for array in state.values())
    again = Nessa(*variant, training=FAST)
    set_state(again, state)
    np.testing.assert_array_equal(again.map_enrol(test.old), nessa.map_enrol(test.old))
    np.testing.assert_array_equal(again.map_run(test.new), nessa.map_run(test.new))


def test_what_cannot_be_is_refused(linear):
    train, _ = linear
    with pytest.raises(ValueError, match="same vector"):
        Nessa("mlp", "two", "regression").fit(train.old, train.new, train.speaker)
    with pytest.raises(ValueError, match="same 1800 utterances as of the enrolment model, found 1799"):
        Nessa().fit(train.old, train.new[1:], train.speaker)
    with pytest.raises(ValueError, match="expected one for each of 1800"):
        Nessa().fit(train.old, train.new, train.speaker[1:])
    with pytest.raises(ValueError, match="expected four or more"):
        Nessa().fit(train.old[:18], train.new[:18], np.repeat(["a", "b", "c"], 6))
    with pytest.raises(ValueError, match="expected a fitted estimator"):
        Nessa().map_run(train.new)
    diverging = MapperTraining(**{**vars(FAST), "learning_rate": 1e30})
    with pytest.raises(ValueError, match="smaller learning_rate"):
        Nessa("mlp", "two", "ge2e", training=diverging).fit(train.old, train.new, train.speaker)
