"""Gender: log odds in closed form, a probe that cannot use speakers, and silhouettes against scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score

from steps.backend.estimator import get_state, set_state
from steps.backend.gender import GenderClassifier, explained_on_pc1, probe_accuracy, silhouette


def voices(seed: int = 0, num_speakers: int = 20, each: int = 6, dim: int = 4, gap: float = 2.0):
    """Embeddings of as many women as men; the genders lie `gap` apart along the first axis."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(num_speakers), each)
    genders = np.where(speakers % 2 == 1, "f", "m")
    x = 0.5 * rng.normal(size=(num_speakers, dim))[speakers] + 0.5 * rng.normal(size=(speakers.size, dim))
    x[:, 0] += gap * (genders == "f")
    return x, genders, speakers


def test_log_odds_minimise_the_weighted_cost():
    x, genders, speakers = voices()
    keep = np.ones(len(x), dtype=bool)
    keep[:5] = keep[7] = False  # unequal speakers
    x, genders, speakers = x[keep], genders[keep], speakers[keep]
    fitted = GenderClassifier(0.01).fit(x, genders, speakers)
    female = genders == "f"
    weight = np.array([1 / (speakers == speaker).sum() / np.unique(speakers[female == own]).size / 2
                       for speaker, own in zip(speakers, female, strict=True)])  # fmt: skip
    z = (x - x.mean(axis=0)) / x.std(axis=0)

    def cost(p):
        odds = z @ p[:-1] + p[-1]
        return weight @ np.logaddexp(0, np.where(female, -odds, odds)) + 0.005 * (p[:-1] ** 2).sum()

    found = minimize(cost, np.zeros(5), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(fitted.log_odds(x), z @ found[:-1] + found[-1], atol=1e-4)


def test_gaussian_voices_get_their_closed_form_log_odds():
    # Variance 0.5 along the first axis, means 0 and 2: log odds (2 x - 2) / 0.5.
    x, genders, speakers = voices(1, num_speakers=3000, each=2)
    odds = GenderClassifier(1e-5).fit(x, genders, speakers).log_odds([[1, 0, 0, 0], [1.5, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(odds, [0, 2, -4], atol=0.4)


def test_utterances_of_unknown_gender_are_left_out():
    x, genders, speakers = voices()
    some = speakers < 12
    known = np.where(some, genders, "")
    here, there = GenderClassifier().fit(x, known, speakers), GenderClassifier().fit(x[some], genders[some], speakers[some])
    np.testing.assert_array_equal(here.log_odds(x), there.log_odds(x))


def test_state_is_plain_and_a_flat_dimension_does_no_harm():
    x, genders, speakers = voices()
    x[:, 3] = 7.0
    fitted, other = GenderClassifier().fit(x, genders, speakers), GenderClassifier()
    set_state(other, get_state(fitted))
    np.testing.assert_array_equal(other.log_odds(x), fitted.log_odds(x))
    assert np.isfinite(fitted.log_odds(x)).all()


def test_probe_finds_gender_and_does_not_learn_speakers():
    x, genders, speakers = voices(2, gap=6.0)
    assert probe_accuracy(x, genders, speakers, rng=np.random.default_rng(0), num_replicates=10).value > 0.99
    # Speakers far apart and no gender: knowing a speaker's other utterances would give 1.
    rng = np.random.default_rng(3)
    x = 9 * rng.normal(size=(60, 8))[np.repeat(np.arange(60), 3)] + rng.normal(size=(180, 8))
    speakers = np.repeat(np.arange(60), 3)
    found = probe_accuracy(x, np.where(speakers % 2, "f", "m"), speakers, rng=np.random.default_rng(0))
    assert 0.25 < found.value < 0.75
    assert found.low < found.value < found.high
    assert found.high - found.low > 0.15  # 60 speakers, not 180 utterances: 2 * 1.96 * sqrt(1/4 / 60) = 0.25


def test_probe_accuracy_by_loops():
    x, genders, speakers = voices(4, num_speakers=8, each=2, gap=0.7)
    rng = np.random.default_rng(5)
    women, men = (rng.permutation(np.flatnonzero(np.arange(8) % 2 == own)) for own in (1, 0))
    fold = {int(speaker): index % 2 for group in (women, men) for index, speaker in enumerate(group)}
    hits = 0
    for speaker in range(8):
        test = speakers == speaker
        train = np.array([fold[other] != fold[speaker] for other in speakers])
        odds = GenderClassifier().fit(x[train], genders[train], speakers[train]).log_odds(x[test])
        hits += ((odds > 0) == (genders[test] == "f")).sum()
    found = probe_accuracy(x, genders, speakers, rng=np.random.default_rng(5), num_folds=2, num_replicates=10)
    assert found.value == pytest.approx(hits / 16)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_silhouette_is_that_of_scikit_learn(metric):
    x, genders, speakers = voices(6)
    found = silhouette(x, genders, speakers, rng=np.random.default_rng(0), metric=metric, num_replicates=10)
    assert found.value == pytest.approx(silhouette_score(x, genders, metric=metric), abs=1e-9)
    # The replicates, utterance by utterance: a speaker drawn twice stands twice, but is no other speaker to himself.
    rng, values = np.random.default_rng(1), []
    counts = np.zeros((5, 20), dtype=int)
    for own in (1, 0):
        counts[:, own::2] = rng.multinomial(10, np.full(10, 0.1), size=5)
    distance = cdist(x, x, metric)
    for count in counts:
        each = []
        for i in np.repeat(np.arange(len(x)), count[speakers]):
            weight = np.where(speakers == speakers[i], 1, count[speakers])
            weight[i] = 0
            same = genders == genders[i]
            a, b = (distance[i][group] @ weight[group] / weight[group].sum() for group in (same, ~same))
            each.append((b - a) / max(a, b))
        values.append(np.mean(each))
    found = silhouette(x, genders, speakers, rng=_Fixed(counts), metric=metric, num_replicates=5)
    assert [found.low, found.high] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-9)


class _Fixed:
    """A generator that draws the speakers that it is told to: first the women's counts, then the men's."""

    def __init__(self, counts):
        self.parts = [counts[:, 1::2], counts[:, 0::2]]

    def multinomial(self, num, shares, size):
        return self.parts.pop(0)


def _on_first_component(x, is_female):
    centred = x - x.mean(axis=0)
    return np.corrcoef(centred @ np.linalg.svd(centred, full_matrices=False)[2][0], is_female)[0, 1] ** 2


def test_variance_explained_on_pc1():
    x, genders, speakers = voices(7, num_speakers=400, gap=6.0)
    share, pc1 = explained_on_pc1(x, genders, speakers, rng=np.random.default_rng(0))
    # Along the first axis: 9 between the genders and 0.5 within; 0.5 along each of the other three.
    assert share.value == pytest.approx(9 / 9.5, abs=0.01)
    assert pc1 == pytest.approx(9.5 / 11, abs=0.02)
    assert share.low < share.value < share.high
    along = (x - x.mean(axis=0)) @ np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][0]
    assert share.value == pytest.approx(np.corrcoef(along, genders == "f")[0, 1] ** 2, abs=1e-9)
    counts = np.random.default_rng(1).integers(1, 4, (3, 400))
    drawn = explained_on_pc1(x, genders, speakers, rng=_Fixed(counts), num_replicates=3)[0]
    rows = [np.repeat(np.arange(len(x)), count[speakers]) for count in counts]
    values = [_on_first_component(x[kept], genders[kept] == "f") for kept in rows]
    assert [drawn.low, drawn.high] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-9)
    mixed = np.where(np.random.default_rng(0).permutation(400) % 2 == 1, "f", "m")[speakers]
    assert explained_on_pc1(x, mixed, speakers, rng=np.random.default_rng(0))[0].value < 0.02


def test_the_interval_says_that_either_of_two_like_components_may_be_the_first():
    x, genders, speakers = voices(7, num_speakers=100, gap=1.0)
    x = np.repeat(x, 10, axis=1)  # of more dimensions than are kept
    x += 0.05 * np.random.default_rng(0).normal(size=x.shape)
    other = np.random.default_rng(1).normal(size=100)[speakers]  # of speakers, not of genders
    along = (x - x.mean(axis=0)) @ np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][0]
    x = np.column_stack([x, 1.02 * along.std() / other.std() * other])
    share, _ = explained_on_pc1(x, genders, speakers, rng=np.random.default_rng(0), num_replicates=200)
    assert share.value == pytest.approx(_on_first_component(x, genders == "f"), abs=1e-9)
    rng, values = np.random.default_rng(2), []
    for _ in range(200):
        drawn = np.concatenate([rng.choice(np.arange(start, 100, 2), 50) for start in (0, 1)])
        rows = np.concatenate([np.flatnonzero(speakers == speaker) for speaker in drawn])
        values.append(_on_first_component(x[rows], genders[rows] == "f"))
    assert [share.low, share.high] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.06)
    assert share.high - share.low > 0.4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, g, s: (x, np.full(len(x), "m"), s), "expected both, found 0 female"),
        (lambda x, g, s: (x, np.where(g == "f", "female", g), s), "expected 'f', 'm' or ''"),
        (lambda x, g, s: (x, g[:-1], s), "for each of 120 embeddings"),
        (lambda x, g, s: (x, g, s[:-1]), "speakers: expected one for each of 120"),
        (lambda x, g, s: (x, np.where(np.arange(len(x)) == 0, "f", g), s), "one for each speaker, found both for '0'"),
        (lambda x, g, s: (np.where(x > 1, np.nan, x), g, s), "expected finite numbers"),
    ],
)
def test_bad_input_is_refused(change, message):
    changed = change(*voices())
    with pytest.raises(ValueError, match=message):
        GenderClassifier().fit(*changed)
    with pytest.raises(ValueError, match=message):
        silhouette(*changed, rng=np.random.default_rng(0))


def test_bad_settings_are_refused():
    x, genders, speakers = voices()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="strength: expected a number above 0"):
        GenderClassifier(0.0).fit(x, genders, speakers)
    with pytest.raises(ValueError, match="num_folds: expected 2 to 10, the speakers of the rarer gender, found 11"):
        probe_accuracy(x, genders, speakers, rng=rng, num_folds=11)
    with pytest.raises(ValueError, match="metric: expected 'cosine' or 'euclidean'"):
        silhouette(x, genders, speakers, rng=rng, metric="l1")
    with pytest.raises(ValueError, match="found all the same"):
        explained_on_pc1(np.ones_like(x), genders, speakers, rng=rng)
    with pytest.raises(ValueError, match="call fit first"):
        GenderClassifier().log_odds(x)
