"""What a trial list holds, in numbers: trials by kind, and those that say nothing or too much.

Suffixes: P trials, N utterances of the set, M enrolled items.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from steps.data.list_sides import NONE, ListSides, file_codes, label_codes
from steps.data.manifests import GENDERS, Utterances
from steps.data.score_files import TrialIndex, pair_keys

FEW = 20  # target trials or speakers; of fewer an interval is too narrow to believe


def summarise_list(trials: TrialIndex, sides: ListSides, utterances: Utterances, equal_N: np.ndarray) -> dict[str, Any]:
    """Return the numbers of a list.

    `target`, `nontarget`, `unlabelled`, `missing` (trials without recordings); `speakers`, `enrolled`, `models` (of them of
    several utterances), `tested`; `target_genders` {"f", "m", ""} and `nontarget_genders` {"f-f", "f-m", "m-m", ""} with
    trials; `target_sessions` {"same", "other"} where both sides' are documented; `across_corpora`; `one_file`, trials of two
    parts of a file; and from `pair_faults` and `side_faults` what is odd.

    Args:
        trials: the list.
        sides: of its trials.
        utterances: of its set.
        equal_N: code of the content that an utterance shares with others, NONE where it is the only one.
    """
    speaker_N = label_codes(utterances, "speaker")
    speaker_M = sides.first(speaker_N)
    both = np.concatenate([speaker_M[sides.enrol_P], speaker_N[sides.test_P]])
    return {
        "target": trials.num_target,
        "nontarget": trials.num_nontarget,
        "unlabelled": 0,
        "missing": sides.num_missing,
        "speakers": len(np.unique(both)),
        "enrolled": len(sides.names),
        "models": sides.num_models,
        "tested": len(np.unique(sides.test_P)),
        **_genders(sides, utterances),
        **_sessions(sides, utterances, speaker_N),
        "across_corpora": int(np.count_nonzero(~sides.shares(np.asarray(utterances.labels["corpus"].codes, dtype=np.int64)))),
        "one_file": int(np.count_nonzero(sides.shares(file_codes(utterances)) & ~sides.shares(np.arange(len(utterances))))),
        **pair_faults(trials),
        **side_faults(sides, speaker_M, equal_N),
    }


def without_labels(found: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of a list that has no labels, made as if all its trials were non-target: `unlabelled` counts them."""
    nothing = {
        "target": 0,
        "nontarget": 0,
        "target_genders": {},
        "nontarget_genders": {},
        "target_sessions": {"same": 0, "other": 0},
    }
    return found | nothing | {"unlabelled": found["nontarget"]}


def pair_faults(trials: TrialIndex) -> dict[str, int]:
    """Return how many trials compare an id with itself, are there again, and how many pairs are there in both orders.

    `with_itself`: trials; `doubled`: trials beyond the first of each pair of the same order; `mirrored`: pairs.
    """
    key_P = pair_keys(trials.enrol_P, trials.test_P, len(trials.ids))
    key_U = np.unique(key_P)
    enrol_U, test_U = np.divmod(key_U, len(trials.ids))
    back_U = np.sort(pair_keys(test_U, enrol_U, len(trials.ids))[enrol_U < test_U])
    return {
        "with_itself": int(np.count_nonzero(trials.enrol_P == trials.test_P)),
        "doubled": len(key_P) - len(key_U),
        "mirrored": len(np.intersect1d(key_U, back_U, assume_unique=True)),
    }


def side_faults(sides: ListSides, speaker_M: np.ndarray, equal_N: np.ndarray) -> dict[str, int]:
    """Return how many tests meet themselves in what is enrolled, and how many speakers are hardly enrolled.

    `enrolled_and_tested`: trials whose test utterance is one of the model's (trials of an utterance with itself are not
    counted here); `tests_that_enrol`: test utterances that are one of the utterances of some model; `equal_content`: trials of
    different ids whose content is equal; `speakers_in_one_trial`: enrolled speakers in one trial only, of `speakers_enrolled`.
    """
    num_N = len(equal_N)
    is_own_P = sides.shares(np.arange(num_N))
    is_model_P = sides.enrol_P >= len(sides.names) - sides.num_models
    of_models = np.unique(sides.row_E[sides.item_E >= len(sides.names) - sides.num_models])
    counts_S = np.bincount(speaker_M[sides.enrol_P]) if len(sides) else np.zeros(0, dtype=np.int64)
    return {
        "enrolled_and_tested": int(np.count_nonzero(is_own_P & is_model_P)),
        "tests_that_enrol": len(np.intersect1d(np.unique(sides.test_P), of_models, assume_unique=True)),
        "equal_content": int(np.count_nonzero(sides.shares(equal_N) & ~is_own_P)),
        "speakers_enrolled": int(np.count_nonzero(counts_S)),
        "speakers_in_one_trial": int(np.count_nonzero(counts_S == 1)),
    }


def _genders(sides: ListSides, utterances: Utterances) -> dict[str, dict[str, int]]:
    names = utterances.labels["gender"].names
    kind_N = np.array([*map(GENDERS.index, names), 0])[label_codes(utterances, "gender")]  # the last one is NONE's
    one_P, other_P = kind_N[sides.row_E[np.searchsorted(sides.item_E, sides.enrol_P)]], kind_N[sides.test_P]
    pair_P = np.where((one_P > 0) & (other_P > 0), np.minimum(one_P, other_P) * len(GENDERS) + np.maximum(one_P, other_P), 0)
    found = {}
    for kind, truth in (("target", True), ("nontarget", False)):
        pairs, counts = np.unique(pair_P[sides.is_target == truth], return_counts=True)
        found[f"{kind}_genders"] = {
            _gender_pair(pair, truth): num for pair, num in zip(pairs.tolist(), counts.tolist(), strict=True)
        }
    return found


def _gender_pair(pair: int, is_target: bool) -> str:
    one, other = (GENDERS[kind] for kind in divmod(pair, len(GENDERS)))
    return one if is_target or not one else f"{one}-{other}"


def _sessions(sides: ListSides, utterances: Utterances, speaker_N: np.ndarray) -> dict[str, dict[str, int]]:
    session_N = label_codes(utterances, "session", within=speaker_N)
    known_P = sides.is_target & (session_N[sides.test_P] != NONE) & (sides.first(session_N)[sides.enrol_P] != NONE)
    same = int(np.count_nonzero(sides.shares(session_N) & known_P))
    return {"target_sessions": {"same": same, "other": int(np.count_nonzero(known_P)) - same}}
