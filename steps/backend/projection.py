"""Embeddings in the plane, and the tree of the windows of a trial: what pictures draw.

Source: seed, perplexity and number of iterations are those of the ZHAW programs (ZHAW_deep_voice); van der Maaten and Hinton,
    "Visualizing data using t-SNE", JMLR 9, 2008.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, unit_rows
from steps.backend.linkage import dendrogram_pair

SEED = 621993
_ITERATIONS = 2500
_MIN_PERPLEXITY = 1.0


def pca(embeddings_ND: npt.ArrayLike, *, num_components: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return (points [N, num_components], share of the variance along each), principal components in falling order.

    The largest entry of each direction is positive, so that a picture does not depend on the sign a solver gave.

    Raises:
        ValueError: no embeddings (see `checked_embeddings`), fewer than two, more components than min(N - 1, D), or all equal.
    """
    array_ND = checked_embeddings(embeddings_ND, "embeddings")
    most = min(len(array_ND) - 1, array_ND.shape[1])
    if not 1 <= num_components <= most:
        raise ValueError(
            f"num_components: expected 1 to {most} for {len(array_ND)} embeddings of {array_ND.shape[1]} dimensions, "
            f"found {num_components}"
        )
    centred_ND = array_ND - array_ND.mean(axis=0)
    _, scale_K, direction_KD = np.linalg.svd(centred_ND, full_matrices=False)
    total = float((scale_K**2).sum())
    if total == 0:
        raise ValueError("embeddings: expected some that differ, found all equal")
    direction_KD = direction_KD[:num_components]
    largest = np.abs(direction_KD).argmax(axis=1)
    direction_KD = direction_KD * np.sign(direction_KD[np.arange(num_components), largest])[:, None]
    return centred_ND @ direction_KD.T, scale_K[:num_components] ** 2 / total


def tsne(
    embeddings_ND: npt.ArrayLike, *, seed: int = SEED, perplexity: float | None = None, num_iterations: int = _ITERATIONS,
    unit_length: bool = True,
) -> np.ndarray:  # fmt: skip
    """Return points [N, 2] of t-SNE, begun from the principal components.

    Args:
        embeddings_ND: at least three.
        seed: of scikit-learn's random numbers.
        perplexity: default N / 2, as in the ZHAW programs; scikit-learn wants it below N, and N / 2 is, but for few items it is
            kept at 1 or more.
        num_iterations: of gradient descent; the least that scikit-learn allows is 250.
        unit_length: whether embeddings are scaled to length 1 first, so that near means a high cosine.

    Raises:
        ValueError: no embeddings, fewer than three, a perplexity outside (0, N), too few iterations, all embeddings equal.
    """
    array_ND = checked_embeddings(embeddings_ND, "embeddings")
    num = len(array_ND)
    if num < 3:
        raise ValueError(f"embeddings: expected at least 3 for t-SNE, found {num}")
    chosen = max(num / 2, _MIN_PERPLEXITY) if perplexity is None else perplexity
    if not 0 < chosen < num:
        raise ValueError(f"perplexity: expected more than 0 and less than the {num} embeddings, found {chosen}")
    if num_iterations < 250:
        raise ValueError(f"num_iterations: expected at least 250, found {num_iterations}")
    array_ND = unit_rows(array_ND, "embeddings") if unit_length else array_ND
    if not np.ptp(array_ND, axis=0).any():
        raise ValueError("embeddings: expected some that differ, found all equal")
    from sklearn.manifold import TSNE

    model = TSNE(n_components=2, perplexity=chosen, max_iter=num_iterations, init="pca", learning_rate="auto", random_state=seed)
    return model.fit_transform(array_ND.astype(np.float32)).astype(np.float64)


def pair_linkage(enrol_WD: npt.ArrayLike, test_WD: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return (scipy's linkage matrix, whether each window is of the test side) of the stacked windows of both sides.

    Average linkage of cosine distances, as in Figure 6 of the ZHAW paper; the height of the last merge is `linkage[-1, 2]`.

    Raises:
        ValueError: no windows, different dimensions, or a window of zeros.
    """
    tree = dendrogram_pair(enrol_WD, test_WD)
    return tree, np.arange(len(tree) + 1) >= len(np.asarray(enrol_WD))
