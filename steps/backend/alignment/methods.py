"""Aligners by the name that a recipe gives them."""

from __future__ import annotations

from steps.backend.alignment.baselines import CCA, Procrustes, SpeakerLogits, ZeroPadding
from steps.backend.alignment.nessa import Nessa
from steps.backend.alignment.protocol import Aligner
from steps.backend.alignment.settings import Alignment, parse_method


def make_aligner(name: str, settings: Alignment, seed: int) -> Aligner:
    """Return the aligner of a method (see `parse_method` for names), not fitted.

    Raises:
        ValueError: an unknown name.
    """
    method = parse_method(name)
    if method.family == "none":
        return ZeroPadding()
    if method.family == "procrustes":
        return Procrustes()
    if method.family == "cca":
        return CCA(method.number, settings.cca_ridge, settings.cca_power)
    if method.family == "logit":
        temperature = settings.logit_temperature if "softmax" in method.parts else 0.0
        return SpeakerLogits(method.number, standardise="z" in method.parts, temperature=temperature, seed=seed)
    return Nessa(*method.parts, training=settings, seed=seed)
