"""Enrolment with one model, tests with another: profiles, trials and scores, and the share of a model's gain that is kept.

Suffixes: N utterances, V profiles, M utterances of a profile, P trials, D dimensions, R bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, unit_rows

# cell -> (model of the profiles, model of the tests)
CELLS = {
    "old_old": ("old", "old"),
    "new_new": ("new", "new"),
    "enrol_new_run_old": ("new", "old"),
    "enrol_old_run_new": ("old", "new"),
}
ASYMMETRIC = ("enrol_new_run_old", "enrol_old_run_new")
_PAIRS_AT_ONCE = 8192
_TESTS_AT_ONCE = 4096  # a shared space may have thousands of dimensions (speaker logits)


class Aligner(Protocol):
    """What brings two spaces together: the score is the dot product of what `map_enrol` and `map_run` return."""

    def fit(self, enrol: npt.ArrayLike, run: npt.ArrayLike, speakers: Any) -> Self:
        """Return self, fitted on embeddings [N, D_X] and [N, D_Y] of the same utterances."""
        ...

    def map_enrol(self, profiles: npt.ArrayLike) -> np.ndarray:
        """Return profiles in the shared space, of unit length."""
        ...

    def map_run(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return embeddings in the shared space, of unit length."""
        ...


@dataclass(frozen=True, eq=False)
class ProfileTrials:
    """Voice profiles, and what they are compared with."""

    rows_VM: np.ndarray  # the utterances of each profile
    speaker_V: np.ndarray  # code of its speaker: place in the sorted names
    names: tuple[str, ...]  # of the profiles: <speaker>#<number from 1>
    num_left_out: int  # speakers without enough sessions
    enrol_P: np.ndarray  # profile of each trial
    test_P: np.ndarray  # test utterance of each trial
    is_target_P: np.ndarray


def profile_trials(
    speakers: Sequence[str],
    sessions: Sequence[str],
    size: int,
    *,
    rng_of: Callable[..., np.random.Generator],
    repeats: int = 1,
    nontargets: int = 0,
) -> ProfileTrials:
    """Return profiles of `size` utterances and their trials.

    A profile takes one utterance of each of `size` sessions of a speaker, drawn; it is tested on all utterances of the speaker's
    other sessions, and on those of all other speakers. A speaker with fewer than `size` + 1 sessions is left out as a profile,
    and stays as an impostor. For one `rng_of` larger profiles contain the smaller ones.

    Args:
        speakers: of each utterance.
        sessions: of each utterance, unique within its speaker; "" = not known: it counts as a session of its own.
        size: M.
        rng_of: gives a generator for the thing that it is told: ("profile", speaker, number) or ("nontargets", ...).
        repeats: profiles of each speaker, drawn anew; their trials are pooled.
        nontargets: so many tests by other speakers are drawn for each profile; 0 = all of them.

    Raises:
        ValueError: sizes under 1, lists of different length, fewer than two speakers, or none with enough sessions.
    """
    if size < 1 or repeats < 1 or nontargets < 0:
        raise ValueError(f"profiles: expected sizes of 1 or more, found size {size}, repeats {repeats}, nontargets {nontargets}")
    if len(speakers) != len(sessions):
        raise ValueError(f"sessions: expected one for each of {len(speakers)} utterances, found {len(sessions)}")
    names, code_N = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"speakers: expected two or more to make trials of, found {len(names)}")
    keys_N = np.array([session or f"\0{row}" for row, session in enumerate(sessions)])
    drawn: list[tuple[int, int, np.ndarray, np.ndarray]] = []
    for code, name in enumerate(names.tolist()):
        rows = np.flatnonzero(code_N == code)
        for number in range(repeats):
            taken, tests = _profile(rows, keys_N[rows], size, rng_of("profile", name, number))
            if len(tests):
                drawn.append((code, number, taken, tests))
    if not drawn:
        raise ValueError(f"profiles: expected speakers with {size + 1} sessions or more, found none; choose smaller profiles")
    others = {code: np.flatnonzero(code_N != code) for code in {code for code, *_ in drawn}}
    targets = [tests for *_, tests in drawn]
    impostors = [
        _some(others[code], nontargets, rng_of("nontargets", names[code], number)) for code, number, *_ in drawn
    ]  # fmt: skip
    tests_V = [np.concatenate(pair) for pair in zip(targets, impostors, strict=True)]
    return ProfileTrials(
        rows_VM=np.stack([taken for _, _, taken, _ in drawn]),
        speaker_V=np.array([code for code, *_ in drawn]),
        names=tuple(f"{names[code]}#{number + 1}" for code, number, *_ in drawn),
        num_left_out=len(names) - len({code for code, *_ in drawn}),
        enrol_P=np.repeat(np.arange(len(drawn)), [len(tests) for tests in tests_V]),
        test_P=np.concatenate(tests_V),
        is_target_P=np.concatenate([np.arange(len(all_)) < len(own) for own, all_ in zip(targets, tests_V, strict=True)]),
    )


def centred_units(embeddings: npt.ArrayLike, mean_D: npt.ArrayLike) -> np.ndarray:
    """Return embeddings [N, D] less a mean (that of training embeddings; zeros for none), scaled to unit length."""
    mean = np.asarray(mean_D, dtype=np.float64)
    return unit_rows(checked_embeddings(embeddings, "embeddings", dim=mean.size) - mean, "embeddings less their mean")


def score_profiles(aligner: Aligner, enrol: npt.ArrayLike, run: npt.ArrayLike, trials: ProfileTrials) -> np.ndarray:
    """Return the score of each trial [P]: a profile is the mean of unit embeddings, mapped after the mean.

    Args:
        aligner: fitted.
        enrol: unit embeddings [N, D_X] of all utterances by the enrolment model.
        run: the same [N, D_Y] by the run-time model.
        trials: which rows make profiles, and what they are compared with.
    """
    enrol_ND = unit_rows(checked_embeddings(enrol, "embeddings of the enrolment model"), "embeddings of the enrolment model")
    profile_VE = aligner.map_enrol(enrol_ND[trials.rows_VM].mean(axis=1))
    run_ND = checked_embeddings(run, "embeddings of the run-time model")
    order_P = np.argsort(trials.test_P, kind="stable")
    sorted_P, scores_P = trials.test_P[order_P], np.empty(len(order_P))
    for start in range(0, len(run_ND), _TESTS_AT_ONCE):
        low, high = np.searchsorted(sorted_P, (start, start + _TESTS_AT_ONCE))
        test_NE = aligner.map_run(run_ND[start : start + _TESTS_AT_ONCE])
        for first in range(low, high, _PAIRS_AT_ONCE):
            part = order_P[first : min(first + _PAIRS_AT_ONCE, high)]
            enrol, test = trials.enrol_P[part], trials.test_P[part] - start
            scores_P[part] = np.einsum("pe,pe->p", profile_VE[enrol], test_NE[test])
    return scores_P


def checked_parallel(enrol: npt.ArrayLike, run: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of the same utterances by two models, as float64 [N, D_X] and [N, D_Y].

    Raises:
        ValueError: different numbers of rows, or what `checked_embeddings` refuses.
    """
    enrol_ND = checked_embeddings(enrol, "embeddings of the enrolment model")
    run_ND = checked_embeddings(run, "embeddings of the run-time model")
    if len(enrol_ND) != len(run_ND):
        raise ValueError(
            f"embeddings of the run-time model: expected the same {len(enrol_ND)} utterances as of the enrolment model, "
            f"found {len(run_ND)} rows"
        )
    return enrol_ND, run_ND


def gain_share(old: npt.ArrayLike, new: npt.ArrayLike, asymmetric: npt.ArrayLike) -> np.ndarray:
    """Return G = (error[old/old] - error[asymmetric]) / (error[old/old] - error[new/new]), elementwise.

    1 = the asymmetric pair is as good as the new model on both sides, 0 = as the old one; not a number where the new model is
    not better than the old one, as there is no gain to share.

    Source: Gao et al., arXiv 2401.12440 (abstract: at least 60% of the gain of updating both models).
    """
    old_R, new_R, asymmetric_R = (np.asarray(errors, dtype=np.float64) for errors in (old, new, asymmetric))
    gain_R = old_R - new_R
    return np.where(gain_R > 0, (old_R - asymmetric_R) / np.where(gain_R > 0, gain_R, 1.0), np.nan)


def _profile(
    rows: np.ndarray, keys: np.ndarray, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return (rows of a profile [M], rows of the other sessions); both short where there are too few sessions."""
    order = rng.permutation(len(rows))
    _, first = np.unique(keys[order], return_index=True)  # one utterance of each session, the first in the drawn order
    taken = order[np.sort(first)[:size]]
    return rows[taken], rows[~np.isin(keys, keys[taken])]


def _some(rows: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    return rows if number == 0 or number >= len(rows) else np.sort(rng.choice(rows, number, replace=False))
