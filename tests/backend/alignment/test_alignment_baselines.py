"""The baselines against closed forms, loops and scikit-learn."""

import math

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group
from sklearn import cross_decomposition

from steps.backend.alignment.baselines import CCA, Procrustes, SpeakerLogits, ZeroPadding
from steps.backend.estimator import get_state, set_state
from tests.backend.alignment.synthetic import asymmetric_eer, spaces

ALL = (ZeroPadding(), SpeakerLogits(), SpeakerLogits(30, standardise=True, temperature=0.3), Procrustes(), CCA(4))


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def data():
    return spaces(num_speakers=40)


def test_padding_is_the_cosine_within_one_space_and_chance_between_two(data):
    plain = ZeroPadding().fit(data.old, data.old)
    np.testing.assert_allclose(plain.map_enrol(data.old) @ plain.map_run(data.old).T, _unit(data.old) @ _unit(data.old).T)
    two = ZeroPadding().fit(data.old, data.new)
    padded = np.pad(data.old, ((0, 0), (0, 8)))
    np.testing.assert_allclose(two.map_enrol(data.old) @ two.map_run(data.new).T, _unit(padded) @ _unit(data.new).T)
    assert abs(asymmetric_eer(two, data.old, data.new, data.speaker) - 0.5) < 0.1


@pytest.mark.parametrize(("anchors", "standardise", "temperature"), [(0, False, 0.0), (7, True, 0.0), (7, True, 0.5)])
def test_speaker_logits_by_loops(data, anchors, standardise, temperature):
    logits = SpeakerLogits(anchors, standardise=standardise, temperature=temperature, seed=3).fit(
        data.old, data.new, data.speaker
    )  # fmt: skip
    names = sorted(set(data.speaker))
    chosen = sorted(np.random.default_rng(3).permutation(len(names))[: anchors or len(names)])

    def by_loops(train, row):
        means = [np.mean([_unit(train)[i] for i in range(len(train)) if data.speaker[i] == names[k]], axis=0) for k in chosen]
        cosines = [[float(each @ mean / np.linalg.norm(mean)) for mean in means] for each in [*_unit(train), _unit(row[None])[0]]]
        values = cosines[-1]
        if standardise:
            columns = np.array(cosines[:-1]).T
            values = [(value - column.mean()) / column.std() for value, column in zip(values, columns, strict=True)]
        if temperature:
            total = sum(math.exp(value / temperature) for value in values)
            values = [math.exp(value / temperature) / total for value in values]
        return np.array(values)

    a, b = by_loops(data.old, data.old[5]), by_loops(data.new, data.new[9])
    score = float((logits.map_enrol(data.old[5:6]) @ logits.map_run(data.new[9:10]).T)[0, 0])
    assert score == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), rel=1e-9)


def test_logits_bring_spaces_together(data):
    test = spaces(num_speakers=30, seed=1)
    logits = SpeakerLogits(standardise=True).fit(data.old, data.new, data.speaker)
    assert asymmetric_eer(logits, test.old, test.new, test.speaker) < 0.15


def test_procrustes_recovers_a_turn_and_a_shift_exactly(data):
    turn = ortho_group.rvs(16, random_state=1)
    for sign in (1.0, -1.0):  # a turn, and a reflection
        turn[0] *= sign
        found = Procrustes().fit(data.old, data.old @ turn + 3.0)
        np.testing.assert_allclose(found.rotation_EE_, turn.T, atol=1e-12)
        np.testing.assert_allclose(found.map_run(data.old @ turn + 3.0), found.map_enrol(data.old), atol=1e-10)


def test_procrustes_of_unequal_spaces_is_scipys_of_padded_ones(data):
    found = Procrustes().fit(data.new, data.old)
    padded = np.pad(data.old - data.old.mean(0), ((0, 0), (0, 8)))
    centred = data.new - data.new.mean(0)
    expected, _ = orthogonal_procrustes(padded, centred)
    assert np.sum((padded @ found.rotation_EE_ - centred) ** 2) == pytest.approx(np.sum((padded @ expected - centred) ** 2))
    np.testing.assert_allclose(found.rotation_EE_ @ found.rotation_EE_.T, np.eye(24), atol=1e-12)
    np.testing.assert_allclose(found.map_run(data.old), _unit(padded @ found.rotation_EE_), atol=1e-12)
    np.testing.assert_allclose(found.map_enrol(data.new), _unit(centred), atol=1e-12)


def test_cca_is_scikit_learns():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((300, 3)) * [2.0, 1.0, 0.6]
    first = common @ rng.standard_normal((3, 6)) + rng.standard_normal((300, 6))
    second = common @ rng.standard_normal((3, 4)) + rng.standard_normal((300, 4))
    ours = CCA(ridge=0.0).fit(first, second)
    peer = cross_decomposition.CCA(n_components=4, scale=False, max_iter=10_000, tol=1e-12).fit(first, second)
    x, y = peer.transform(first, second)
    np.testing.assert_allclose(ours.correlations_E_, [np.corrcoef(x[:, k], y[:, k])[0, 1] for k in range(4)], rtol=1e-6)
    variates = (first - first.mean(0)) @ ours.enrol_map_DE_
    np.testing.assert_allclose(np.abs(np.corrcoef(variates.T, x.T)[:4, 4:]), np.eye(4), atol=1e-5)


def test_ridge_cca_solves_its_generalised_eigenproblem(data):
    ridge = 0.05
    found = CCA(5, ridge).fit(data.new, data.old)
    x, y = data.new - data.new.mean(0), data.old - data.old.mean(0)
    xx, yy, xy = x.T @ x / len(x), y.T @ y / len(y), x.T @ y / len(x)
    xx, yy = xx + ridge * np.trace(xx) / 24 * np.eye(24), yy + ridge * np.trace(yy) / 16 * np.eye(16)
    squares = np.sort(np.linalg.eigvals(np.linalg.solve(xx, xy) @ np.linalg.solve(yy, xy.T)).real)[::-1]
    np.testing.assert_allclose(found.correlations_E_**2, squares[:5], rtol=1e-8)
    np.testing.assert_allclose(found.enrol_map_DE_.T @ xx @ found.enrol_map_DE_, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(found.enrol_map_DE_.T @ xy @ found.run_map_DE_, np.diag(found.correlations_E_), atol=1e-9)


def test_cca_weighted_by_correlation(data):
    plain, weighted = CCA().fit(data.old, data.new), CCA(power=2.0).fit(data.old, data.new)
    expected = plain.enrol_map_DE_ * plain.correlations_E_
    np.testing.assert_allclose(weighted.enrol_map_DE_, expected, rtol=1e-9)


@pytest.mark.parametrize("make", ALL, ids=lambda each: type(each).__name__)
def test_one_space_twice_gives_the_same_map_on_both_sides(data, make):
    fitted = make.fit(data.old, data.old, data.speaker)
    np.testing.assert_allclose(fitted.map_enrol(data.old), fitted.map_run(data.old), atol=1e-8)


@pytest.mark.parametrize("make", ALL, ids=lambda each: type(each).__name__)
def test_state_carries_a_baseline(data, make):
    fitted = make.fit(data.old, data.new, data.speaker)
    state, settings = get_state(fitted), {k: v for k, v in vars(fitted).items() if not k.endswith("_")}
    again = type(fitted)(**settings)
    set_state(again, state)
    np.testing.assert_array_equal(again.map_enrol(data.old[:3]), fitted.map_enrol(data.old[:3]))
    np.testing.assert_array_equal(again.map_run(data.new[:3]), fitted.map_run(data.new[:3]))
    with pytest.raises(ValueError, match="expected 24 dimensions"):
        again.map_run(data.old[:3])
    with pytest.raises(ValueError, match="expected a fitted estimator"):
        type(fitted)(**settings).map_run(data.new[:3])


def test_what_cannot_be_is_refused(data):
    with pytest.raises(ValueError, match="expected 2 to 40"):
        SpeakerLogits(41).fit(data.old, data.new, data.speaker)
    with pytest.raises(ValueError, match="expected full rank"):
        CCA(ridge=0.0).fit(data.old[:10], data.new[:10])
    with pytest.raises(ValueError, match="expected 0 .all. to 16, found 17"):
        CCA(17).fit(data.old, data.new)
    with pytest.raises(ValueError, match="finite"):
        Procrustes().fit(np.full((3, 4), np.inf), data.new[:3])
    with pytest.raises(ValueError, match="found shape"):
        ZeroPadding().fit(data.old[:0], data.new[:0])
