"""The calibration that the settings ask for: fitted, applied to a list, written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from steps.backend.calibration import IsotonicCalibration, LinearCalibration, QualityCalibration
from steps.backend.estimator import get_state, set_state
from steps.backend.quality import log_duration, magnitude, quality_matrix
from steps.backend.scorer import Scorer
from steps.backend.settings import Score
from steps.core import files
from steps.core.errors import RecipeError
from steps.scoring.embedded import Embedded, durations
from steps.scoring.lists import TrialRows

FILE = "calibration.json"


class Calibrator:
    """Scores of a list become log-likelihood ratios.

    Args:
        settings: what to do.
        scorer: for the mean of cohort scores.
        manifests: for durations.
    """

    def __init__(self, settings: Score, scorer: Scorer, manifests: Path) -> None:
        self.settings, self.scorer, self.manifests = settings, scorer, manifests
        self.measures = tuple(f"{side} {name}" for name in settings.quality for side in ("min", "max"))
        self.model = self._new()
        self._known: dict[str, dict[str, np.ndarray]] = {}  # measures of each utterance, by set

    def _new(self) -> LinearCalibration | QualityCalibration | IsotonicCalibration:
        if self.measures:
            return QualityCalibration(self.settings.calibration_prior, self.measures)
        if self.settings.calibration_form == "isotonic":
            return IsotonicCalibration()
        return LinearCalibration(self.settings.calibration_prior)

    def fit(self, rows: TrialRows, scores: np.ndarray, embedded: Embedded, set_name: str) -> None:
        """Fit on trials that are not reported."""
        more = (self._qualities(rows, embedded, set_name),) if self.measures else ()
        self.model.fit(scores, *more, rows.trials.is_target)

    def transform(self, rows: TrialRows, scores: np.ndarray, embedded: Embedded, set_name: str) -> np.ndarray:
        """Return the LLRs of a list."""
        more = (self._qualities(rows, embedded, set_name),) if self.measures else ()
        return self.model.transform(scores, *more)

    def save(self, folder: Path, num_trials: int) -> None:
        """Write calibration.json."""
        state = {name.removesuffix("_"): np.asarray(value).tolist() for name, value in get_state(self.model).items()}
        about = {"form": self._form, "prior": self.settings.calibration_prior, "num_trials": num_trials}
        files.write_json(folder / FILE, about | state)

    def load(self, folder: Path) -> bool:
        """Take the calibration of a folder; False where there is none.

        Raises:
            RecipeError: it is of another form.
        """
        if not (folder / FILE).is_file():
            return False
        known: dict[str, Any] = files.read_json(folder / FILE)
        if known.get("form") != self._form:
            raise RecipeError(
                f"{folder / FILE}: holds a calibration of the form {known.get('form')!r}; expected {self._form!r}; use the "
                f"[score] of {folder / 'settings.toml'}"
            )
        state = {f"{name}_": np.asarray(value) for name, value in known.items() if name not in ("form", "prior", "num_trials")}
        set_state(self.model, state)
        return True

    @property
    def _form(self) -> str:
        return " ".join((self.settings.calibration_form, *self.measures))

    def _qualities(self, rows: TrialRows, embedded: Embedded, set_name: str) -> np.ndarray:
        if set_name not in self._known:
            self._known[set_name] = self._measures(embedded, set_name)
        of_test = self._known[set_name]
        of_enrol = of_test if rows.enrol is None else self._of_models(rows, embedded, set_name)
        return quality_matrix(of_enrol, of_test, rows.enrol_P, rows.test_P)[0]

    def _measures(self, embedded: Embedded, set_name: str) -> dict[str, np.ndarray]:
        found = {}
        for name in self.settings.quality:
            if name == "duration":
                found[name] = log_duration(durations(self.manifests, set_name, embedded.ids))
            elif name == "magnitude":
                found[name] = magnitude(embedded.vectors())
            else:
                found[name] = self.scorer.cohort_means(embedded.items)
        return found

    def _of_models(self, rows: TrialRows, embedded: Embedded, set_name: str) -> dict[str, np.ndarray]:
        """The measures of enrolled models: total duration, length of the mean embedding, its mean cohort score."""
        assert rows.enrol is not None
        found = {}
        for name in self.settings.quality:
            if name == "duration":
                seconds_N = durations(self.manifests, set_name, embedded.ids)
                found[name] = log_duration(np.array([seconds_N[each].sum() for each in rows.enrol_rows]))
            elif name == "magnitude":
                found[name] = magnitude(rows.enrol.utterances)
            else:
                found[name] = self.scorer.cohort_means(rows.enrol)
        return found
