"""What all back ends share: argument checks, the refusal of what is not fitted, and state as plain arrays.

Estimators keep scikit-learn's rules: `__init__` stores settings, `fit` returns self and sets attributes that end in an
underscore. Suffixes: N items, M enrolments, P trials, D dimensions, S speakers, C cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def checked_embeddings(embeddings: npt.ArrayLike, name: str, *, dim: int | None = None) -> np.ndarray:
    """Return embeddings as a float64 array [N, D].

    Raises:
        ValueError: not a two-dimensional array with rows, another D than `dim`, or a value that is not finite.
    """
    array_ND = np.asarray(embeddings, dtype=np.float64)
    if array_ND.ndim != 2 or 0 in array_ND.shape:
        raise ValueError(f"{name}: expected an array [items, dimensions] that is not empty, found shape {array_ND.shape}")
    if dim is not None and array_ND.shape[1] != dim:
        raise ValueError(f"{name}: expected {dim} dimensions as in training, found {array_ND.shape[1]}")
    finite_N = np.isfinite(array_ND).all(axis=1)
    if not finite_N.all():
        raise ValueError(
            f"{name}: expected finite numbers, found others in {int((~finite_N).sum())} of {finite_N.size} rows, "
            f"the first in row {int((~finite_N).argmax())}"
        )
    return array_ND


def checked_index(index: npt.ArrayLike, num_items: int, name: str) -> np.ndarray:
    """Return an index array [P] into `num_items` items.

    Raises:
        ValueError: not one-dimensional whole numbers from 0 to num_items - 1.
    """
    array_P = np.asarray(index)
    if array_P.ndim != 1 or not np.issubdtype(array_P.dtype, np.integer):
        raise ValueError(f"{name}: expected a list of whole numbers, found {array_P.dtype} of shape {array_P.shape}")
    if array_P.size and (array_P.min() < 0 or array_P.max() >= num_items):
        raise ValueError(f"{name}: expected 0 to {num_items - 1}, found {array_P.min()} to {array_P.max()}")
    return array_P


def speaker_codes(speakers: Sequence[Any] | np.ndarray, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (speaker ids sorted [S], code of each item's speaker [N]).

    Raises:
        ValueError: not one speaker an item.
    """
    labels_N = np.asarray(speakers)
    if labels_N.shape != (num_items,):
        raise ValueError(f"speakers: expected one for each of {num_items} embeddings, found shape {labels_N.shape}")
    return np.unique(labels_N, return_inverse=True)


def class_means(embeddings_ND: np.ndarray, code_N: np.ndarray, num_speakers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean embedding of each speaker [S, D], number of items of each speaker [S])."""
    count_S = np.bincount(code_N, minlength=num_speakers)
    sum_SD = np.zeros((num_speakers, embeddings_ND.shape[1]))
    order_N = np.argsort(code_N, kind="stable")
    starts_S = np.concatenate([[0], np.cumsum(count_S)[:-1]])
    np.add.reduceat(embeddings_ND[order_N], starts_S, axis=0, out=sum_SD)
    return sum_SD / count_S[:, None], count_S


def unit_rows(embeddings_ND: np.ndarray, name: str) -> np.ndarray:
    """Return the rows scaled to unit Euclidean length.

    Raises:
        ValueError: a row of zeros, which has no direction, or one whose length is beyond double precision.
    """
    with np.errstate(over="ignore"):
        norm_N = np.linalg.norm(embeddings_ND, axis=1)
    if not np.isfinite(norm_N).all():
        row = int((~np.isfinite(norm_N)).argmax())
        raise ValueError(f"{name}: expected embeddings with a finite length, found one beyond double precision in row {row}")
    if not (norm_N > 0).all():
        raise ValueError(
            f"{name}: expected embeddings with a length above 0, found {int((norm_N == 0).sum())} of {norm_N.size} "
            f"without, the first in row {int((norm_N == 0).argmax())}"
        )
    return embeddings_ND / norm_N[:, None]


def require_fitted(estimator: object, attribute: str) -> None:
    """Refuse an estimator that has not been fitted.

    Raises:
        ValueError: `attribute` has not been set.
    """
    if not hasattr(estimator, attribute):
        raise ValueError(f"{type(estimator).__name__}: expected a fitted estimator, found no {attribute}; call fit first")


def get_state(estimator: object) -> dict[str, np.ndarray]:
    """Return what an estimator has learnt, as arrays by attribute name; parts of a `Chain` as `steps.<i>.<name>`."""
    state = {name: np.asarray(value) for name, value in vars(estimator).items() if name.endswith("_") and name[0] != "_"}
    for index, step in enumerate(getattr(estimator, "steps", ())):
        state |= {f"steps.{index}.{name}": value for name, value in get_state(step).items()}
    return state


def set_state(estimator: object, state: Mapping[str, npt.ArrayLike]) -> None:
    """Give an estimator, made with the same settings, the state of a fitted one (see `get_state`).

    Raises:
        ValueError: the state names a step that the estimator does not have.
    """
    steps = getattr(estimator, "steps", ())
    parts: list[dict[str, npt.ArrayLike]] = [{} for _ in steps]
    for name, value in state.items():
        head, _, rest = name.partition(".")
        if head != "steps":
            array = np.asarray(value)
            setattr(estimator, name, array if array.ndim else array.item())
            continue
        index, _, inner = rest.partition(".")
        if not index.isdigit() or int(index) >= len(steps):
            raise ValueError(f"{type(estimator).__name__}: expected state for {len(steps)} steps, found {name!r}")
        parts[int(index)][inner] = value
    for step, part in zip(steps, parts, strict=True):
        set_state(step, part)
