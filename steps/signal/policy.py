"""Which augmentation an example gets. All chance comes from the generator that is handed in."""

from typing import Protocol

import numpy as np

from steps.signal.codec import apply_band, apply_codec
from steps.signal.noise import babble, fit_length, mix_at_snr, noise_gain
from steps.signal.reverb import reverberate
from steps.signal.settings import ADDITIVE_KINDS, ONLINE_KINDS, Augment
from steps.signal.speed import change_speed

BANK_KINDS = {"noise": "noise", "music": "music", "babble": "speech", "reverb": "rir"}  # what needs which sounds


class Bank(Protocol):
    """Sounds to augment with, of the kinds "noise", "music", "babble", "speech", "rir", all at the settings' sampling rate.

    Babble is made of "babble" where there is some (MUSAN's speech, as Kaldi, clovaai and WeSpeaker do), else of "speech",
    the training speech.
    """

    def num(self, kind: str) -> int:
        """Returns the number of sounds of a kind, 0 if there are none."""

    def length(self, kind: str, index: int) -> int:
        """Returns the number of samples of a sound."""

    def get(self, kind: str, index: int, start: int, num_samples: int) -> np.ndarray:
        """Returns num_samples float32 samples in +-1 from `start` on."""

    def cumulative_shares(self, kind: str) -> np.ndarray | None:
        """Returns up to which number from 0 to 1 a draw is each sound, `[N]`, the last one 1; None: all are equally likely."""


def augment(signal_W: np.ndarray, rng: np.random.Generator, settings: Augment, bank: Bank) -> tuple[np.ndarray, str]:
    """Returns the signal (float32, same length) as training in mode "online" hears it, and what was done.

    With probability p_augment one kind is drawn by the weights p_<kind>; a reverberated signal gets noise,
    music or babble as well with probability reverb_then_noise. The words are "clean", "noise[3]@5.0dB",
    "reverb[0]+music[2]@8.0dB", "codec:telephone" ..., indices being those of the bank. Speed is not changed
    here, as it changes the length: see `draw_speed`.

    Raises:
        ValueError: the bank has no sounds for a kind whose weight is over 0.
    """
    signal_W = np.asarray(signal_W, dtype=np.float32)
    check_bank(settings, bank)
    if rng.random() >= settings.p_augment:
        return signal_W, "clean"
    kind = _draw_kind(ONLINE_KINDS, rng, settings)
    augmented_W, words = _apply(kind, signal_W, rng, settings, bank)
    if kind == "reverb" and rng.random() < settings.reverb_then_noise:
        kind = _draw_kind(ADDITIVE_KINDS, rng, settings)
        augmented_W, more = _apply(kind, augmented_W, rng, settings, bank)
        words = f"{words}+{more}"
    return augmented_W, words


def augment_copy(
    kind: str, signal_W: np.ndarray, rng: np.random.Generator, settings: Augment, bank: Bank
) -> tuple[np.ndarray, str]:
    """Returns the copy of a whole utterance that is named `kind` (see settings.copy_kinds), and what was done.

    As `augment`, but "noise" is a row of noises with pauses of noise_interval between them, each at its own
    SNR, and "speed<factor>" changes the length. Music and talkers start at a random place; Kaldi starts them
    at their beginning.

    Raises:
        ValueError: the bank has no sounds for this kind, or the settings do not name it.
    """
    if kind not in settings.copy_kinds:
        raise ValueError(f"copy kind: expected one of {', '.join(settings.copy_kinds) or 'none'}, found {kind!r}")
    signal_W = np.asarray(signal_W, dtype=np.float32)
    if kind.startswith("speed"):
        return change_speed(signal_W, float(kind.removeprefix("speed"))), kind
    _check_sounds(kind, f"augment.copies has {kind!r}", bank)
    if kind == "noise":
        return _row_of_noises(signal_W, rng, settings, bank)
    return _apply(kind, signal_W, rng, settings, bank)


def draw_speed(rng: np.random.Generator, settings: Augment) -> float:
    """Returns the speed of an example in mode "online": 1.0 or one of speed_factors, all equally likely.

    The caller reads speed.speed_input_length samples and calls speed.change_speed; only it knows the
    speaker's label.
    """
    factors = (1.0, *settings.speed_factors)
    return factors[int(rng.integers(len(factors)))]


def check_bank(settings: Augment, bank: Bank) -> None:
    """Raises ValueError if the bank lacks sounds for a kind that these settings can ask for."""
    for kind, weight in settings.weights.items():
        if weight > 0:
            _check_sounds(kind, f"augment.p_{kind} = {weight:g}", bank)
    for kind in settings.copies:
        _check_sounds(kind, f"augment.copies has {kind!r}", bank)


def _check_sounds(kind: str, reason: str, bank: Bank) -> None:
    sounds = _sounds_of(kind, bank) if kind in BANK_KINDS else ""
    if sounds and bank.num(sounds) == 0:
        raise ValueError(f"{reason}: expected sounds of the kind {sounds!r} in the bank, found none")


def _sounds_of(kind: str, bank: Bank) -> str:
    return "babble" if kind == "babble" and bank.num("babble") else BANK_KINDS[kind]


def _draw_index(sounds: str, rng: np.random.Generator, bank: Bank) -> int:
    cumulative_N = bank.cumulative_shares(sounds)
    if cumulative_N is None:
        return int(rng.integers(bank.num(sounds)))
    return int(np.searchsorted(cumulative_N, rng.random(), side="right"))


def _draw_kind(kinds: tuple[str, ...], rng: np.random.Generator, settings: Augment) -> str:
    weights = np.cumsum([settings.weights[kind] for kind in kinds])
    return kinds[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]


def _apply(kind: str, signal_W: np.ndarray, rng: np.random.Generator, settings: Augment, bank: Bank) -> tuple[np.ndarray, str]:
    if kind == "codec":
        codec = settings.codec_kinds[int(rng.integers(len(settings.codec_kinds)))]
        return apply_codec(codec, signal_W, settings.sampling_rate), f"codec:{codec}"
    if kind == "band":
        band = settings.band_kinds[int(rng.integers(len(settings.band_kinds)))]
        return apply_band(band, signal_W, settings.sampling_rate), f"band:{band}"
    if kind == "reverb":
        index = _draw_index("rir", rng, bank)
        return reverberate(signal_W, bank.get("rir", index, 0, bank.length("rir", index))), f"reverb[{index}]"
    if kind == "babble":
        return _babble(signal_W, rng, settings, bank)
    index, sound_W = _draw_sound(kind, len(signal_W), rng, bank)
    snr_db = _draw_snr(kind, rng, settings)
    return mix_at_snr(signal_W, sound_W, snr_db), _words(kind, index, snr_db, sound_W)


def _babble(signal_W: np.ndarray, rng: np.random.Generator, settings: Augment, bank: Bank) -> tuple[np.ndarray, str]:
    num_talkers = int(rng.integers(settings.babble_min_speakers, settings.babble_max_speakers + 1))
    sounds = _sounds_of("babble", bank)
    talkers = [_draw_sound(sounds, len(signal_W), rng, bank) for _ in range(num_talkers)]
    snrs = [_draw_snr("babble", rng, settings) for _ in talkers]
    words = "+".join(_words("babble", index, snr, sound_W) for (index, sound_W), snr in zip(talkers, snrs, strict=True))
    return babble(signal_W, [sound_W for _, sound_W in talkers], snrs), words


def _row_of_noises(signal_W: np.ndarray, rng: np.random.Generator, settings: Augment, bank: Bank) -> tuple[np.ndarray, str]:
    """Returns the signal with one noise after another.

    The SNR compares the whole signal with the part of the noise that is heard; Kaldi takes the whole noise,
    cut or not.
    """
    pause = round(settings.noise_interval * settings.sampling_rate)
    mixed_W, words, start = signal_W.copy(), [], 0
    while start < len(signal_W):
        index = _draw_index("noise", rng, bank)
        length = min(bank.length("noise", index), len(signal_W) - start)
        noise_W = np.asarray(bank.get("noise", index, 0, length), dtype=np.float32)
        snr_db = _draw_snr("noise", rng, settings)
        mixed_W[start : start + length] += noise_gain(signal_W, noise_W, snr_db) * noise_W
        words.append(_words("noise", index, snr_db, noise_W))
        start += max(1, length + pause)
    return mixed_W, "+".join(words)


def _draw_sound(kind: str, num_samples: int, rng: np.random.Generator, bank: Bank) -> tuple[int, np.ndarray]:
    """Returns a sound of the bank from a random start on, repeated if it is too short; reads no more than needed."""
    index = _draw_index(kind, rng, bank)
    length = bank.length(kind, index)
    if length <= num_samples:
        return index, fit_length(bank.get(kind, index, 0, length), num_samples, rng)
    return index, bank.get(kind, index, int(rng.integers(length - num_samples + 1)), num_samples)


def _draw_snr(kind: str, rng: np.random.Generator, settings: Augment) -> float:
    values = getattr(settings, f"snr_{kind}")
    if settings.snr_draw == "range":
        return float(rng.uniform(min(values), max(values)))
    return float(values[int(rng.integers(len(values)))])


def _words(kind: str, index: int, snr_db: float, sound_W: np.ndarray) -> str:
    return f"{kind}[{index}]@{snr_db:.1f}dB" + ("" if sound_W.any() else ":silent")
