"""The pictures of a list of scored trials, and of the embeddings behind it, as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from steps.metrics.costs import bayes_threshold
from steps.metrics.curve import error_curve
from steps.metrics.error_rates import det_points, error_rates
from steps.metrics.pav import pav_blocks
from steps.plots.bayes_error import BayesErrors, bayes_error_figure
from steps.plots.det import det_figure
from steps.plots.figure import Figure, save
from steps.plots.histogram import score_histogram
from steps.plots.reliability import reliability_figure
from steps.plots.tippett import tippett_figure

LOG_ODDS = np.linspace(-7.0, 7.0, 141)  # of P_target from about 0.001 to 0.999
MARKED_PRIORS = (0.01, 0.05)
_TRUSTED = 30  # errors that a rate needs to be believed (Doddington's rule)
_PERPLEXITY = 30.0  # at most; the half of all points, as in ZHAW's programs, makes one cloud of thousands of windows
_LLR_NAME = "Calibrated log-likelihood ratio (natural log)"

Pair = tuple[np.ndarray, np.ndarray]  # (target, non-target) scores or LLRs


def write_list_pictures(
    folder: Path,
    name: str,
    is_target: np.ndarray,
    scores: np.ndarray,
    *,
    llrs: np.ndarray | None = None,
    priors: Sequence[float] = MARKED_PRIORS,
    only: Sequence[str] = ("det", "scores", "tippett", "reliability", "bayes_error"),
) -> list[str]:
    """Write `<kind>.<name>.png` and `.svg` of each kind into `folder`, and return the kinds that were written.

    Args:
        folder: made where it is not there.
        name: of the list.
        is_target: truth of each trial.
        scores: one a trial.
        llrs: calibrated LLRs; without them there is no Tippett plot, reliability diagram or Bayes error.
        priors: to mark.
        only: the kinds that are wanted.

    Raises:
        ValueError: an unknown kind, trials of one kind only, or numbers that are not finite.
    """
    pair = scores[is_target], scores[~is_target]
    calibrated = None if llrs is None else (llrs[is_target], llrs[~is_target])
    makers = {"det": lambda: det_figure({name: det_points(*pair)}, name), "scores": lambda: histogram(pair, None, name, priors)}
    if calibrated is not None:
        makers |= {
            "tippett": lambda: tippett_figure(*calibrated, name, before=pair),
            "reliability": lambda: reliability(pair, calibrated, name),
            "bayes_error": lambda: bayes_error({"": (pair, calibrated)}, name, priors),
        }
    strange = set(only) - {"det", "scores", "tippett", "reliability", "bayes_error"}
    if strange:
        raise ValueError(f"only: no picture is called {', '.join(sorted(strange))}")
    folder.mkdir(parents=True, exist_ok=True)
    kinds = [kind for kind in only if kind in makers]
    for kind in kinds:
        save(makers[kind](), folder / f"{kind}.{name}")
    return kinds


def histogram(scores: Pair, llrs: Pair | None, title: str, priors: Sequence[float] = MARKED_PRIORS) -> Figure:
    """Return the histogram of calibrated LLRs with Bayes thresholds, of the scores where there are no LLRs."""
    target, nontarget = scores if llrs is None else llrs
    thresholds, p_miss, p_fa = error_rates(target, nontarget)
    lines = {"EER": float(thresholds[abs(p_miss - p_fa).argmin()])}
    if llrs is not None:
        lines |= {f"Bayes, P_target = {prior}": bayes_threshold(prior) for prior in priors}
    return score_histogram(target, nontarget, title, thresholds=lines, score_name="Score" if llrs is None else _LLR_NAME)


def reliability(scores: Pair, llrs: Pair, title: str) -> Figure:
    """Return the reliability diagram of a list before and after calibration."""
    return reliability_figure({"after calibration": llrs, "before: scores taken for LLRs": scores}, title)


def bayes_error(systems: Mapping[str, tuple[Pair, Pair | None]], title: str, priors: Sequence[float] = MARKED_PRIORS) -> Figure:
    """Return the normalised Bayes error of systems: label -> (scores, calibrated LLRs or None)."""
    costs = {label: bayes_errors(scores, llrs) for label, (scores, llrs) in systems.items()}
    marked = {f"P_target = {prior:g}": -bayes_threshold(prior) for prior in priors}
    return bayes_error_figure(LOG_ODDS, costs, title, marked=marked)


def bayes_errors(scores: Pair, llrs: Pair | None, log_odds: np.ndarray = LOG_ODDS) -> BayesErrors:
    """Return least and actual normalised costs at each prior log odds; `trusted` by the rule of 30.

    The least cost is taken over the corners of the ROC convex hull, where it always lies.

    Raises:
        ValueError: scores or LLRs empty or not finite.
    """
    target_B, nontarget_B = pav_blocks(error_curve(*scores))
    missed_C = np.concatenate([[0.0], np.cumsum(target_B)])
    accepted_C = scores[1].size - np.concatenate([[0.0], np.cumsum(nontarget_B)])
    weight_t, weight_n = _weights(log_odds)
    cost_LC = weight_t[:, None] * missed_C / scores[0].size + weight_n[:, None] * accepted_C / scores[1].size
    best_L = cost_LC.argmin(axis=1)
    enough_fa, enough_miss = log_odds[accepted_C[best_L] >= _TRUSTED], log_odds[missed_C[best_L] >= _TRUSTED]
    ends = (float(enough_fa[0]), float(enough_miss[-1])) if enough_fa.size and enough_miss.size else None
    return BayesErrors(minimum=cost_LC.min(axis=1), actual=None if llrs is None else _actual(llrs, log_odds), trusted=ends)


def _actual(llrs: Pair, log_odds: np.ndarray) -> np.ndarray:
    target, nontarget = np.sort(llrs[0]), np.sort(llrs[1])
    weight_t, weight_n = _weights(log_odds)
    p_miss = np.searchsorted(target, -log_odds, side="left") / target.size
    p_fa = 1 - np.searchsorted(nontarget, -log_odds, side="left") / nontarget.size
    return weight_t * p_miss + weight_n * p_fa


def _weights(log_odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (p, 1 - p) / min(p, 1 - p) at each prior log odds."""
    return np.maximum(np.exp(log_odds), 1.0), np.maximum(np.exp(-log_odds), 1.0)


def write_embedding_pictures(
    folder: Path,
    name: str,
    embeddings_ND: np.ndarray,
    speakers: Sequence[str],
    *,
    genders: Sequence[str | None] | None = None,
    kinds: Sequence[str] = ("pca", "tsne"),
) -> None:
    """Write `pca.<name>` and `tsne.<name>` (.png, .svg): embeddings of utterances or windows in the plane.

    Raises:
        ValueError: an unknown kind, or what the projections refuse.
    """
    from steps.backend.projection import pca, tsne
    from steps.plots.scatter import embedding_scatter

    strange = set(kinds) - {"pca", "tsne"}
    if strange:
        raise ValueError(f"kinds: no picture is called {', '.join(sorted(strange))}")
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        if kind == "pca":
            points, share = pca(embeddings_ND)
            names = tuple(f"Component {i} ({100 * each:.1f}% of the variance)" for i, each in enumerate(share, 1))
            figure = embedding_scatter(points, speakers, f"PCA of {name}", genders=genders, axis_names=names)
        else:
            points = tsne(embeddings_ND, perplexity=min(_PERPLEXITY, len(embeddings_ND) / 2))
            figure = embedding_scatter(points, speakers, f"t-SNE of {name}", genders=genders)
        save(figure, folder / f"{kind}.{name}")


def write_dendrograms(
    folder: Path,
    name: str,
    enrol_ids: Sequence[str],
    test_ids: Sequence[str],
    is_target: np.ndarray,
    scores: np.ndarray,
    windows: Mapping[str, np.ndarray],
) -> None:
    """Write `dendrogram.<name>` (trials of median score) and `dendrogram_hard.<name>` (targets that score lowest, non-targets
    that score highest): a same-speaker and a different-speaker trial side by side, average linkage of both sides' windows.

    Args:
        folder: made where it is not there.
        name: of the list.
        enrol_ids: of the trials.
        test_ids: of the trials.
        is_target: truth of each trial.
        scores: of the trials, which choose the ones to show.
        windows: id -> embeddings of its windows [W, D].

    Raises:
        ValueError: trials of one kind only, or windows that cannot be clustered.
    """
    from steps.backend.projection import pair_linkage
    from steps.plots.dendrogram import Tree, dendrogram_figure

    kinds = (np.flatnonzero(is_target), np.flatnonzero(~is_target))
    if not all(kind.size for kind in kinds):
        raise ValueError(f"{name}: expected target and non-target trials")
    by_score = [kind[np.argsort(scores[kind], kind="stable")] for kind in kinds]
    chosen = {
        "dendrogram": [kind[(kind.size - 1) // 2] for kind in by_score],
        "dendrogram_hard": [by_score[0][0], by_score[1][-1]],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for stem, places in chosen.items():
        trees = []
        for place, kind in zip(places, ("Same speaker", "Different speakers"), strict=True):
            enrol, test = enrol_ids[place], test_ids[place]
            linkage, is_test = pair_linkage(windows[enrol], windows[test])
            trees.append(Tree(linkage=linkage, is_test=is_test, title=f"{kind}, score {scores[place]:.3g}"))
        what = "median scores" if stem == "dendrogram" else "the hardest trials"
        save(dendrogram_figure(trees, f"{name}: {what}"), folder / f"{stem}.{name}")
