"""gender.txt: how a probe of training embeddings takes utterances, for fusions that are gated by gender."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from steps.backend.estimator import get_state, set_state
from steps.backend.gender import GenderClassifier
from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.archive import load_arrays, save_arrays
from steps.scoring.embedded import Embedded, utterances

PROBE = "gender.safetensors"


def fitted_probe(train: Embedded, manifests: Path, out: Path) -> GenderClassifier:
    """Return the probe of the training set's embeddings and documented genders, which is written to `out`.

    Raises:
        RecipeError: the corpus does not document both genders.
    """
    known = utterances(manifests, "train", train.ids)
    genders, speakers = (np.array([getattr(each, what) for each in known]) for what in ("gender", "speaker"))
    try:
        probe = GenderClassifier().fit(train.vectors(), genders, speakers)
    except ValueError as error:
        raise RecipeError(f"score.predict_gender: {error}") from None
    save_arrays(out / PROBE, get_state(probe))
    return probe


def load_probe(folder: Path) -> GenderClassifier:
    """Return the probe that `fitted_probe` wrote.

    Raises:
        RecipeError: there is none.
    """
    if not (folder / PROBE).is_file():
        raise RecipeError(
            f"--backend {folder}: has no {PROBE}; run stage 6 there with --set score.predict_gender=true, or do without"
        )
    probe = GenderClassifier()
    set_state(probe, load_arrays(folder / PROBE))
    return probe


def write_log_odds(path: Path, probe: GenderClassifier, sets: Iterable[Embedded]) -> None:
    """Write lines `<utterance id> <log odds of female>`."""
    with atomic_write(path) as file:
        for each in sets:
            odds_N = probe.log_odds(each.vectors())
            file.writelines(f"{name} {odds:.9g}\n" for name, odds in zip(each.ids, odds_N.tolist(), strict=True))
