"""Rooms, channels and recording sessions: what stands between a voice and the file."""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, signal

from local.synthesis.speech import Voice


@dataclass(frozen=True, kw_only=True)
class Session:
    """What all utterances of one recording session share."""

    impulse_response: np.ndarray  # [W], room and channel in one filter
    level_db: float  # dB relative to full scale, RMS of the speech
    snr_db: float  # dB, speech over noise without hum, both before room and channel
    noise_poles: np.ndarray  # [4], denominator of the filter that colours the noise: a fall towards high frequencies, and a peak
    hum_hz: float  # Hz, mains hum
    hum_db: float  # dB relative to the noise
    f0_factor: float  # the speaker's state: pitch,
    tilt_shift_db: float  # vocal effort,
    breath_shift_db: float  # breathiness,
    tempo_factor: float  # and speed on that day


def draw_session(rng: np.random.Generator, sampling_rate: int) -> Session:
    """A session: its own channel, small room, level, noise and state of the speaker."""
    room = room_impulse_response(rng.uniform(0.1, 0.45), rng.uniform(3.0, 15.0), rng, sampling_rate)
    angle, radius = rng.uniform(0.0, math.pi), rng.uniform(0.5, 0.85)
    resonance = [1.0, -2.0 * radius * math.cos(angle), radius**2]
    return Session(
        impulse_response=signal.fftconvolve(room, channel_filter(rng, sampling_rate)).astype(np.float32),
        level_db=rng.uniform(-34.0, -20.0),
        snr_db=rng.uniform(20.0, 40.0),
        noise_poles=np.convolve([1.0, -rng.uniform(0.6, 0.95)], resonance),
        hum_hz=float(rng.choice([50.0, 60.0])),
        hum_db=rng.uniform(-30.0, 0.0),
        f0_factor=2.0 ** (0.3 * rng.standard_normal() / 12.0),
        tilt_shift_db=rng.uniform(-4.0, 4.0),
        breath_shift_db=rng.uniform(-5.0, 5.0),
        tempo_factor=math.exp(0.08 * rng.standard_normal()),
    )


def channel_filter(rng: np.random.Generator, sampling_rate: int, *, spread_db: float = 8.0) -> np.ndarray:
    """A linear-phase filter `[W]` of 16 ms with a random smooth response and random band limits.

    `spread_db` is the standard deviation of its level over channels. The response varies faster than formants do, so that
    hardly a direction of a mean log-mel spectrum is left that holds the voice and not the channel.
    """
    num_taps = 2 * (sampling_rate // 125)
    frequency = np.arange(num_taps // 2 + 1) * sampling_rate / num_taps
    warped = np.log1p(frequency / 700.0) / np.log1p(sampling_rate / 1400.0)  # mel, 0 to 1
    order = np.arange(1, 33)
    weights = rng.standard_normal(len(order)) * spread_db * math.sqrt(2.0 / len(order))
    response_db = (weights[:, None] * np.cos(math.pi * order[:, None] * warped)).sum(axis=0)
    low, high = rng.uniform(60.0, 250.0), rng.uniform(0.25, 0.6) * sampling_rate
    response_db -= 10.0 * np.log10(1.0 + (low / np.maximum(frequency, 1.0)) ** 4)
    response_db -= 10.0 * np.log10(1.0 + (frequency / high) ** 12)
    taps = np.roll(fft.irfft(10.0 ** (response_db / 20.0)), num_taps // 2)
    return taps * np.hanning(num_taps)


def room_impulse_response(rt60: float, direct_db: float, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """An impulse response `[W]` with a direct pulse first, sparse early echoes, and a noise tail that falls 60 dB in `rt60` s.

    `direct_db` is the energy of the direct pulse over that of all the rest, in dB.
    """
    num_samples = int(rt60 * sampling_rate)
    time = np.arange(num_samples) / sampling_rate
    # Echoes arrive ever more densely: their rate in a room grows with the square of time; full density after 40 ms.
    density = np.minimum(1.0, 0.02 + (time / 0.04) ** 2)
    tail = rng.standard_normal(num_samples) * (rng.random(num_samples) < density) / np.sqrt(density)
    tail *= 10.0 ** (-3.0 * time / rt60)
    tail[: int(0.001 * sampling_rate)] = 0.0
    tail *= 10.0 ** (-direct_db / 20.0) / math.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail.astype(np.float32)


def record(speech: np.ndarray, session: Session, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """The speech `[W]` as that session records it: through its room and channel, at its level, with its noise, never clipped."""
    noise = signal.lfilter([1.0], session.noise_poles, rng.standard_normal(len(speech), dtype=np.float32))
    time = np.arange(len(speech)) / sampling_rate
    hum = np.sin(2.0 * math.pi * (session.hum_hz * time + rng.random()))
    noise = noise / rms(noise) + 10.0 ** (session.hum_db / 20.0) * hum
    # Before the channel: noise added behind it buried the voice wherever the channel is weak, and no network learnt it.
    wave = speech + 10.0 ** (-session.snr_db / 20.0) * noise
    wave = signal.oaconvolve(wave.astype(np.float32), session.impulse_response)[: len(speech)]
    wave /= rms(wave)
    wave *= 10.0 ** (session.level_db / 20.0)
    return (wave * min(1.0, 0.95 / np.max(np.abs(wave)))).astype(np.float32)


def in_session(voice: Voice, session: Session) -> Voice:
    """The voice in the state its speaker is in during that session."""
    return replace(
        voice,
        f0=voice.f0 * session.f0_factor,
        tilt_db=max(0.0, voice.tilt_db + session.tilt_shift_db),
        breath_db=voice.breath_db + session.breath_shift_db,
        tempo=voice.tempo * session.tempo_factor,
    )


def rms(wave: np.ndarray) -> float:
    """Root mean square of a wave."""
    return math.sqrt(np.mean(np.asarray(wave, dtype=np.float64) ** 2))
