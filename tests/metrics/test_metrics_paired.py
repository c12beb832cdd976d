"""Paired comparisons: the same draws for all systems, p-values worked by hand and right under the null."""

import numpy as np
import pytest

from steps.metrics.error_rates import eer
from steps.metrics.intervals import speaker_bootstrap
from steps.metrics.paired import compare_systems, holm, p_value


def make_systems(seed: int, num_speakers: int = 30, num_utterances: int = 5, noise=(1.0, 1.0)):
    """Cosines of two systems that share half of what makes an utterance unlike its speaker; all pairs of utterances."""
    rng = np.random.default_rng(seed)
    speaker_SD = rng.normal(size=(num_speakers, 1, 12))
    shared = rng.normal(size=(num_speakers, num_utterances, 12))
    systems = []
    for level in noise:
        own = rng.normal(size=shared.shape)
        x_ND = (speaker_SD + 1.3 * level * (shared + own) / np.sqrt(2)).reshape(-1, 12)
        systems.append(x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True))
    first, second = np.triu_indices(num_speakers * num_utterances, 1)
    enrol, test = first // num_utterances, second // num_utterances
    scores = [np.einsum("pd,pd->p", x_ND[first], x_ND[second]) for x_ND in systems]
    return scores, enrol == test, enrol, test


def compare(scores, *trials, seed=1, **settings):
    names = dict(zip("abc", scores, strict=False))
    return compare_systems(names, *trials, reference="a", rng=np.random.default_rng(seed), **{"num_replicates": 200} | settings)


def test_the_difference_is_that_of_paired_replicates():
    (a, b), *trials = make_systems(1, noise=(1.0, 0.8))
    record = compare([a, b], *trials, same_speaker="square")["b"]["eer"]
    replicates = [speaker_bootstrap(each, *trials, rng=np.random.default_rng(1), num_replicates=200) for each in (a, b)]
    difference = replicates[1] - replicates[0]
    truth = trials[0]
    assert record["value"] == eer(b[truth], b[~truth])
    assert record["reference"] == eer(a[truth], a[~truth])
    assert record["difference"] == record["value"] - record["reference"]
    assert record["ci95"] == np.percentile(difference, [2.5, 97.5]).tolist()
    beyond = min((difference <= 0).sum(), (difference >= 0).sum())
    assert record["p_value"] == pytest.approx(2 * (1 + beyond) / 201)


def test_pairing_narrows_the_interval():
    (a, b), *trials = make_systems(2)
    low, high = compare([a, b], *trials, same_speaker="square")["b"]["eer"]["ci95"]
    apart = [
        speaker_bootstrap(each, *trials, rng=np.random.default_rng(seed), num_replicates=200) for seed, each in enumerate((a, b))
    ]
    unpaired = np.percentile(apart[1] - apart[0], [2.5, 97.5])
    assert high - low < 0.85 * (unpaired[1] - unpaired[0])


def test_a_system_does_not_differ_from_itself_and_a_better_one_does():
    (a, b), *trials = make_systems(3, noise=(1.0, 0.5))
    found = compare([a, b, a], *trials, figures=("eer", "min_dcf", "cllr", "act_dcf"), llrs={"a": a, "b": b})
    assert found["c"]["eer"]["difference"] == 0
    assert found["c"]["eer"]["ci95"] == [0, 0]
    assert found["c"]["eer"]["p_value"] == 1
    assert found["b"]["eer"]["difference"] < 0
    assert found["b"]["eer"]["ci95"][1] < 0
    assert found["b"]["eer"]["p_value"] == pytest.approx(2 / 201)
    assert found["b"]["eer"]["p_holm"] == pytest.approx(4 / 201)
    assert set(found["b"]) == {"eer", "min_dcf", "cllr", "act_dcf"}
    assert set(found["c"]) == {"eer", "min_dcf"}  # no LLRs of c


@pytest.mark.parametrize(("same_speaker", "low", "high"), [("once", 0.0, 0.13), ("square", 0.0, 0.02)])
def test_size_under_the_null(same_speaker, low, high):
    # 60 pairs of equally good systems: at a true size of 5 % more than 7 rejections have a chance of 1 %.
    p_values = []
    for seed in range(60):
        scores, *trials = make_systems(100 + seed, num_speakers=20, num_utterances=4)
        p_values.append(compare(scores, *trials, num_replicates=99, same_speaker=same_speaker)["b"]["eer"]["p_value"])
    assert low <= np.mean(np.array(p_values) <= 0.05) <= high
    if same_speaker == "once":  # uniform: half of them under a half, give or take 3 standard deviations
        assert 0.3 < np.mean(np.array(p_values) <= 0.5) < 0.7


def test_p_values_by_hand():
    replicates = np.array([-1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    assert p_value(replicates, 4.0) == pytest.approx(2 * 2 / 10)
    # From 4, as far as 4 is from 0: -1 (5 away) and 8 (4 away).
    assert p_value(replicates, 4.0, "centred") == pytest.approx(3 / 10)
    assert p_value(np.zeros(9), 0.0) == 1
    with pytest.raises(ValueError, match="percentile or centred"):
        p_value(replicates, 4.0, "bca")


def test_holm_by_hand():
    # 0.01 x 4; 0.02 x 3; 0.03 x 2 = 0.06 and so is the one before; 0.9 x 1.
    assert holm([0.03, 0.01, 0.9, 0.02]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": "z"}, "reference: expected one of at least two systems, found 'z'"),
        ({"scores": {"a": [1.0, 0.0]}}, "at least two systems"),
        ({"scores": {"a": [1.0, 0.0], "b": [1.0]}}, "scores of b: expected one for each of 2 trials, found 1"),
        ({"scores": {"a": [1.0, 0.0], "b": [1.0, np.nan]}}, "scores of b: expected finite"),
        ({"figures": ("eer", "f1")}, "figures: expected some of .*found f1"),
        ({"figures": ()}, "found none"),
        ({"llrs": {"c": [1.0, 0.0]}}, "llrs: .*found c besides"),
        ({"p_value_of": "t"}, "percentile or centred"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"scores": {"a": [1.0, 0.0], "b": [1.0, 0.5]}, "reference": "a"} | change
    scores = arguments.pop("scores")
    with pytest.raises(ValueError, match=message):
        compare_systems(scores, [True, False], [0, 0], [0, 1], rng=np.random.default_rng(0), num_replicates=3, **arguments)
