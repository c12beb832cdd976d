"""What can be heard to be wrong with a recording, from its samples alone."""

from dataclasses import dataclass

import numpy as np

# Only said, never refused, so that the limits decide no number. By ear, and by the share of ordinary corpora that they name.
_DC_SHARE = 0.1  # of the level (root mean square): 1 % of the power
_DC_LEAST = 0.001  # of full scale: below, it is the rounding of a quiet recording
_FULL_SCALE = 0.99  # 8-bit samples end at 127 / 128
_CLIPPED_SHARE = 0.001  # of the samples; a recording that was brought to full scale has a few there
_BEYOND = 2.0  # of full scale: lossy codecs overshoot a little, samples that are no fractions by far
_QUIET = 0.001  # of full scale: a peak of 33 steps of 16 bits


@dataclass
class Levels:
    """Peak, level, offset and clipping of a recording in +-1, taken in piece by piece."""

    num_samples: int = 0
    num_bad: int = 0  # NaN or infinite
    num_clipped: int = 0
    peak: float = 0.0
    energy: float = 0.0  # sum of squares
    total: float = 0.0

    def add(self, samples_W: np.ndarray) -> None:
        """Take in the next samples, float32 [W]."""
        if not len(samples_W):
            return
        self.num_samples += len(samples_W)
        with np.errstate(over="ignore", invalid="ignore"):
            energy = float(np.dot(samples_W, samples_W))
        if not np.isfinite(energy):
            self.num_bad += int(np.count_nonzero(~np.isfinite(samples_W)))
            samples_W = samples_W[np.isfinite(samples_W)].astype(np.float64)
            energy = float(np.dot(samples_W, samples_W))
        peak = float(max(samples_W.max(initial=0.0), -samples_W.min(initial=0.0)))
        if peak >= _FULL_SCALE:
            self.num_clipped += int(np.count_nonzero(np.abs(samples_W) >= _FULL_SCALE))
        self.peak = max(self.peak, peak)
        self.energy += energy
        self.total += float(samples_W.sum(dtype=np.float64))

    @property
    def problem(self) -> str:
        """Why the recording cannot be used, or ""."""
        if self.num_samples == 0:
            return "has no samples that can be decoded"
        if self.num_bad:
            return f"has {self.num_bad} samples that are NaN or infinite"
        return "has only zero samples" if self.peak == 0 else ""

    @property
    def remarks(self) -> list[str]:
        """What is to be said of a recording that can be used."""
        mean, level = self.total / self.num_samples, (self.energy / self.num_samples) ** 0.5
        found = []
        if abs(mean) >= max(_DC_LEAST, _DC_SHARE * level):
            found.append(f"DC offset: its mean is {mean:.3g} of full scale, {abs(mean) / level:.0%} of its level")
        if self.peak >= _BEYOND:
            found.append(f"beyond full scale: its peak is {self.peak:.4g}, expected samples in +-1")
        elif self.num_clipped >= _CLIPPED_SHARE * self.num_samples:
            found.append(f"clipping: {self.num_clipped / self.num_samples:.1%} of its samples are at full scale")
        if self.peak < _QUIET:
            found.append(f"nearly silent: its peak is {self.peak:.2g} of full scale")
        return found
