"""Noises and music: what training material is mixed with.

Pure functions: durations, rates and an explicit generator in, float32 waves `[W]` of RMS 1 out.
"""

import math

import numpy as np
from scipy import fft, signal

from local.synthesis.speech import draw_voice, speak

NOISE_KINDS = ("coloured", "hum", "modulated", "crackle", "babble", "engine")
_NUM_TALKERS = 6
_SCALE = (0, 2, 4, 5, 7, 9, 11)  # semitones of a major scale
_CHORDS = ((0, 2, 4), (3, 5, 7), (4, 6, 8), (5, 7, 9))  # degrees of that scale: I, IV, V, vi


def make_noise(kind: str, duration: float, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """Noise `[W]` of one of the NOISE_KINDS with RMS 1."""
    num_samples = int(duration * sampling_rate)
    return _scaled(_MAKERS[kind](num_samples, rng, sampling_rate))


def coloured_noise(num_samples: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise `[W]` whose power falls as frequency to the power `-slope`: 0 white, 1 pink, 2 brown, -1 blue."""
    size = fft.next_fast_len(num_samples, real=True)
    spectrum = fft.rfft(rng.standard_normal(size))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-slope / 2.0)
    return _scaled(fft.irfft(spectrum, n=size)[:num_samples])


def _coloured(num_samples: int, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    return coloured_noise(num_samples, rng.uniform(-1.0, 2.0), rng)


def _hum(num_samples: int, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """Harmonics of the mains over weak pink noise."""
    time = np.arange(num_samples) / sampling_rate
    order = np.arange(1, 16)[:, None]
    mains = float(rng.choice([50.0, 60.0])) * rng.uniform(0.998, 1.002)
    weights = rng.exponential(1.0, size=order.shape) / order**0.7
    waves = weights * np.sin(2.0 * math.pi * (order * mains * time + rng.random(order.shape)))
    return _scaled(waves.sum(axis=0)) + 0.2 * coloured_noise(num_samples, 1.0, rng)


def _modulated(num_samples: int, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """Coloured noise that swells and fades, as wind and passing cars do."""
    knots = max(2, int(num_samples / sampling_rate * rng.uniform(1.0, 5.0)))
    gain_db = np.interp(np.linspace(0.0, knots - 1.0, num_samples), np.arange(knots), rng.uniform(-20.0, 0.0, knots))
    return _coloured(num_samples, rng, sampling_rate) * 10.0 ** (gain_db / 20.0)


def _crackle(num_samples: int, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """Clicks at random times that ring in a resonance, over weak noise."""
    clicks = rng.standard_normal(num_samples) * (rng.random(num_samples) < rng.uniform(3.0, 60.0) / sampling_rate)
    ringing = signal.lfilter([1.0], _resonance(rng, 0.97, sampling_rate), clicks)
    return _scaled(ringing + 1e-9) + 0.1 * coloured_noise(num_samples, 1.0, rng)


def _babble(num_samples: int, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """Voices of no set of the corpus talking at once."""
    duration = num_samples / sampling_rate
    voices = [draw_voice("fm"[k % 2], rng) for k in range(_NUM_TALKERS)]
    return np.sum([speak(voice, duration, rng, sampling_rate)[:num_samples] for voice in voices], axis=0)


def _engine(num_samples: int, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """A pulse train of slowly changing rate through two resonances, and noise."""
    rate = rng.uniform(12.0, 45.0) * (1.0 + 0.05 * np.sin(np.arange(num_samples) / sampling_rate * rng.uniform(0.5, 3.0)))
    phase = np.cumsum(rate) / sampling_rate
    pulses = np.diff(np.floor(phase), prepend=0.0) * (1.0 + 0.3 * rng.standard_normal(num_samples))
    for _ in range(2):
        pulses = signal.lfilter([1.0], _resonance(rng, 0.95, sampling_rate), pulses)
    return _scaled(pulses) + 0.4 * coloured_noise(num_samples, 1.5, rng)


def _resonance(rng: np.random.Generator, radius: float, sampling_rate: int) -> np.ndarray:
    """Denominator of a resonance somewhere between 200 Hz and 3 kHz."""
    return np.array([1.0, -2.0 * radius * math.cos(2.0 * math.pi * rng.uniform(200.0, 3000.0) / sampling_rate), radius**2])


_MAKERS = {
    "coloured": _coloured,
    "hum": _hum,
    "modulated": _modulated,
    "crackle": _crackle,
    "babble": _babble,
    "engine": _engine,
}


def make_music(duration: float, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """Music `[W]` with RMS 1: random chords of one major key, a melody above and a bass below."""
    num_samples = int(duration * sampling_rate)
    wave = np.zeros(num_samples)
    tonic = 110.0 * 2.0 ** (rng.integers(0, 12) / 12.0)
    beat = rng.uniform(0.25, 0.5)
    timbre = rng.exponential(1.0, size=6) / np.arange(1, 7)
    decay = rng.uniform(1.5, 5.0)
    for bar in range(math.ceil(duration / (4.0 * beat))):
        chord = _CHORDS[rng.integers(len(_CHORDS))]
        notes = [(0.0, degree, 4.0) for degree in chord] + [(0.0, chord[0] - 7, 4.0)]
        notes += [(float(k), int(rng.choice(chord)) + 7, 1.0) for k in range(4)]
        for start, degree, length in notes:
            pitch = tonic * 2.0 ** ((_SCALE[degree % 7] + 12 * (degree // 7)) / 12.0)
            first = int((4.0 * bar + start) * beat * sampling_rate)
            note = _note(pitch, length * beat, timbre, decay, sampling_rate)[: max(0, num_samples - first)]
            wave[first : first + len(note)] += note
    return _scaled(wave)


def _note(pitch: float, duration: float, timbre: np.ndarray, decay: float, sampling_rate: int) -> np.ndarray:
    """A note with a soft attack whose higher harmonics die sooner."""
    time = np.arange(int(duration * sampling_rate)) / sampling_rate
    order = np.arange(1, len(timbre) + 1)[:, None]
    waves = timbre[:, None] * np.exp(-decay * order**0.5 * time) * np.sin(2.0 * math.pi * order * pitch * time)
    fade = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.01)
    return waves.sum(axis=0) * fade


def _scaled(wave: np.ndarray) -> np.ndarray:
    return (wave / math.sqrt(np.mean(wave**2))).astype(np.float32)
