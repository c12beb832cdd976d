"""Dominant sets against the rule carried out one item at a time, and against what can be worked out."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist

from steps.backend import dominant_sets as module
from steps.backend.dominant_sets import DominantSetScoring, affinities, dominant_sets, dominant_sets_of_affinities
from steps.backend.linkage import METHODS
from steps.backend.windows import Windows


def plain_affinities(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """(Affinities, angles over pi, scales), number by number."""
    n = len(x)
    angle = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                cosine = x[i] @ x[j] / np.sqrt((x[i] @ x[i]) * (x[j] @ x[j]))
                angle[i, j] = np.arccos(np.clip(cosine, -1, 1)) / np.pi
    scale = [float(np.mean(sorted(angle[i, j] for j in range(n) if j != i)[:7])) if n > 1 else 1.0 for i in range(n)]
    return np.array([[np.exp(-angle[i, j] / (scale[i] * scale[j])) * (i != j) for j in range(n)] for i in range(n)]), angle, scale


def plain_sets(affinity: np.ndarray, epsilon: float, threshold: float, cut: str) -> tuple[list[dict[int, float]], list[int]]:
    """(Sets as {item: participation}, items that are left), one set after the other."""
    left, sets = list(range(len(affinity))), []
    while len(left) > 1 and affinity[np.ix_(left, left)].sum() > 0:
        part = affinity[np.ix_(left, left)]
        x, change = np.full(len(left), 1 / len(left)), np.inf
        while change > epsilon:
            fresh = x * (part @ x)
            fresh /= fresh.sum()
            x, change = fresh, np.linalg.norm(fresh - x)
        limit = threshold * x.max() if cut == "relative" else threshold
        members = {item: value for item, value in zip(left, x, strict=True) if value >= limit}
        if not members:
            break
        sets.append(members)
        left = [item for item in left if item not in members]
    if len(left) == 1:
        sets.append({left.pop(): 1.0})
    return sets, left


def plain_labels(x: np.ndarray, rest: str, published: bool, **how) -> tuple[np.ndarray, np.ndarray]:
    affinity, angle, scale = plain_affinities(x)
    sets, left = plain_sets(affinity, **how)
    label, participation = np.full(len(x), -1), np.zeros(len(x))
    for number, members in enumerate(sets):
        for item, value in members.items():
            label[item], participation[item] = number, value
    centres = [max(members, key=lambda item: (members[item], -item)) for members in sets]
    for place, item in enumerate(left):
        if rest != "noise":
            label[item] = len(sets) + (place if rest == "single" else 0)
        elif published:  # never the last set, and the farthest of the others
            label[item] = np.argmax([angle[item, centre] for centre in centres[:-1]] or [0])
        else:
            label[item] = np.argmin([angle[item, c] / (scale[item] * scale[c]) for c in centres] or [0])
    return label, participation


def plain_score(x: np.ndarray, method: str, **how) -> float:
    sets, _ = plain_sets(plain_affinities(x)[0], **how)
    if len(sets) < 2:
        return 0.0
    vectors = np.stack([sum(value * x[item] for item, value in members.items()) for members in sets])
    return -linkage(pdist(vectors, "cosine"), method)[-1, 2]


def clouds(rng: np.random.Generator, num: int, width: float) -> np.ndarray:
    return rng.normal(size=(4, 6))[rng.integers(4, size=num)] + width * rng.normal(size=(num, 6))


def test_affinities_are_those_of_the_formula():
    for num in (1, 2, 3, 8, 9, 20):
        x = clouds(np.random.default_rng(num), num, 0.5)
        np.testing.assert_allclose(affinities(x), plain_affinities(x)[0], atol=1e-12)


def test_two_vectors_and_a_set_of_equals_worked_out():
    # Of two vectors, both scales are their distance d: exp(-d / d^2).
    np.testing.assert_allclose(affinities([[1.0, 0], [0, 1]]), np.exp(-2) * (1 - np.eye(2)), atol=1e-15)
    # All alike: the dynamics stay where they begin.
    label, participation = dominant_sets_of_affinities(np.ones((5, 5)), threshold=0.2, cut="absolute")
    np.testing.assert_array_equal(label, np.zeros(5))
    np.testing.assert_allclose(participation, 0.2)


def test_the_scale_of_affinities_does_not_matter_however_small():
    label, participation = dominant_sets_of_affinities(np.full((5, 5), 1e-323), threshold=0.1, cut="absolute")
    np.testing.assert_array_equal(label, np.zeros(5))
    np.testing.assert_allclose(participation, 0.2)
    label, participation = dominant_sets_of_affinities(np.zeros((3, 3)), rest="whole")
    assert label.tolist() == [0, 0, 0]
    assert not participation.any()


def test_a_set_is_met_at_its_most_participating_item_the_first_of_equals():
    found = module._most_participating(np.array([0, 0, 1, 1, 1, -1]), np.array([0.3, 0.7, 0.2, 0.4, 0.4, 0]))
    np.testing.assert_array_equal(found, [1, 3])


def test_identical_embeddings_are_one_set():
    x = np.array([[0.3, 0.7, 0.1]] * 6 + [[0.9, -0.2, 0.4]] * 3) * np.arange(1, 10)[:, None]
    label, participation = dominant_sets(x)
    assert label.tolist() == [0] * 6 + [1] * 3
    np.testing.assert_allclose(participation, [1 / 6] * 6 + [1 / 3] * 3)


@pytest.mark.parametrize(("rest", "published"), [("noise", False), ("noise", True), ("whole", False), ("single", False)], ids=str)
def test_random_clouds_are_clustered_as_one_at_a_time(rest, published):
    rng, num_left = np.random.default_rng(0), 0
    for case in range(36):
        x = clouds(rng, int(rng.integers(1, 22)), float(rng.choice([0.2, 0.6])))
        how = {"epsilon": 1e-5, "threshold": (0.1, 0.3, 0.45)[case % 3], "cut": ("absolute", "relative")[case % 2]}
        label, participation = dominant_sets(x, rest=rest, published=published, **how)
        expected, expected_participation = plain_labels(x, rest, published, **how)
        np.testing.assert_array_equal(label, expected)
        np.testing.assert_allclose(participation, expected_participation, atol=1e-10)
        num_left += (participation == 0).sum()
    assert num_left > 10


def test_noise_goes_to_the_nearest_set_and_as_published_to_the_farthest_but_the_last():
    # Three sets of two, found in this order, and item 6 that is like the first, less like the second.
    affinity = np.zeros((7, 7))
    for value, (i, j) in zip((9.0, 6.0, 3.0), ((0, 1), (2, 3), (4, 5)), strict=True):
        affinity[i, j] = affinity[j, i] = value
    alone = affinity.copy()
    alone[6, [0, 2, 4]] = alone[[0, 2, 4], 6] = [0.03, 0.02, 0.01]
    found, participation = dominant_sets_of_affinities(alone, threshold=0.4, cut="absolute", rest="whole")
    assert found.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert participation[6] == 1  # one that is left is a set by itself
    both = np.zeros((8, 8))
    both[:7, :7] = alone
    found, participation = dominant_sets_of_affinities(both, threshold=0.4, cut="absolute")
    assert found[:7].tolist() == [0, 0, 1, 1, 2, 2, 0]
    assert participation[6] == 0
    angle = np.array([0, 0.1, 0.5, 0.5, 0.9, 0.9, 0])
    choose = module._as_published(np.tile(angle, (7, 1)))
    assert choose(np.array([0, 0, 1, 1, 2, 2, -1]), np.array([0.5] * 6 + [0]), 6) == 1
    assert choose(np.array([0, 0, 0, 0, 0, 0, -1]), np.array([0.1] * 6 + [0]), 6) == 0


def test_two_utterances_of_each_speaker_find_one_another():
    rng = np.random.default_rng(1)
    speaker = rng.permutation(np.repeat(np.arange(20), 2))
    x = rng.normal(size=(20, 64))[speaker] + 0.4 * rng.normal(size=(40, 64))
    label, _ = dominant_sets(x)
    assert len(set(zip(speaker.tolist(), label.tolist(), strict=True))) == 20 == label.max() + 1


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_those_of_one_trial_at_a_time(method, monkeypatch):
    monkeypatch.setattr(module, "SLOT_NUMBERS", 1500)  # so that stacks wait, and take the place of others
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 9000)
    rng = np.random.default_rng(2)
    centre = rng.normal(size=(5, 6))
    items = [centre[n % 5] + 0.6 * rng.normal(size=(rng.integers(1, 9), 6)) for n in range(30)]
    enrol_P, test_P = rng.integers(30, size=(2, 50))
    how = {"epsilon": 1e-5, "threshold": 0.1, "cut": "relative" if method in ("ward", "single") else "absolute"}
    found = DominantSetScoring(method, **how).score_trials(Windows.of(items), enrol_P, test_P)
    pairs = [np.concatenate([items[e], items[t]]) for e, t in zip(enrol_P, test_P, strict=True) if e != t]
    np.testing.assert_allclose(found[enrol_P != test_P], [plain_score(x, method, **how) for x in pairs], atol=1e-12)


def test_one_set_and_none_score_zero():
    like = np.array([[1.0, 2.0, 3.0]])
    scoring, windows = DominantSetScoring(), Windows.of([like, like.repeat(9, axis=0), like.repeat(10, axis=0), -like])
    # Ten windows all alike have 0.1 each, which is enough; eleven have less, and form no set.
    found = scoring.score_trials(windows, [0, 0, 1, 0], [1, 2, 3, 3])
    np.testing.assert_allclose(found[:3], [0, 0, -2], atol=1e-12)
    assert not np.signbit(found[:2]).any()
    assert found[3] == 0  # two windows are one set, even these
    label, participation = dominant_sets(like.repeat(10, axis=0), cut="absolute")
    np.testing.assert_allclose(participation, 0.1)
    label, participation = dominant_sets(like.repeat(11, axis=0), cut="absolute", rest="single")
    assert label.tolist() == list(range(11))
    assert not participation.any()


def test_the_matrix_and_all_linkages_agree_with_trials():
    rng = np.random.default_rng(3)
    windows = Windows.of([clouds(rng, int(rng.integers(1, 6)), 0.5) for _ in range(9)])
    scoring = DominantSetScoring("complete")
    trials = np.repeat(np.arange(4), 5), np.tile(np.arange(4, 9), 4)
    scores = scoring.score_trials(windows, *trials)
    np.testing.assert_allclose(scoring.score_matrix(windows[:4], windows[4:]).ravel(), scores, atol=1e-12)
    np.testing.assert_allclose(-scoring.heights(windows, *trials)[:, METHODS.index("complete")], scores, atol=1e-15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cut": "both"}, "cut: expected one of absolute, relative, found 'both'"),
        ({"epsilon": 0.0}, "epsilon: expected at least 1e-14"),
        ({"threshold": 0.0}, "threshold: expected more than 0 and at most 1"),
        ({"threshold": 1.5}, "threshold: expected more than 0 and at most 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        dominant_sets(np.eye(3), **settings)
    with pytest.raises(ValueError, match=message):
        DominantSetScoring(**settings).score_trials(Windows.of([np.eye(3)]), [0], [0])


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="rest: expected one of noise, whole, single, found 'all'"):
        dominant_sets(np.eye(3), rest="all")
    with pytest.raises(ValueError, match="published: expected rest = 'noise' with it, found 'whole'"):
        dominant_sets(np.eye(3), rest="whole", published=True)
    with pytest.raises(ValueError, match="linkage: expected one of single"):
        DominantSetScoring("x").score_trials(Windows.of([np.eye(3)]), [0], [0])
    with pytest.raises(ValueError, match="length above 0"):
        dominant_sets(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="expected lengths above 0"):
        DominantSetScoring().score_trials(Windows.of([np.zeros((1, 2)), np.ones((1, 2))]), [0], [1])
    with pytest.raises(ValueError, match="expected a symmetric matrix"):
        dominant_sets_of_affinities([[0, 1.0], [2.0, 0]])
    with pytest.raises(ValueError, match="expected none below 0"):
        dominant_sets_of_affinities([[0, -1.0], [-1.0, 0]])
