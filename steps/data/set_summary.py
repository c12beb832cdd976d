"""What a set of utterances holds, in numbers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from steps.data.manifests import Utterances
from steps.data.strings import Labels


def summarise_set(utterances: Utterances) -> dict[str, Any]:
    """Return the numbers of a set.

    `utterances`, `speakers`, `hours`; `seconds` of an utterance and `per_speaker`, utterances of a speaker, as [least, median,
    most]; `rates`, utterances by sampling rate (Hz, as text); `genders`, speakers by "f", "m" and "" (not documented);
    `sessions`, how many there are in all (0: not documented); `corpora`, utterances by sub-corpus.
    """
    rate_N = np.asarray(utterances.numbers["sampling_rate"])
    seconds_N = np.asarray(utterances.numbers["num_samples"]) / rate_N
    codes = {name: np.asarray(labels.codes) for name, labels in utterances.labels.items()}
    counts_S = np.bincount(codes["speaker"])
    rates, num_of_rate = np.unique(rate_N, return_counts=True)
    return {
        "utterances": len(utterances),
        "speakers": len(utterances.labels["speaker"].names),
        "hours": round(float(seconds_N.sum()) / 3600, 4),
        "seconds": _spread(seconds_N),
        "per_speaker": [int(number) for number in _spread(counts_S)],
        "rates": {str(rate): int(num) for rate, num in zip(rates, num_of_rate, strict=True)},
        "genders": _genders(codes["speaker"], codes["gender"], utterances.labels["gender"]),
        "sessions": _num_sessions(codes["speaker"], codes["session"], utterances.labels["session"]),
        "corpora": {name: int(num) for name, num in sorted(Counter(utterances.labels["corpus"]).items())},
    }


def _spread(values_N: np.ndarray) -> list[float]:
    """The least, the median and the most."""
    return [round(float(value), 3) for value in (values_N.min(), np.median(values_N), values_N.max())]


def _genders(speaker_N: np.ndarray, gender_N: np.ndarray, labels: Labels) -> dict[str, int]:
    pairs_K2 = np.unique(np.stack([speaker_N, gender_N], axis=1), axis=0)
    return dict(sorted(Counter(labels.names[code] for code in pairs_K2[:, 1]).items()))


def _num_sessions(speaker_N: np.ndarray, session_N: np.ndarray, labels: Labels) -> int:
    known_N = np.array([name != "" for name in labels.names])[session_N]
    return len(np.unique(speaker_N[known_N].astype(np.int64) * len(labels.names) + session_N[known_N]))
