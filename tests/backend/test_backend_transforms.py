"""Transforms against numpy's covariance, scikit-learn's LDA and the definitions of both forms."""

import numpy as np
import pytest
from scipy.linalg import eigh, subspace_angles
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from steps.backend.estimator import get_state, set_state
from steps.backend.transforms import LDA, Chain, LengthNorm, MeanSubtraction, Whitening


def make_speakers(seed: int = 0, num_speakers: int = 12, dim: int = 6):
    """Embeddings of speakers with unlike numbers of utterances, correlated dimensions and a mean far from zero."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(num_speakers), rng.integers(3, 20, num_speakers))
    speaker = rng.normal(size=(num_speakers, dim)) * np.linspace(3, 0.5, dim)
    noise = rng.normal(size=(codes.size, dim)) @ rng.normal(size=(dim, dim))
    return speaker[codes] + noise + 5.0, np.array([f"s{code:02d}" for code in codes])


def within_covariance(embeddings, speakers):
    total = sum((speakers == s).sum() * np.cov(embeddings[speakers == s].T, bias=True) for s in np.unique(speakers))
    return total / len(embeddings)


def test_mean_subtraction_centres_training_data_and_uses_its_mean_elsewhere():
    embeddings, _ = make_speakers()
    centring = MeanSubtraction().fit(embeddings)
    np.testing.assert_allclose(centring.transform(embeddings).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(centring.transform(np.zeros((1, 6)))[0], -np.mean(embeddings, axis=0))


@pytest.mark.parametrize(("length", "expected"), [("unit", 1.0), ("sqrt_dim", np.sqrt(6))])
def test_length_norm_keeps_direction(length, expected):
    embeddings, _ = make_speakers()
    scaled = LengthNorm(length).transform(embeddings)
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=1), expected)
    np.testing.assert_allclose(np.abs((scaled * embeddings).sum(1)), expected * np.linalg.norm(embeddings, axis=1))


def test_length_norm_refuses_a_zero_embedding():
    with pytest.raises(ValueError, match="found 1 of 2 without, the first in row 1"):
        LengthNorm().transform([[1.0, 0.0], [0.0, 0.0]])


def test_whitening_makes_the_chosen_covariance_the_identity():
    embeddings, speakers = make_speakers()
    total = Whitening().fit(embeddings).transform(embeddings)
    np.testing.assert_allclose(np.cov(total.T, bias=True), np.eye(6), atol=1e-10)
    np.testing.assert_allclose(total.mean(axis=0), 0, atol=1e-10)
    within = Whitening("within").fit(embeddings, speakers).transform(embeddings)
    np.testing.assert_allclose(within_covariance(within, speakers), np.eye(6), atol=1e-10)


@pytest.mark.parametrize("factor", [0.0, 0.3])
def test_kaldi_lda_whitens_the_interpolated_and_diagonalises_the_between_covariance(factor):
    embeddings, speakers = make_speakers()
    projected = LDA(4, total_covariance_factor=factor).fit(embeddings, speakers).transform(embeddings)
    within, total = within_covariance(projected, speakers), np.cov(projected.T, bias=True)
    np.testing.assert_allclose(factor * total + (1 - factor) * within, np.eye(4), atol=1e-10)
    between = total - within
    np.testing.assert_allclose(between, np.diag(np.diag(between)), atol=1e-10)
    assert (np.diff(np.diag(between)) < 0).all()
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-12)


def test_kaldi_lda_spans_the_subspace_of_scikit_learn():
    embeddings, speakers = make_speakers()
    ours = LDA(3).fit(embeddings, speakers).projection_DK_
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=3).fit(embeddings, speakers).scalings_[:, :3]
    assert subspace_angles(ours, theirs).max() < 1e-7


def test_but_lda_equals_its_recipe_step_by_step():
    embeddings, speakers = make_speakers()
    unit = embeddings - embeddings.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    within = within_covariance(unit, speakers)
    between = np.cov(unit.T, bias=True) - within
    _, vectors = eigh(between, within + 0.01 * np.eye(6))
    expected = unit @ vectors[:, ::-1][:, :3]
    expected -= expected.mean(axis=0)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    ours = LDA(3, form="but").fit(embeddings, speakers).transform(embeddings)
    # Signs of eigenvectors are free; scores between embeddings are not.
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=1e-10)


def few_embeddings():
    return np.random.default_rng(3).normal(size=(12, 20)), np.repeat(["a", "b", "c"], 4)


def test_lda_with_fewer_embeddings_than_dimensions_gets_a_ridge_that_is_noted():
    embeddings, speakers = few_embeddings()
    but = LDA(2, form="but").fit(embeddings, speakers)
    assert but.transform(embeddings).shape == (12, 2)
    assert but.note == ""
    kaldi = LDA(2).fit(embeddings, speakers)
    ridge = 0.1 * embeddings.var(axis=0).mean()
    assert kaldi.ridge_ == pytest.approx(ridge)
    assert "LDA: the training embeddings do not span all dimensions" in kaldi.note
    within = within_covariance(embeddings, speakers) + ridge * np.eye(20)
    between = np.cov(embeddings.T, bias=True) - within_covariance(embeddings, speakers)
    assert subspace_angles(kaldi.projection_DK_, eigh(between, within)[1][:, ::-1][:, :2]).max() < 1e-6
    np.testing.assert_allclose(kaldi.projection_DK_.T @ within @ kaldi.projection_DK_, np.eye(2), atol=1e-9)


def test_a_ridge_that_was_asked_for_is_added_and_not_noted():
    embeddings, speakers = make_speakers()
    lda = LDA(2, ridge=0.3).fit(embeddings, speakers)
    within = within_covariance(embeddings, speakers) + 0.3 * embeddings.var(axis=0).mean() * np.eye(6)
    np.testing.assert_allclose(lda.projection_DK_.T @ within @ lda.projection_DK_, np.eye(2), atol=1e-9)
    whitening = Whitening(ridge=0.3).fit(embeddings)
    total = np.cov(embeddings.T, bias=True) + 0.3 * embeddings.var(axis=0).mean() * np.eye(6)
    np.testing.assert_allclose(whitening.matrix_DD_ @ total @ whitening.matrix_DD_, np.eye(6), atol=1e-9)
    assert lda.note == whitening.note == ""
    assert LDA(2).fit(embeddings, speakers).ridge_ == Whitening().fit(embeddings).ridge_ == 0.0


def test_whitening_of_fewer_embeddings_than_dimensions_gets_a_ridge_that_is_noted():
    embeddings, speakers = few_embeddings()
    for covariance in ("total", "within"):
        whitening = Whitening(covariance).fit(embeddings, speakers)
        assert whitening.ridge_ == pytest.approx(0.1 * embeddings.var(axis=0).mean())
        assert whitening.note.startswith("whitening: ")
        # What training did not see is stretched by the ridge, not by the rounding of a zero.
        assert np.linalg.norm(whitening.matrix_DD_, 2) == pytest.approx(whitening.ridge_**-0.5, rel=1e-6)


def test_a_chain_hands_on_the_notes_of_its_steps():
    embeddings, speakers = few_embeddings()
    chain = Chain([MeanSubtraction(), Whitening(), LDA(2, form="but")]).fit(embeddings, speakers)
    assert chain.note == chain.steps[1].note
    assert Chain([MeanSubtraction(), LengthNorm()]).fit(embeddings).note == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 7}, "dim: expected 1 to the embeddings' 6 dimensions, found 7"),
        ({"dim": 0}, "dim: expected 1 to"),
        ({"dim": 5}, "number of speakers less one, 3, found 5"),
        ({"dim": 2, "form": "other"}, "form: expected 'kaldi' or 'but'"),
        ({"dim": 2, "form": "but", "total_covariance_factor": 0.1}, "expected 0 with form 'but'"),
        ({"dim": 2, "form": "but", "ridge": 0.1}, "ridge: expected 0 with form 'but'"),
        ({"dim": 2, "ridge": -0.1}, "ridge: expected 0 or more"),
        ({"dim": 2, "total_covariance_factor": 1.5}, "expected 0 to 1"),
    ],
)
def test_lda_refuses_settings_that_do_not_fit(settings, message):
    embeddings, speakers = make_speakers(num_speakers=4)
    with pytest.raises(ValueError, match=message):
        LDA(**settings).fit(embeddings, speakers)


def test_lda_refuses_one_utterance_a_speaker():
    with pytest.raises(ValueError, match="found 8 speakers for 8 embeddings"):
        LDA(2).fit(np.random.default_rng(0).normal(size=(8, 3)), np.arange(8))


def test_chain_fits_each_step_on_the_output_of_the_last():
    embeddings, speakers = make_speakers()
    chain = Chain([MeanSubtraction(), LengthNorm(), LDA(3), LengthNorm()]).fit(embeddings, speakers)
    x = LengthNorm().transform(MeanSubtraction().fit(embeddings).transform(embeddings))
    expected = LengthNorm().transform(LDA(3).fit(x, speakers).transform(x))
    np.testing.assert_array_equal(chain.transform(embeddings), expected)


def test_state_moves_a_fitted_chain_into_a_new_one():
    embeddings, speakers = make_speakers()
    chain = Chain([MeanSubtraction(), LengthNorm(), LDA(3, form="but")]).fit(embeddings, speakers)
    state = get_state(chain)
    assert sorted(state) == [
        "steps.0.mean_D_",
        *(f"steps.2.{name}" for name in ("mean_D_", "offset_K_", "projection_DK_", "ridge_")),
    ]
    copy = Chain([MeanSubtraction(), LengthNorm(), LDA(3, form="but")])
    set_state(copy, state)
    np.testing.assert_array_equal(copy.transform(embeddings), chain.transform(embeddings))
    with pytest.raises(ValueError, match="expected state for 1 steps, found 'steps.2.mean_D_'"):
        set_state(Chain([MeanSubtraction()]), state)


@pytest.mark.parametrize("transform", [MeanSubtraction(), Whitening(), LDA(2), Chain([MeanSubtraction()])])
def test_not_fitted_is_refused(transform):
    with pytest.raises(ValueError, match="call fit first"):
        transform.transform(np.ones((2, 6)))


def test_wrong_dimension_and_not_a_number_are_refused():
    embeddings, _ = make_speakers()
    centring = MeanSubtraction().fit(embeddings)
    with pytest.raises(ValueError, match="expected 6 dimensions as in training, found 5"):
        centring.transform(np.ones((2, 5)))
    with pytest.raises(ValueError, match="found others in 1 of 2 rows, the first in row 1"):
        centring.transform([[1.0] * 6, [np.nan] * 6])
