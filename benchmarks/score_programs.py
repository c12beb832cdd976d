"""The programs that benchmarks/score.py times: ours and the usual way, for each task, and the data they work on.

A `make_<task>(folder, size)` writes data. A `<task>_<program>(folder, size, threads)` imports and loads what is not to be
timed, and returns a function that does the work and returns some of its numbers, by which the programs of a task are
compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def random_embeddings(rng, num: int, dim: int, num_speakers: int):
    """Returns float32 embeddings around speakers, and the speaker of each."""
    import numpy as np

    speakers = np.sort(rng.integers(num_speakers, size=num))
    centres = rng.standard_normal((num_speakers, dim), dtype=np.float32)
    return centres[speakers] + rng.standard_normal((num, dim), dtype=np.float32), speakers


def lines(path: Path) -> list[str]:
    """Returns the lines of a file."""
    with open(path) as file:
        return file.readlines()


def make_list(folder: Path, size: dict) -> None:
    """Arks of utterances and cohort, and a trial list."""
    import numpy as np

    from steps.data.archive import write_embeddings
    from steps.data.score_files import TrialIndex, write_trial_index

    rng = np.random.default_rng(1)
    num = size["utterances"]
    x_ND, speakers = random_embeddings(rng, num, size["dim"], max(2, num // 110))
    ids = [f"id{10001 + s:05d}/{i * 7919 % 10**11:011d}/{i % 300:05d}.wav" for i, s in enumerate(speakers.tolist())]
    write_embeddings(folder / "test", ids, x_ND)
    cohort_CD = rng.standard_normal((size["cohort"], size["dim"]), dtype=np.float32)
    write_embeddings(folder / "cohort", [f"c{i:05d}" for i in range(size["cohort"])], cohort_CD)
    enrol_P = rng.integers(num, size=size["trials"])
    near_P = np.clip(enrol_P + rng.integers(1, 40, size=enrol_P.size), 0, num - 1)
    test_P = np.where(rng.random(enrol_P.size) < 0.5, near_P, rng.integers(num, size=enrol_P.size))
    trials = TrialIndex(ids, enrol_P.astype(np.int32), test_P.astype(np.int32), speakers[enrol_P] == speakers[test_P])
    write_trial_index(folder / "trials.txt", trials)


def list_ours(folder: Path, size: dict, threads: int) -> Callable:
    import numpy as np

    from steps.backend.cosine import cosine_pairs
    from steps.backend.score_norm import cosine_cohort_statistics, s_norm
    from steps.data.archive import read_embeddings
    from steps.data.score_files import read_trial_index, write_score_index

    def run() -> list[float]:
        ids, x_ND = read_embeddings(folder / "test")
        cohort_CD = read_embeddings(folder / "cohort")[1]
        trials = read_trial_index(folder / "trials.txt")
        enrol_P, test_P = trials.rows_of({name: row for row, name in enumerate(ids)})
        statistics_N = cosine_cohort_statistics(x_ND, cohort_CD, top_n=size["top_n"], threads=threads)
        scores_P = s_norm(cosine_pairs(x_ND, enrol_P, test_P), enrol_P, test_P, statistics_N, statistics_N)
        write_score_index(folder / "ours.txt", trials, scores_P)
        return np.concatenate([scores_P[:500], scores_P[-500:]]).tolist()

    return run


def list_usual(folder: Path, size: dict, threads: int) -> Callable:
    import kaldiio
    import numpy as np

    os.chdir(folder / "test")  # the names of the arks in an scp are relative

    def unit(x_ND):
        return x_ND / np.sqrt(np.sum(x_ND**2, axis=1, keepdims=True))

    def read(name: str) -> dict:
        os.chdir(folder / name)
        return dict(kaldiio.load_scp_sequential("embeddings.scp"))

    def mean_std(x_ND, cohort_CD):
        scores_NC = np.matmul(unit(x_ND), unit(cohort_CD).T)
        scores_NC = np.sort(scores_NC, axis=1)[:, ::-1]
        return np.mean(scores_NC[:, : size["top_n"]], axis=1), np.std(scores_NC[:, : size["top_n"]], axis=1)

    def cosine_file(by_id: dict) -> None:
        with open(folder / "trials.txt") as source, open(folder / "cosine.txt", "w") as out:
            for line in source:
                _, enrol, test = line.split()
                one, other = by_id[enrol], by_id[test]
                out.write(f"{enrol} {test} {one @ other / np.linalg.norm(one) / np.linalg.norm(other):.9g}\n")

    def run() -> list[float]:
        by_id = read("test")
        cosine_file(by_id)
        pairs = [line.split()[:2] for line in lines(folder / "cosine.txt")]
        cohort_CD = np.array(list(read("cohort").values()))
        found = []
        for side in (0, 1):
            ids = sorted({pair[side] for pair in pairs})
            found.append(({name: row for row, name in enumerate(ids)}, *mean_std(np.array([by_id[i] for i in ids]), cohort_CD)))
        (row_e, mean_e, std_e), (row_t, mean_t, std_t) = found
        scores = []
        with open(folder / "cosine.txt") as source, open(folder / "usual.txt", "w") as out:
            for line in source:
                enrol, test, value = line.split()
                e, t, score = row_e[enrol], row_t[test], float(value)
                scores.append(0.5 * ((score - mean_e[e]) / std_e[e] + (score - mean_t[t]) / std_t[t]))
                out.write(f"{enrol} {test} {scores[-1]:.9g}\n")
        return [float(score) for score in scores[:500] + scores[-500:]]

    return run


def make_metrics(folder: Path, size: dict) -> None:
    """Float32 scores and truths."""
    import numpy as np

    rng = np.random.default_rng(2)
    is_target = rng.random(size["metric_trials"]) < 0.1
    scores = rng.standard_normal(is_target.size, dtype=np.float32)
    scores[is_target] += np.float32(3)
    np.save(folder / "scores.npy", scores)
    np.save(folder / "truth.npy", is_target)


def loaded(folder: Path):
    import numpy as np

    return np.load(folder / "scores.npy"), np.load(folder / "truth.npy")


def metrics_counted(folder: Path, size: dict, threads: int) -> Callable:
    from steps.metrics.streaming import stream_figures

    chunk = loaded(folder)

    def run() -> list[float]:
        figures = stream_figures([chunk], rocch=False)
        return [figures["eer"], *figures["min_dcf"].values()]

    return run


def metrics_sorted(folder: Path, size: dict, threads: int) -> Callable:
    from steps.metrics.costs import min_dcf_of_curve
    from steps.metrics.curve import error_curve
    from steps.metrics.error_rates import eer_of_curve

    scores, is_target = loaded(folder)

    def run() -> list[float]:
        curve = error_curve(scores[is_target], scores[~is_target])
        return [eer_of_curve(curve), *(min_dcf_of_curve(curve, prior) for prior in (0.01, 0.05))]

    return run


def figures_of_roc(is_target, scores) -> list[float]:
    """EER and minDCF by scikit-learn's roc_curve, all points kept."""
    import numpy as np
    from sklearn.metrics import roc_curve

    p_fa, hits, _ = roc_curve(is_target, scores, drop_intermediate=False)
    p_miss = 1 - hits
    nearest = np.abs(p_miss - p_fa).argmin()
    costs = [(prior * p_miss + (1 - prior) * p_fa).min() / prior for prior in (0.01, 0.05)]
    return [float(0.5 * (p_miss[nearest] + p_fa[nearest])), *map(float, costs)]


def metrics_usual(folder: Path, size: dict, threads: int) -> Callable:
    import sklearn.metrics  # noqa: F401  (imported before the clock starts)

    scores, is_target = loaded(folder)
    return lambda: figures_of_roc(is_target, scores)


def make_files(folder: Path, size: dict) -> None:
    """A trial list and its score file."""
    import numpy as np

    from steps.data.score_files import TrialIndex, write_score_index, write_trial_index

    rng = np.random.default_rng(3)
    num_ids, num = max(100, size["file_trials"] // 40), size["file_trials"]
    speaker_N = np.arange(num_ids) // 50
    ids = [f"id{10001 + s:05d}/{i * 7919 % 10**11:011d}/{i % 300:05d}.wav" for i, s in enumerate(speaker_N.tolist())]
    enrol_P = np.sort(rng.integers(num_ids, size=num)).astype(np.int32)
    near_P = np.clip(enrol_P + rng.integers(-20, 20, size=num), 0, num_ids - 1)
    test_P = np.where(rng.random(num) < 0.3, near_P, rng.integers(num_ids, size=num)).astype(np.int32)
    trials = TrialIndex(ids, enrol_P, test_P, speaker_N[enrol_P] == speaker_N[test_P])
    write_trial_index(folder / "trials.txt", trials)
    write_score_index(folder / "scores.txt", trials, rng.standard_normal(num) * 0.2 + 0.4 * trials.is_target)


def files_ours(folder: Path, size: dict, threads: int) -> Callable:
    from steps.data.score_matching import ScoreChunks
    from steps.metrics.streaming import stream_figures

    def run() -> list[float]:
        figures = stream_figures(ScoreChunks(folder / "trials.txt", folder / "scores.txt"), rocch=False)
        return [figures["eer"], *figures["min_dcf"].values()]

    return run


def files_usual(folder: Path, size: dict, threads: int) -> Callable:
    import numpy as np
    import sklearn.metrics  # noqa: F401  (imported before the clock starts)

    def run() -> list[float]:
        labels = {}
        for line in lines(folder / "trials.txt"):
            label, enrol, test = line.split()
            labels[enrol, test] = label == "1"
        scores, truths = [], []
        for line in lines(folder / "scores.txt"):
            enrol, test, score = line.split()
            scores.append(float(score))
            truths.append(labels[enrol, test])
        return figures_of_roc(np.array(truths), np.array(scores))

    return run


def make_pairs(folder: Path, size: dict) -> None:
    """Embeddings and speakers."""
    import numpy as np

    num = size["pair_utterances"]
    x_ND, speakers = random_embeddings(np.random.default_rng(4), num, size["dim"], num // 50)
    np.save(folder / "x.npy", x_ND)
    np.save(folder / "speakers.npy", speakers)


def pairs_ours(folder: Path, size: dict, threads: int) -> Callable:
    import numpy as np

    from steps.backend.search import score_histogram

    x_ND, speakers = np.load(folder / "x.npy"), np.load(folder / "speakers.npy")

    def run() -> list[float]:
        found = score_histogram(x_ND, speakers, threads=threads)
        return [float(found.target.sum() + found.nontarget.sum()) / len(x_ND)]

    return run


def pairs_bare(folder: Path, size: dict, threads: int) -> Callable:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from steps.backend.search import PAIR_ROWS

    x_ND = np.load(folder / "x.npy")
    starts = range(0, len(x_ND), PAIR_ROWS)
    blocks = [(first, second) for first in starts for second in starts if second >= first]

    def product(pair: tuple[int, int]) -> float:
        first, second = (x_ND[start : start + PAIR_ROWS] for start in pair)
        return float((first @ second.T)[0, 0])

    def run() -> list[float]:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(product, blocks))
        return [(len(x_ND) - 1) / 2]

    return run


def make_plda(folder: Path, size: dict) -> None:
    """Embeddings, a model and trials."""
    import numpy as np

    rng = np.random.default_rng(5)
    x_ND, _ = random_embeddings(rng, size["utterances"], size["dim"], max(2, size["utterances"] // 110))
    np.save(folder / "x.npy", x_ND)
    np.save(folder / "between.npy", np.diag(rng.uniform(0.1, 2.0, size["dim"])))
    np.save(folder / "trials.npy", rng.integers(len(x_ND), size=(2, size["plda_trials"])))


def plda_model(folder: Path):
    import numpy as np

    from steps.backend.plda import PLDA

    between_DD = np.load(folder / "between.npy")
    plda = PLDA.from_covariances(np.zeros(len(between_DD)), between_DD, np.eye(len(between_DD)), length_norm="none")
    return plda, np.load(folder / "x.npy"), *np.load(folder / "trials.npy")


def plda_ours(folder: Path, size: dict, threads: int) -> Callable:
    plda, x_ND, enrol_P, test_P = plda_model(folder)
    return lambda: plda.score_trials(x_ND, x_ND, enrol_P, test_P)[:1000].tolist()


def plda_usual(folder: Path, size: dict, threads: int) -> Callable:
    import numpy as np

    plda, x_ND, enrol_P, test_P = plda_model(folder)

    def run() -> list[float]:
        u_ND, psi_D = plda.transform(x_ND), plda.psi_D_
        scores_P = np.empty(enrol_P.size)
        for start in range(0, enrol_P.size, 50_000):
            chunk = slice(start, start + 50_000)
            v_pD = u_ND[test_P[chunk]]
            mean_pD, variance_D = psi_D / (psi_D + 1) * u_ND[enrol_P[chunk]], 1 + psi_D / (psi_D + 1)
            same = np.log(variance_D) + (v_pD - mean_pD) ** 2 / variance_D
            other = np.log(1 + psi_D) + v_pD**2 / (1 + psi_D)
            scores_P[chunk] = 0.5 * (other - same).sum(axis=1)
        return scores_P[:1000].tolist()

    return run


def make_linkage(folder: Path, size: dict) -> None:
    """Eight windows for each utterance, and trials."""
    import numpy as np

    rng = np.random.default_rng(6)
    num = size["linkage_utterances"]
    centres = rng.standard_normal((num, 1, size["dim"]))
    np.save(folder / "rows.npy", (centres + rng.standard_normal((num, 8, size["dim"]))).reshape(-1, size["dim"]))
    np.save(folder / "trials.npy", rng.integers(num, size=(2, size["linkage_trials"])))


def linkage_ours(folder: Path, size: dict, threads: int) -> Callable:
    import numpy as np

    from steps.backend.linkage import LinkageScoring
    from steps.backend.windows import Windows

    rows_RD, trials_2P = np.load(folder / "rows.npy"), np.load(folder / "trials.npy")
    windows = Windows(rows_RD, np.arange(0, len(rows_RD) + 1, 8))
    return lambda: LinkageScoring("average").score_trials(windows, *trials_2P)[:1000].tolist()


def linkage_usual(folder: Path, size: dict, threads: int) -> Callable:
    import numpy as np
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    rows_RD, trials_2P = np.load(folder / "rows.npy"), np.load(folder / "trials.npy")

    def height(enrol: int, test: int) -> float:
        both = np.concatenate([rows_RD[8 * enrol : 8 * enrol + 8], rows_RD[8 * test : 8 * test + 8]])
        return -float(linkage(pdist(both, "cosine"), "average")[-1, 2])

    return lambda: [height(enrol, test) for enrol, test in trials_2P.T.tolist()][:1000]


def make_identify(folder: Path, size: dict) -> None:
    """Enrolled embeddings and queries."""
    import numpy as np

    rng = np.random.default_rng(7)
    enrolled_ND = rng.standard_normal((size["enrolled"], size["dim"]), dtype=np.float32)
    chosen = rng.integers(size["enrolled"], size=size["queries"])
    np.save(folder / "enrolled.npy", enrolled_ND)
    np.save(folder / "queries.npy", enrolled_ND[chosen] + rng.standard_normal((size["queries"], size["dim"]), dtype=np.float32))


def identify_ours(folder: Path, size: dict, threads: int, kind: str = "exact") -> Callable:
    import numpy as np

    from steps.backend.search import build_index

    index, queries = build_index(np.load(folder / "enrolled.npy"), kind, threads=threads), np.load(folder / "queries.npy")
    return lambda: index.search(queries, 10)[0].ravel().astype(float).tolist()


def identify_faiss(folder: Path, size: dict, threads: int) -> Callable:
    return identify_ours(folder, size, threads, "faiss")


def identify_usual(folder: Path, size: dict, threads: int) -> Callable:
    import numpy as np

    x_ND, queries_QD = (np.load(folder / f"{name}.npy") for name in ("enrolled", "queries"))
    x_ND, queries_QD = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (x_ND, queries_QD))

    def run() -> list[float]:
        scores_QN = queries_QD @ x_ND.T
        best_QK = np.argsort(-scores_QN, axis=1)[:, :10]
        return np.take_along_axis(scores_QN, best_QK, axis=1).ravel().astype(float).tolist()

    return run
