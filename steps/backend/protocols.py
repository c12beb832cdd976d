"""Identification protocols drawn from any labelled set: who is enrolled with which utterances, and which are probes.

Suffixes: N utterances, M enrolled speakers, P probes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NOT_ENROLLED = -1
NO_SESSION = ""


@dataclass(frozen=True, eq=False)
class Protocol:
    """Who is enrolled, with what, and what is asked; rows are those of the utterances that the protocol was drawn from.

    Attributes:
        enrol_MK: rows of the K enrolment utterances of each enrolled speaker.
        speaker_M: name of each enrolled speaker.
        probe_P: rows of the probes.
        answer_P: enrolled speaker (0 to M - 1) that each probe is of; -1: of one who is not enrolled.
        num_left_out: speakers who have too few utterances, or sessions, to be enrolled and probed.
    """

    enrol_MK: np.ndarray
    speaker_M: np.ndarray
    probe_P: np.ndarray
    answer_P: np.ndarray
    num_left_out: int


def draw_protocol(
    rng: np.random.Generator,
    speakers: npt.ArrayLike,
    *,
    num_enrol: int,
    sessions: Sequence[str] | None = None,
    open_share: float = 0.0,
) -> Protocol:
    """Return a protocol drawn at random: `num_enrol` utterances enrol a speaker, all others are probes.

    Where sessions are known, no probe is of a session that its speaker was enrolled with: enrolment utterances come from as
    few sessions as hold them, taken in random order, and what is left of these is not used. In an open set a share of the
    speakers is not enrolled; all their utterances are probes. Speakers who could not be enrolled and probed are left
    out of both.

    Args:
        rng: source of the draw.
        speakers: `[N]` speaker of each utterance.
        num_enrol: utterances to enrol a speaker with.
        sessions: `[N]` session of each utterance, by a name that is unique within the speaker; "" or None: not known, then
            each utterance counts as a session of its own.
        open_share: share of the speakers that is not enrolled, rounded to whole speakers; at least one, and one is enrolled,
            where it is above 0. 0: closed set.

    Raises:
        ValueError: not one speaker and session an utterance, `num_enrol` under 1, a share outside [0, 1), or too few speakers
            with more than `num_enrol` utterances: one for a closed set, two for an open one.
    """
    name_S, code_N = np.unique(np.asarray(speakers), return_inverse=True)
    session_N = _session_codes(sessions, code_N)
    if num_enrol < 1 or not 0 <= open_share < 1:
        raise ValueError(f"protocol: expected num_enrol >= 1 and 0 <= open_share < 1, found {num_enrol} and {open_share}")
    parts = [_split(rng, np.flatnonzero(code_N == code), session_N, num_enrol) for code in range(name_S.size)]
    able = np.array([code for code, (_, probes) in enumerate(parts) if probes.size], dtype=np.int64)
    least = 2 if open_share else 1
    if able.size < least:
        raise ValueError(
            f"protocol: expected at least {least} speakers with more than {num_enrol} utterances (and of another session), "
            f"found {able.size} of {name_S.size}"
        )
    num_open = min(max(1, round(open_share * able.size)), able.size - 1) if open_share else 0
    unknown = np.sort(rng.choice(able, size=num_open, replace=False)) if num_open else np.empty(0, dtype=np.int64)
    known = np.setdiff1d(able, unknown)
    probes = [parts[code][1] for code in known] + [np.flatnonzero(code_N == code) for code in unknown]
    answers = [*range(known.size), *[NOT_ENROLLED] * unknown.size]
    return Protocol(
        enrol_MK=np.stack([parts[code][0] for code in known]),
        speaker_M=name_S[known],
        probe_P=np.concatenate(probes),
        answer_P=np.repeat(answers, [rows.size for rows in probes]),
        num_left_out=name_S.size - able.size,
    )


def draw_protocols(rngs: Sequence[np.random.Generator], speakers: npt.ArrayLike, **settings: object) -> list[Protocol]:
    """Return one protocol of `draw_protocol` for each generator."""
    return [draw_protocol(rng, speakers, **settings) for rng in rngs]


def _split(rng: np.random.Generator, rows: np.ndarray, session_N: np.ndarray, num_enrol: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows to enrol one speaker with, rows to probe him with); both empty where that is not possible."""
    names = rng.permutation(np.unique(session_N[rows]))
    in_order = np.concatenate([rng.permutation(rows[session_N[rows] == name]) for name in names])
    enrol = in_order[:num_enrol]
    probes = np.sort(rows[~np.isin(session_N[rows], session_N[enrol])])
    nothing = np.empty(0, dtype=np.int64)
    return (np.sort(enrol), probes) if enrol.size == num_enrol and probes.size else (nothing, nothing)


def _session_codes(sessions: Sequence[str] | None, code_N: np.ndarray) -> np.ndarray:
    """Return a whole number for each utterance's session, to compare within a speaker; one of its own where it is not known."""
    if code_N.ndim != 1 or not code_N.size:
        raise ValueError(f"speakers: expected a list with one for each utterance, found shape {code_N.shape}")
    if sessions is None:
        return np.arange(code_N.size)
    name_N = np.asarray(sessions)
    if name_N.shape != code_N.shape:
        raise ValueError(f"sessions: expected one for each of {code_N.size} utterances, found shape {name_N.shape}")
    session_N = np.unique(name_N, return_inverse=True)[1].astype(np.int64)
    return np.where(name_N == NO_SESSION, session_N.max() + 1 + np.arange(code_N.size), session_N)
