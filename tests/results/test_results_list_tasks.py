"""Clustering and identification by lists, against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.metrics.clustering import misclassification_rate
from steps.metrics.identification import Searches, bootstrap_dir_at_far
from steps.metrics.intervals import interval
from steps.results import list_tasks
from steps.results.list_tasks import classifier_figures, clustering_list_figures, identification_list_figures, list_lines
from steps.results.settings import TaskSettings
from steps.results.tasks import cosine_trials

SETTINGS = TaskSettings(run=("clustering", "identification"), linkages=("complete",), clusterings=("ahc",), replicates=20)


def make(num_speakers: int, per_speaker: int, spread: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    speakers = np.repeat([f"s{number:02}" for number in range(num_speakers)], per_speaker)
    x_ND = np.repeat(rng.normal(size=(num_speakers, 8)), per_speaker, axis=0)
    return speakers.tolist(), x_ND + spread * rng.normal(size=x_ND.shape)


@pytest.mark.parametrize("with_score", [False, True])
def test_the_best_cuts_are_those_of_trying_every_cut(with_score):
    speakers, x_ND = make(20, 2, 0.8)
    ids = [f"i{number:02}" for number in range(40)]
    score = cosine_trials(x_ND) if with_score else None
    settings = TaskSettings(run=("clustering",), linkages=("complete",), clusterings=("ahc",), replicates=20, max_items=4)
    figures = clustering_list_figures("x", ids, x_ND, speakers, score=score, settings=settings)["ahc_complete"]["best"]
    merges = linkage(pdist(x_ND, "cosine"), "complete")
    cuts = {num: fcluster(merges, num, "maxclust") for num in range(1, 41)}
    of = {name: {num: misclassification_rate(cut, speakers, name) for num, cut in cuts.items()} for name in ("2018", "legacy")}
    least = {name: min(rates.values()) for name, rates in of.items()}
    assert 0 < least["2018"] < least["legacy"] < 1
    assert figures["mr"] == pytest.approx(least["2018"])
    assert figures["mr_legacy_of_any_cut"] == pytest.approx(least["legacy"])
    # Of equally good cuts that with fewest clusters.
    assert figures["num_clusters"] == min(num for num, rate in of["2018"].items() if rate == pytest.approx(least["2018"]))
    legacy = min(num for num, rate in of["legacy"].items() if rate == pytest.approx(least["legacy"]))
    assert figures["num_clusters_legacy"] == legacy
    assert figures["num_items"] == 40  # whole, whatever max_items


def test_a_list_that_cannot_be_clustered_is_named():
    with pytest.raises(RecipeError, match="clustering of the list 'x'"):
        clustering_list_figures("x", ["i", "j"], np.zeros((2, 3)), ["a", "b"], score=None, settings=SETTINGS)


def by_hand(roles, speakers, x_ND, rank):
    unit = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    names = sorted({s for s, r in zip(speakers, roles, strict=True) if r == "enrol"})
    models = []
    for name in names:
        mean = sum(unit[n] for n in range(len(roles)) if roles[n] == "enrol" and speakers[n] == name)
        models.append(mean / np.linalg.norm(mean))
    hits = []
    for n in [n for n, role in enumerate(roles) if role == "test"]:
        own = unit[n] @ models[names.index(speakers[n])]
        hits.append(sum(unit[n] @ model >= own - 1e-12 for model in models) <= rank)
    return np.mean(hits)


@pytest.mark.parametrize("block", [2_000_000, 60])
def test_identification_is_that_of_going_through_all_pairs(monkeypatch, block):
    monkeypatch.setattr(list_tasks, "TRIALS_AT_A_TIME", block)
    speakers, x_ND = make(15, 6, 1.5)
    order = np.random.default_rng(1).permutation(90)
    speakers, x_ND = [speakers[n] for n in order], x_ND[order]
    # As many utterances to enrol with as fall to each; s14 is enrolled and not tested.
    roles = ["enrol" if n % 3 or speakers[n] == "s14" else "test" for n in range(90)]
    found = identification_list_figures(roles, speakers, cosine_trials(x_ND), SETTINGS)
    assert 0 < found["rate"]["1"] < found["rate"]["5"] < 1
    for rank in (1, 5):
        assert found["rate"][str(rank)] == pytest.approx(by_hand(roles, speakers, x_ND, rank))
        low, high = found["rate_ci95"][str(rank)]
        assert low <= found["rate"][str(rank)] <= high
    assert (found["num_enrolled"], found["num_enrol_utterances"], found["num_mated"]) == (
        15,
        roles.count("enrol"),
        roles.count("test"),
    )
    assert len(found["cmc"]) == 15
    assert (found["cmc"][0], found["cmc"][4], found["cmc"][-1]) == (found["rate"]["1"], found["rate"]["5"], 1)


def known_of(draw):
    return sorted(generator(1, "identification", "list", draw).permutation(12)[:9].tolist())


def test_the_open_set_leaves_speakers_out_whose_tests_are_strangers():
    speakers, x_ND = make(12, 4, 1.2)
    roles = ["enrol", "enrol", "test", "test"] * 12
    settings = replace(SETTINGS, draws=3, open_share=0.25, fars=(0.1,), ranks=(1,))
    found = identification_list_figures(roles, speakers, cosine_trials(x_ND), settings)["open"]
    assert (found["num_enrolled"], found["num_draws"], found["num_mated"], found["num_nonmated"]) == (9, 3, 54, 18)
    unit = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    names = sorted(set(speakers))
    means = [unit[[n for n in range(48) if speakers[n] == name and roles[n] == "enrol"]].sum(axis=0) for name in names]
    hits, strangers, asked = [], [], []
    for draw in range(3):
        known = known_of(draw)
        for n in [n for n in range(48) if roles[n] == "test"]:
            scores = {names[m]: unit[n] @ means[m] / np.linalg.norm(means[m]) for m in known}
            best = max(scores, key=scores.get)
            asked.append(speakers[n])
            if speakers[n] not in scores:
                strangers.append(scores[best])
            else:
                hits.append(scores[best] if best == speakers[n] else -np.inf)
    rates = [np.mean([hit >= t for hit in hits]) for t in [*strangers, *hits] if np.mean([s >= t for s in strangers]) <= 0.1]
    assert 0 < max(rates) < 1
    assert found["dir"]["0.1"] == pytest.approx(max(rates))
    # The same interval of searches that are put together here: of what decides them, the scores of the best and of the right one.
    mated, best = iter(hits), iter(strangers)
    is_mated = [name in {names[m] for m in known_of(draw)} for draw in range(3) for name in asked[24 * draw : 24 * draw + 24]]
    values = [next(mated if each else best) for each in is_mated]
    searches = Searches(
        np.where(is_mated, np.where(np.isinf(values), 2, 1), 0), np.where(is_mated, values, -np.inf), np.array(values), 9
    )
    rng = generator(1, "bootstrap", "open list")
    replicates = bootstrap_dir_at_far(searches, asked, (0.1,), rng=rng, num_replicates=20)
    assert found["dir_ci95"]["0.1"] == pytest.approx(interval(replicates[:, 0]))
    for few in (replace(settings, open_share=0.0), replace(settings, open_share=0.01)):
        assert "open" not in identification_list_figures(roles, speakers, cosine_trials(x_ND), few)


def test_the_classifier_is_right_where_its_own_output_is_among_the_largest():
    rng = np.random.default_rng(3)
    enrolled, spoken = [f"s{number:02}" for number in range(9)], rng.integers(9, size=60)
    scores_MP = rng.normal(size=(9, 60)) + 1.5 * (np.arange(9)[:, None] == spoken)
    found = classifier_figures(enrolled, scores_MP, [enrolled[number] for number in spoken], SETTINGS)
    order = np.argsort(-scores_MP, axis=0)
    for rank in (1, 5):
        expected = np.mean([spoken[p] in order[:rank, p] for p in range(60)])
        assert 0.2 < expected < 1
        assert found["rate"][str(rank)] == pytest.approx(expected)
        assert found["rate_ci95"][str(rank)][0] < expected < found["rate_ci95"][str(rank)][1]
    assert (found["num_enrolled"], found["num_mated"], len(found["cmc"])) == (9, 60, 9)
    assert classifier_figures(enrolled, np.zeros((9, 1)), ["s03"], SETTINGS)["rate"]["5"] == 0  # all alike: nobody
    with pytest.raises(ValueError, match=r"expected \[9, 60\].*and s99"):
        classifier_figures(enrolled, scores_MP, ["s99"] * 60, SETTINGS)


@pytest.mark.parametrize("seed", [0, 1])
def test_visitors_are_no_ranks_and_make_the_open_set(seed):
    speakers, x_ND = make(12, 4, 1.0, seed)
    roles = ["test" if n % 4 > 1 or n // 4 >= 9 else "enrol" for n in range(48)]  # the last three speakers are visitors
    settings = replace(SETTINGS, fars=(0.1, 0.5), ranks=(1, 2), open_share=0.25)
    found = identification_list_figures(roles, speakers, cosine_trials(x_ND), settings)
    alone = [n for n in range(48) if n // 4 < 9]
    few = identification_list_figures(
        [roles[n] for n in alone], [speakers[n] for n in alone], cosine_trials(x_ND[alone]), replace(settings, open_share=0.0)
    )
    counts = ("num_enrolled", "num_mated", "num_visitors", "num_visits")
    assert [found[name] for name in counts] == [9, 18, 3, 12]
    for name in ("rate", "rate_ci95", "cmc"):  # as if the visitors had not come
        assert found[name] == few[name]
    unit = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    mean = {s: sum(unit[n] for n in alone if speakers[n] == s and roles[n] == "enrol") for s in {speakers[n] for n in alone}}
    hits, false = [], []
    for n in [n for n in range(48) if roles[n] == "test"]:
        scores = {s: unit[n] @ each / np.linalg.norm(each) for s, each in mean.items()}
        best = max(scores, key=scores.get)
        if speakers[n] not in mean:
            false.append(scores[best])
        else:
            hits.append(scores[best] if best == speakers[n] else -np.inf)
    for far in settings.fars:
        rates = [np.mean([hit >= t for hit in hits]) for t in [*false, *hits, 9.0] if np.mean([f >= t for f in false]) <= far]
        assert found["open"]["dir"][str(far)] == pytest.approx(max(rates))
    of_open = [found["open"][name] for name in ("num_enrolled", "num_draws", "num_mated", "num_nonmated")]
    assert of_open == [9, 1, 18, 12]
    [line] = list_lines({"identification_lists": {"y": found}})
    assert line.startswith("identification, list y, 9 enrolled, 18 tests of these and 12 of 3 visitors: rank 1 ")


@pytest.mark.parametrize("roles", [["enrol"] * 4, ["test"] * 4, ["enrol", "enrol", "test", "test"]])
def test_identification_needs_both_and_somebody_enrolled_among_the_tested(roles):
    with pytest.raises(ValueError, match="expected enrolled speakers, and tests of some of these"):
        identification_list_figures(roles, ["a", "a", "b", "b"], cosine_trials(np.eye(4)), SETTINGS)


def test_the_log_names_each_list():
    speakers, x_ND = make(4, 2, 0.1)
    clustered = clustering_list_figures("x", list("abcdefgh"), x_ND, speakers, score=None, settings=SETTINGS)
    found = identification_list_figures(["enrol", "test"] * 4, speakers, cosine_trials(x_ND), SETTINGS)
    first, *rest = list_lines({"identification_lists": {"y": found}, "clustering_lists": {"x": clustered}})
    rates = "rank 1 100.0 %, rank 5 100.0 %, DIR at FAR 1 % 100.0 %, DIR at FAR 10 % 100.0 %"
    assert first == f"identification, list y, 4 enrolled: {rates}"
    [line] = list_lines({"identification_by_classifier": {"y": found}})
    assert line == "identification by the classifier, list y, 4 speakers: rank 1 100.0 %, rank 5 100.0 %"
    best = "clustering, list x, ahc_complete (best): MR 0.00 %, legacy 0.00 %, 4 clusters of 8 items of 4 speakers"
    assert best in rest
