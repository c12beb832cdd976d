"""Small corpora for the tests of lists: files of noise, and stage 1 run on them in this process."""

from pathlib import Path

import numpy as np
import soundfile

from local import folder
from local.folder import Settings

RATE = 8000


def write_audio(path: Path, seed: int = 0, seconds: float = 0.5, channels: int = 1, **options) -> np.ndarray:
    """Write noise of 16 bits; return its samples `[W, C]` in +-1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).integers(-9000, 9000, (round(seconds * RATE), channels), dtype=np.int16)
    soundfile.write(path, samples, RATE, **options)
    return samples / np.float32(32768)


def prepare(root: Path, out: Path, site: dict[str, str] | None = None, **changes) -> Path:
    """Run stage 1; return the manifests."""
    changes = {"split": "test"} | changes
    settings, site = Settings(**changes), {"corpus": str(root)} | (site or {})
    folder.inventory(settings, site)
    units = folder.list_units(settings, site)
    for unit in units:
        (out / "units" / unit).mkdir(parents=True)
        folder.prepare_unit(settings, site, unit, out / "units" / unit)
    (out / "out").mkdir(exist_ok=True)
    folder.merge(settings, site, {unit: out / "units" / unit for unit in units}, out / "out")
    return out / "out"


def people(root: Path, num_speakers: int = 4, num_utterances: int = 3) -> None:
    """Write <root>/s<n>/u<n>.wav."""
    for speaker in range(num_speakers):
        for number in range(num_utterances):
            write_audio(root / f"s{speaker}" / f"u{number}.wav", seed=10 * speaker + number)
