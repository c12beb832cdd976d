"""Level and band of some utterances, heard in their audio.

A handful says whether a set is what its sampling rate promises: telephone speech that was brought to 16 kHz is all 16 kHz to a
header, and half of it is empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError
from steps.data.audio import read_audio
from steps.data.manifests import Utterance, Utterances

SECONDS = 10.0  # of each utterance, from its begin
_FRAME = 0.032  # s
_SMOOTH = 250.0  # Hz, over which the spectrum is averaged
# Below the loudest place of the spectrum: what is deeper counts as empty. Of 240 utterances of four corpora the highest
# frequency within 60 dB was 5.8 to 8 kHz, and 3.7 to 4.8 kHz after a way through 8 kHz and 16 bits.
_EMPTY = 1e-6
NARROW = 5000.0  # Hz; a band that ends below is that of a telephone
WIDE_RATE = 12_000  # Hz; sampling rates from here on promise more than a telephone's band


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What was heard of an utterance."""

    level: float  # dB of full scale, root mean square
    band: float  # Hz, the highest frequency that is not empty


class Listener:
    """Hears utterances of a set, each once; the first that cannot be read ends it, and `problem` says why."""

    def __init__(self, utterances: Utterances, root: Path) -> None:
        self._utterances, self._root = utterances, root
        self._heard: dict[int, Heard] = {}
        self.problem = ""

    def hear(self, rows: Iterable[int]) -> dict[int, Heard]:
        """Return row -> what was heard, of the rows asked for; of none of them where one cannot be read."""
        rows = [int(row) for row in rows]
        for row in rows if not self.problem else ():
            if row not in self._heard:
                utterance = self._utterances[row]
                try:
                    self._heard[row] = listen(utterance, self._root)
                except RecipeError:  # it holds the path on this machine
                    self.problem = f"{utterance.path} cannot be read"
                    break
        return {} if self.problem else {row: self._heard[row] for row in rows}


def listen(utterance: Utterance, root: Path) -> Heard:
    """Return level and band of the first seconds of an utterance.

    Raises:
        RecipeError: its audio cannot be read.
    """
    num = min(utterance.num_samples, round(SECONDS * utterance.sampling_rate))
    samples_W, rate = read_audio(root / utterance.path, utterance.start_sample, num, utterance.channel)
    return Heard(level=level(samples_W), band=band(samples_W, rate))


def spread_rows(num_utterances: int, num: int) -> list[int]:
    """Return up to `num` rows of a set, evenly spread."""
    return np.unique(np.linspace(0, num_utterances - 1, min(num, num_utterances)).round().astype(int)).tolist()


def level(samples_W: np.ndarray) -> float:
    """Return the level (root mean square) in dB of full scale; -200 for silence."""
    power = float(np.mean(np.square(samples_W, dtype=np.float64)))
    return 10 * np.log10(max(power, 1e-20))


def band(samples_W: np.ndarray, sampling_rate: int) -> float:
    """Return the highest frequency in Hz whose power is within 60 dB of the loudest, averaged over time and 250 Hz."""
    size = max(8, round(_FRAME * sampling_rate) // 2 * 2)
    padded = np.pad(samples_W, (0, max(0, size - len(samples_W))))
    frames_TW = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
    power_F = np.square(np.abs(np.fft.rfft(frames_TW * np.hanning(size)))).mean(0)
    width = max(1, round(_SMOOTH * size / sampling_rate))
    smooth_F = np.convolve(power_F, np.full(width, 1 / width), "same")
    last = np.flatnonzero(smooth_F >= _EMPTY * smooth_F.max())[-1]
    return float(last * sampling_rate / size)
