"""Settings of aligning two embedding spaces, and the names of the methods; loads nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

MAPPERS = ("linear", "mlp", "residual")
SIDES = ("one", "two")
LOSSES = ("ge2e", "aam", "regression")


@dataclass(frozen=True, kw_only=True)
class MapperTraining:
    """How mappers are made and trained.

    The paper's network, loss and data are not known to us (only its abstract); these are the defaults of this repository.

    Source: Gao et al., "Post-Training Embedding Alignment for Decoupling Enrollment and Runtime Speaker Recognition Models",
        arXiv 2401.12440 (the idea); Wan et al., "Generalized End-to-End Loss for Speaker Verification", 2018 (the loss).
    """

    dim: int = 256  # dimensions of the shared space; one-sided mappers have those of the enrolment space
    hidden: int = 512  # units of the hidden layer of "mlp" and "residual"
    batch_speakers: int = 64  # of a GE2E batch; all of them where there are fewer
    enrol_utterances: int = 4  # a profile of a GE2E batch is the mean of so many
    query_utterances: int = 4  # so many test utterances of each speaker of a GE2E batch
    # What query and profile of a speaker share: "disjoint" = no utterance, "shared" = each utterance is a query, and its
    # speaker's profile is the mean of the others (an utterance's own embedding by the other model is left out)
    split: Literal["disjoint", "shared"] = "disjoint"
    epochs: int = 20
    batches_per_epoch: int = 0  # 0 = as many as it takes to draw as many utterances as there are
    learning_rate: float = 1e-3  # of Adam
    validation: float = 0.05  # share of the speakers that only choose the best epoch; at least two
    ge2e_scale: float = 10.0  # w of GE2E at the beginning; it is trained
    aam_scale: float = 32.0
    aam_margin: float = 0.2  # rad

    def __post_init__(self) -> None:
        for name in ("dim", "hidden", "enrol_utterances", "query_utterances", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, found {getattr(self, name)}")
        if self.batch_speakers < 2:
            raise ValueError(f"batch_speakers: expected at least 2, found {self.batch_speakers}")
        if self.split == "shared" and self.enrol_utterances + self.query_utterances < 3:
            raise ValueError("split: expected three utterances or more a speaker for 'shared', raise query_utterances")
        if self.batches_per_epoch < 0:
            raise ValueError(f"batches_per_epoch: expected 0 or more, found {self.batches_per_epoch}")
        for name in ("learning_rate", "ge2e_scale", "aam_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number above 0, found {getattr(self, name)}")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: expected a share between 0 and 1, found {self.validation}")
        if not 0 <= self.aam_margin < 1.5:
            raise ValueError(f"aam_margin: expected an angle from 0 to under 1.5 rad, found {self.aam_margin}")


@dataclass(frozen=True, kw_only=True)
class Alignment(MapperTraining):
    """Settings of all methods."""

    logit_temperature: float = 0.1  # T of softmax(l / T) where a method is called logit_softmax
    cca_ridge: float = 1e-3  # share of the mean variance that is added to every direction's
    cca_power: float = 0.0  # each direction is weighted by its correlation to this power; 0 = plain CCA

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.logit_temperature > 0:
            raise ValueError(f"logit_temperature: expected a number above 0, found {self.logit_temperature}")
        for name in ("cca_ridge", "cca_power"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected 0 or more, found {getattr(self, name)}")


@dataclass(frozen=True)
class Method:
    """What the name of a method says."""

    family: str  # "none", "logit", "procrustes", "cca" or "nessa"
    parts: tuple[str, ...] = ()  # "z", "softmax" of logits; mapper, sides and loss of NESSA
    number: int = 0  # anchors of logits, directions of CCA; 0 = all


def parse_method(name: str) -> Method:
    """Return what the name of a method says.

    `none`; `logit`, with `_z` (standardised), `_softmax` and `_<number of anchors>` behind it in this order where wanted;
    `procrustes`; `cca`, or `cca_<directions>`; `nessa_<mapper>_<sides>_<loss>`.

    Raises:
        ValueError: an unknown name, or a combination that cannot be trained.
    """
    if name in ("none", "procrustes"):
        return Method(name)
    plain = re.fullmatch(r"(logit|cca)(_z)?(_softmax)?(?:_([1-9]\d*))?", name)
    if plain and (plain[1] == "logit" or not (plain[2] or plain[3])):
        parts = tuple(part[1:] for part in plain.group(2, 3) if part)
        return Method(plain[1], parts, int(plain[4] or 0))
    parts = tuple(name.split("_"))
    if parts[0] != "nessa" or len(parts) != 4:
        raise ValueError(
            f"method {name!r}: expected none, logit[_z][_softmax][_<anchors>], procrustes, cca[_<directions>] or "
            f"nessa_<{'|'.join(MAPPERS)}>_<{'|'.join(SIDES)}>_<{'|'.join(LOSSES)}>"
        )
    check_variant(*parts[1:])
    return Method("nessa", parts[1:])


def check_variant(mapper: str, sides: str, loss: str) -> None:
    """Refuse what is unknown or cannot be trained.

    Raises:
        ValueError: unknown names, or two free maps under regression.
    """
    for value, known, what in ((mapper, MAPPERS, "mapper"), (sides, SIDES, "sides"), (loss, LOSSES, "loss")):
        if value not in known:
            raise ValueError(f"{what}: expected one of {', '.join(known)}, found {value!r}")
    if loss == "regression" and sides == "two":
        raise ValueError(
            "sides: expected 'one' for the loss 'regression', found 'two': two free maps make it zero by sending "
            "every embedding to the same vector"
        )
