"""Speakers in two spaces: what one model hears, and what another model makes of the same utterances."""

from types import SimpleNamespace

import numpy as np

from steps.backend.alignment.protocol import profile_trials, score_profiles
from steps.metrics.error_rates import eer


def rng_of(*names):
    """A generator for a named thing."""
    return np.random.default_rng([ord(letter) for letter in repr(names)])


def spaces(*, num_speakers=80, num_each=8, dim=16, spread=0.5, other="linear", other_dim=24, seed=0, mixed=False):
    """Speakers with a Gaussian around each in one space, and the image of every utterance in another one.

    mixed: whether the utterances of all speakers stand in random order.
    """
    rng = np.random.default_rng(seed)
    speaker_N = np.repeat(np.arange(num_speakers), num_each)
    if mixed:
        rng.shuffle(speaker_N)
    old_ND = rng.standard_normal((num_speakers, dim))[speaker_N] + spread * rng.standard_normal((speaker_N.size, dim))
    map_DE = np.random.default_rng(77).standard_normal((dim, other_dim)) / np.sqrt(dim)
    new_NE = old_ND @ map_DE
    if other == "bent":  # each dimension is folded up and down, as no linear map does
        new_NE = np.concatenate([np.tanh(2.0 * new_NE), 2.0 * np.abs(new_NE) - 1.6], axis=1)
    return SimpleNamespace(old=old_ND, new=new_NE, speaker=np.array([f"s{code:03}" for code in speaker_N]))


def asymmetric_eer(aligner, enrol, run, speaker, size=3):
    """The EER of profiles of `size` utterances in `enrol` and tests in `run`."""
    trials = profile_trials(speaker, [""] * len(speaker), size, rng_of=rng_of)
    scores = score_profiles(aligner, enrol, run, trials)
    return eer(scores[trials.is_target_P], scores[~trials.is_target_P])
