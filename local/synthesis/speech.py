"""Synthetic speech, rooms, noises and music from numpy and scipy alone: the sounds of the toy corpus.

Speech comes from a source-filter model: glottal pulses (KLGLOTT88) with jitter, shimmer and breath noise drive formant resonators
that are constant over one frame and overlap-added; fricatives and bursts are shaped noise. A `Voice` holds what stays with a
speaker, a `Session` what changes from one recording day to the next: channel, room, level, noise and the speaker's state.

Every function is pure: arrays and an explicit generator in, float32 arrays `[W]` out.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft, ndimage, signal

NUM_FORMANTS = 7
FRAMES_PER_SECOND = 100
TILT_FREQUENCY = 3000.0  # Hz, where the spectral tilt of a voice is stated
REFERENCE_TRACT = 17.5  # cm; the tube whose resonances are the formants of the phone table
TRACT_LENGTH = {"m": (17.0, 0.9), "f": (14.7, 0.8)}  # cm, mean and standard deviation over speakers
F0_MEDIAN = {"m": (118.0, 0.20), "f": (205.0, 0.17)}  # Hz, and standard deviation over speakers of its natural logarithm

# name: F1, F2, F3 (Hz, male), voicing, frication (amplitudes), frication centre (Hz), frication width (octaves), nasality.
# Vowels after Peterson and Barney (1952), Table II, men; the other rows are rounded loci of no particular speaker.
_PHONES = {
    "pause": (500, 1500, 2500, 0.0, 0.00, 3000, 1.0, 0),
    "i": (270, 2290, 3010, 1.0, 0.00, 3000, 1.0, 0),
    "E": (530, 1840, 2480, 1.0, 0.00, 3000, 1.0, 0),
    "A": (730, 1090, 2440, 1.0, 0.00, 3000, 1.0, 0),
    "O": (570, 840, 2410, 1.0, 0.00, 3000, 1.0, 0),
    "u": (300, 870, 2240, 1.0, 0.00, 3000, 1.0, 0),
    "j": (280, 2200, 3000, 0.6, 0.00, 3000, 1.0, 0),
    "l": (370, 1100, 2650, 0.6, 0.00, 3000, 1.0, 0),
    "m": (260, 1000, 2200, 0.5, 0.00, 3000, 1.0, 1),
    "n": (260, 1600, 2600, 0.5, 0.00, 3000, 1.0, 1),
    "s": (350, 1800, 2600, 0.0, 0.60, 5500, 0.3, 0),
    "S": (350, 1900, 2500, 0.0, 0.60, 3100, 0.4, 0),
    "f": (350, 900, 2300, 0.0, 0.15, 5000, 1.5, 0),
    "z": (300, 1800, 2600, 0.4, 0.35, 5500, 0.3, 0),
    "closure_p": (300, 800, 2200, 0.0, 0.00, 1000, 1.0, 0),
    "closure_t": (300, 1800, 2600, 0.0, 0.00, 4500, 0.6, 0),
    "closure_k": (300, 2000, 2300, 0.0, 0.00, 2000, 0.4, 0),
    "burst_p": (300, 800, 2200, 0.0, 0.40, 1000, 1.0, 0),
    "burst_t": (300, 1800, 2600, 0.0, 0.60, 4500, 0.6, 0),
    "burst_k": (300, 2000, 2300, 0.0, 0.60, 2000, 0.4, 0),
}
_NAMES = tuple(_PHONES)
_TABLE = np.array(list(_PHONES.values()))
_VOWELS = ("i", "E", "A", "O", "u")
_ONSETS = ("l", "j", "m", "n", "s", "S", "f", "z", "p", "t", "k")
_CODAS = ("m", "n", "l", "s", "t")
_HIGHER_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0)  # Hz, F4 to F7 of a uniform tube of the reference length
_BANDWIDTHS = np.array([70.0, 90.0, 130.0, 180.0, 240.0, 300.0, 360.0])  # Hz


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What a speaker keeps from one session to another."""

    gender: str  # "f" or "m"
    f0: float  # Hz, median of the fundamental frequency
    f0_range: float  # semitones, standard deviation of the intonation
    jitter: float  # fraction, standard deviation of the length of one glottal cycle
    shimmer: float  # fraction, standard deviation of the amplitude of one glottal cycle
    open_quotient: float  # fraction of a cycle in which the glottis is open
    tilt_db: float  # dB, loss of the pulses at 3 kHz
    breath_db: float  # dB, breath noise relative to the pulses
    tract_length: float  # cm
    formant_factors: np.ndarray  # [NUM_FORMANTS], departures from the uniform scaling by length
    phone_factors: np.ndarray  # [phones, 3], how this speaker says each phone: factors on F1 to F3
    bandwidth_factor: float  # widens or narrows all formants
    frication_factor: float  # scales the centres of fricatives and bursts
    frication_gain: float  # loudness of fricatives
    tempo: float  # factor on the duration of phones
    pitch_accent_hz: float  # Hz, how fast the intonation moves


def draw_voice(gender: str, rng: np.random.Generator) -> Voice:
    """A voice of the given sex, drawn around the averages of that sex."""
    f0, f0_spread = F0_MEDIAN[gender]
    length, length_spread = TRACT_LENGTH[gender]
    spread = np.array([0.08, 0.09, 0.10, 0.10, 0.10, 0.10, 0.10])
    return Voice(
        gender=gender,
        f0=f0 * math.exp(f0_spread * _bounded_normal(rng)),
        f0_range=rng.uniform(0.3, 1.2),
        jitter=rng.uniform(0.002, 0.02),
        shimmer=rng.uniform(0.02, 0.15),
        open_quotient=rng.uniform(0.4, 0.8),
        tilt_db=rng.uniform(0.0, 14.0),
        breath_db=rng.uniform(-40.0, -14.0),
        tract_length=length + length_spread * _bounded_normal(rng),
        formant_factors=np.exp(spread * rng.standard_normal(NUM_FORMANTS)),
        phone_factors=np.exp(0.03 * rng.standard_normal((len(_NAMES), 3))),
        bandwidth_factor=math.exp(0.25 * rng.standard_normal()),
        frication_factor=math.exp(0.2 * _bounded_normal(rng)),
        frication_gain=math.exp(0.3 * _bounded_normal(rng)),
        tempo=math.exp(0.15 * _bounded_normal(rng)),
        pitch_accent_hz=rng.uniform(0.8, 2.5),
    )


def _bounded_normal(rng: np.random.Generator) -> float:
    """A normal deviate cut to +-2.5, so that no voice leaves its sex altogether."""
    return float(np.clip(rng.standard_normal(), -2.5, 2.5))


def speak(voice: Voice, duration: float, rng: np.random.Generator, sampling_rate: int) -> np.ndarray:
    """Speech `[W]` of random syllables by one voice, without channel or noise, RMS 1."""
    hop = sampling_rate // FRAMES_PER_SECOND
    num_samples = int(duration * sampling_rate)
    num_frames = num_samples // hop + 2
    phone_T = _draw_phones(voice, num_frames, rng)
    formant_TN, tracks = _tracks(voice, phone_T)
    voicing, frication, nasality = tracks["voicing"], tracks["frication"], tracks["nasality"]
    source = _glottal_source(voice, voicing, hop, rng, sampling_rate)
    noise = rng.standard_normal(num_frames * hop, dtype=np.float32)
    spectrum_TF = _frames_to_spectra(source, hop) * _tract_response(voice, formant_TN, nasality, 4 * hop, sampling_rate)
    noisy = np.flatnonzero(frication > 1e-3)
    shape = _frication_response(tracks["centre"][noisy], tracks["width"][noisy], 4 * hop, sampling_rate)
    gain = (voice.frication_gain * frication[noisy])[:, None]
    spectrum_TF[noisy] += _frames_to_spectra(noise, hop, noisy) * (gain * shape).astype(np.float32)
    wave = _overlap_add(fft.irfft(spectrum_TF, axis=1), hop)[:num_samples]
    return (wave / math.sqrt(np.mean(wave.astype(np.float64) ** 2))).astype(np.float32)


def _draw_phones(voice: Voice, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Row of the phone table for each frame: random syllables between two pauses, with a pause now and then."""
    phones, lengths = [_NAMES.index("pause")], [int(rng.integers(8, 20))]

    def add(name: str, shortest: float, longest: float) -> None:
        phones.append(_NAMES.index(name))
        lengths.append(max(1, round(voice.tempo * rng.uniform(shortest, longest))))

    def add_consonant(name: str) -> None:
        if name in ("p", "t", "k"):
            add(f"closure_{name}", 4, 8)
            add(f"burst_{name}", 1, 3)
        else:
            add(name, 4, 9)

    pause_rate = rng.uniform(0.0, 0.4)
    end = num_frames - int(rng.integers(10, 22))
    while sum(lengths) < end:
        if rng.random() < 0.75:
            add_consonant(str(rng.choice(_ONSETS)))
        add(str(rng.choice(_VOWELS)), 7, 15)
        if rng.random() < 0.3:
            add_consonant(str(rng.choice(_CODAS)))
        if rng.random() < pause_rate:
            add("pause", 8, 30)
    phone_T = np.repeat(phones, lengths)[:end]
    return np.concatenate([phone_T, np.zeros(num_frames - end, dtype=phone_T.dtype)])


def _tracks(voice: Voice, phone_T: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Formants `[T, NUM_FORMANTS]` in Hz and the other controls `[T]`, smoothed over neighbouring phones."""
    formant_TN = np.empty((len(phone_T), NUM_FORMANTS))
    formant_TN[:, :3] = (_TABLE[:, :3] * voice.phone_factors)[phone_T]
    formant_TN[:, 3:] = _HIGHER_FORMANTS
    formant_TN *= voice.formant_factors * (REFERENCE_TRACT / voice.tract_length)
    # Articulators need about 70 ms to move, the velum as long, glottis and constrictions about 20 ms.
    formant_TN = ndimage.convolve1d(formant_TN, _bell(9), axis=0, mode="nearest")
    slow, fast = _bell(7), _bell(3)
    tracks = {
        "voicing": ndimage.convolve1d(_TABLE[phone_T, 3], fast, mode="nearest"),
        "frication": ndimage.convolve1d(_TABLE[phone_T, 4], fast, mode="nearest"),
        "centre": _TABLE[phone_T, 5] * voice.frication_factor,
        "width": _TABLE[phone_T, 6],
        "nasality": ndimage.convolve1d(_TABLE[phone_T, 7], slow, mode="nearest"),
    }
    return formant_TN, tracks


def _bell(num_frames: int) -> np.ndarray:
    window = np.hanning(num_frames + 2)[1:-1]
    return window / window.sum()


def _glottal_source(voice: Voice, voicing: np.ndarray, hop: int, rng: np.random.Generator, sampling_rate: int):
    """Pulses and breath `[W]`, hop samples for each frame of `voicing`."""
    num_samples = len(voicing) * hop
    f0 = voice.f0 * 2.0 ** (_intonation(voice, len(voicing), rng) / 12.0)
    frame_time = (np.arange(len(voicing)) + 0.5) * hop
    time = np.arange(num_samples)
    phase = np.cumsum(np.interp(time, frame_time, f0)) / sampling_rate
    cycles = np.arange(int(phase[-1]) + 2)
    starts = np.interp(cycles, phase, time)
    starts += voice.jitter * (sampling_rate / voice.f0) * rng.standard_normal(len(cycles))
    phase = np.interp(time, np.maximum.accumulate(starts), cycles)
    amplitude = 1.0 + voice.shimmer * rng.standard_normal(len(cycles) + 1)
    pulses = glottal_pulse(phase, voice.open_quotient) * amplitude[phase.astype(int)]
    pole = tilt_pole(voice.tilt_db, sampling_rate)
    pulses = signal.lfilter([1.0 - pole], [1.0, -pole], pulses)
    breath = rng.standard_normal(num_samples, dtype=np.float32) * (0.4 + 0.6 * (phase % 1.0 < voice.open_quotient))
    source = pulses + 10.0 ** (voice.breath_db / 20.0) * breath
    return (source * np.interp(time, frame_time, voicing)).astype(np.float32)


def _intonation(voice: Voice, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Departure `[T]` of F0 from the median in semitones: two slow waves around a falling line."""
    time = np.arange(num_frames) / FRAMES_PER_SECOND
    rate = voice.pitch_accent_hz * rng.uniform(0.7, 1.4, size=2) * (1.0, 0.45)
    start = rng.uniform(0.0, 1.0, size=2)
    waves = np.sin(2.0 * math.pi * (rate[:, None] * time + start[:, None])).sum(axis=0)
    return voice.f0_range * (0.8 * waves + np.linspace(1.0, -1.0, num_frames))


def glottal_pulse(phase: np.ndarray, open_quotient: float) -> np.ndarray:
    """Derivative of the glottal flow at each `phase` (in cycles), RMS near 1, its jump at closure smoothed against aliasing.

    Source: D. Klatt and L. Klatt (1990), "Analysis, synthesis, and perception of voice quality variations among female and male
    talkers", J. Acoust. Soc. Am. 87, the KLGLOTT88 polynomial; the smoothing is the common two-sample polynomial step.
    """
    cycle = (phase % 1.0) / open_quotient
    flow = np.where(cycle < 1.0, 2.0 * cycle - 3.0 * cycle**2, 0.0)
    step = np.gradient(phase) / open_quotient
    distance = (cycle - 1.0) / np.maximum(step, 1e-9)  # samples since the closure, where the derivative jumps from -1 to 0
    after, before = (distance >= 0.0) & (distance < 1.0), (distance < 0.0) & (distance > -1.0)
    flow[after] -= 0.5 * (1.0 - distance[after]) ** 2
    flow[before] += 0.5 * (1.0 + distance[before]) ** 2
    return flow / math.sqrt(open_quotient * 2.0 / 15.0)


def tilt_pole(tilt_db: float, sampling_rate: int) -> float:
    """Pole of the one-pole low-pass with gain 1 at 0 Hz that loses `tilt_db` at 3 kHz."""
    loss = 10.0 ** (tilt_db / 10.0)
    if loss <= 1.0:
        return 0.0
    half = (loss - math.cos(2.0 * math.pi * TILT_FREQUENCY / sampling_rate)) / (loss - 1.0)
    return half - math.sqrt(half**2 - 1.0)


def _tract_response(voice: Voice, formant_TN, nasality_T, fft_size: int, sampling_rate: int) -> np.ndarray:
    """Complex response `[T, F]` of the formant cascade, each resonator with gain 1 at 0 Hz, and of the nasal zero."""
    highest = 0.47 * sampling_rate
    frequency_TN = np.minimum(formant_TN, highest)
    radius = np.exp(-math.pi * _BANDWIDTHS * voice.bandwidth_factor / sampling_rate)
    linear_TN = -2.0 * radius * np.cos(2.0 * math.pi * frequency_TN / sampling_rate)
    square_N = radius**2
    poly = np.zeros((len(formant_TN), 2 * NUM_FORMANTS + 1))
    poly[:, 0] = np.prod(1.0 / (1.0 + linear_TN + square_N), axis=1)
    for n in range(NUM_FORMANTS):
        shifted = poly.copy()
        shifted[:, 1:] += linear_TN[:, n, None] * poly[:, :-1]
        shifted[:, 2:] += square_N[n] * poly[:, :-2]
        poly = shifted
    # In double precision: the poles lie close together, and their polynomial is small where they ring.
    response_TF = (1.0 / fft.rfft(poly, n=fft_size, axis=1)).astype(np.complex64)
    nasal = np.flatnonzero(nasality_T > 1e-3)
    frequency = np.arange(fft_size // 2 + 1) * sampling_rate / fft_size
    zero = 900.0 * REFERENCE_TRACT / voice.tract_length * voice.formant_factors[1]
    dip_db = 15.0 / (1.0 + ((frequency - zero) / 250.0) ** 2) + 6.0 * (frequency > zero)
    response_TF[nasal] *= 10.0 ** (-nasality_T[nasal, None] * dip_db / 20.0)
    return response_TF


def _frication_response(centre, width, fft_size: int, sampling_rate: int) -> np.ndarray:
    """Real response `[frames, F]` of the fricative noise: a bell on the axis of octaves over a weak floor."""
    octave = np.log2(np.maximum(np.arange(fft_size // 2 + 1), 1) * sampling_rate / fft_size)
    bell = np.exp(-0.5 * ((octave - np.log2(centre)[:, None]) / width[:, None]) ** 2)
    return (0.02 + bell).astype(np.float32)


def _frames_to_spectra(wave: np.ndarray, hop: int, frames: np.ndarray | None = None) -> np.ndarray:
    """Spectra `[T, F]` of Hann windows of two hops, which add up to one, zero-padded to four hops; all frames or those named."""
    padded = np.concatenate([np.zeros(hop, wave.dtype), wave])
    frames_TW = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    if frames is not None:
        frames_TW = frames_TW[frames]
    window = (0.5 - 0.5 * np.cos(math.pi * np.arange(2 * hop) / hop)).astype(np.float32)
    return fft.rfft(frames_TW * window, n=4 * hop, axis=1)


def _overlap_add(frames_TW: np.ndarray, hop: int) -> np.ndarray:
    """Wave `[T * hop]` in which frame t of four hops starts at (t - 1) * hop."""
    num_frames = len(frames_TW)
    blocks = frames_TW.reshape(num_frames, 4, hop)
    out = np.zeros((num_frames + 3, hop), frames_TW.dtype)
    for k in range(4):
        out[k : num_frames + k] += blocks[:, k]
    return out[1:-2].reshape(-1)
