"""Settings of augmentation, and those of features. Standard library only, so that planning a stage never imports torch."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from steps.signal.feature_settings import (
    FEATURES,
    NORMALISATIONS,
    WINDOWS,
    Fbank,
    LogMel,
    Mfcc,
    Plp,
    Spectrogram,
    Waveform,
    check,
    check_choice,
    check_name,
)

__all__ = [
    "ADDITIVE_KINDS", "BAND_KINDS", "CODEC_KINDS", "FEATURES", "NORMALISATIONS", "ONLINE_KINDS", "WINDOWS", "Augment",
    "Fbank", "LogMel", "Mfcc", "Plp", "SpecAugment", "Spectrogram", "Waveform",
]  # fmt: skip

ADDITIVE_KINDS = ("noise", "music", "babble")
ONLINE_KINDS = ("noise", "music", "babble", "reverb", "codec", "band")
CODEC_KINDS = ("mu_law", "telephone", "pcm_8bit")
BAND_KINDS = ("telephone_band", "low_pass_<Hz>")


@dataclass(frozen=True, kw_only=True)
class SpecAugment:
    """Masks over time and frequency of normalised features, during training.

    Source: Park et al., Interspeech 2019, without time warping.
    """

    p: float = 0.0  # probability that an example is masked at all
    num_time_masks: int = 0  # masks over frames
    max_time_frames: int = 0  # frames, longest time mask
    num_freq_masks: int = 0  # masks over bins
    max_freq_bins: int = 0  # bins, widest frequency mask

    def __post_init__(self) -> None:
        check(0 <= self.p <= 1, "specaugment.p", "0 to 1", self.p)
        for count, size in (("num_time_masks", "max_time_frames"), ("num_freq_masks", "max_freq_bins")):
            found = (getattr(self, count), getattr(self, size))
            check(
                min(found) >= 0 and (found[0] > 0) == (found[1] > 0),
                f"specaugment.{count} and {size}",
                "both 0 or both over 0",
                found,
            )
        masks = self.num_time_masks + self.num_freq_masks
        check((self.p > 0) == (masks > 0), "specaugment.p", "over 0 exactly if there are masks", self.p)


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Noise, music, babble, reverberation, codecs and speed.

    In mode "online" the p_... are relative weights among the kinds; p_augment says how often any of them
    happens. In mode "none" the other settings are checked but unused, so that one `--set augment.mode=none`
    switches augmentation off.

    Source: copies, SNR sets and babble sizes: Kaldi egs/voxceleb/v2/run.sh and steps/data/augment_data_dir.py; the
    ranges from their smallest to their largest values are those of clovaai/voxceleb_trainer.
    """

    mode: str = "none"  # "none", "online" (anew for each training example) or "copies" (made once)
    name: str = "none"  # the folder name of the copies or of the bank
    seed: int = 1  # of the copies; online augmentation is drawn from the seed of the training run
    sampling_rate: int = 16000  # Hz, of the signals and of all sounds in the bank
    # mode online: stage 3 puts the training speech into the bank, at 16 bits and the training rate; false: training reads the
    # recordings, to the same bits
    store_speech: bool = True
    copies: tuple[str, ...] = ()  # mode copies: Kaldi's four: reverb, noise, music, babble; or codec, band
    copies_share: float = 1.0  # mode copies: share of these copies that are made, drawn; those of another speed all are
    p_augment: float = 0.0  # mode online: probability that an example is augmented
    p_noise: float = 0.0  # relative weight
    p_music: float = 0.0  # relative weight
    p_babble: float = 0.0  # relative weight
    p_reverb: float = 0.0  # relative weight
    p_codec: float = 0.0  # relative weight
    p_band: float = 0.0  # relative weight
    reverb_then_noise: float = 0.0  # mode online: probability that noise, music or babble follows a reverberation
    snr_draw: str = "set"  # "set": one of the values; "range": anything between the smallest and the largest
    snr_noise: tuple[float, ...] = (15.0, 10.0, 5.0, 0.0)  # dB
    snr_music: tuple[float, ...] = (15.0, 10.0, 8.0, 5.0)  # dB
    snr_babble: tuple[float, ...] = (20.0, 17.0, 15.0, 13.0)  # dB, of each talker by itself
    noise_interval: float = 1.0  # s, mode copies: silence between one noise and the next
    babble_min_speakers: int = 3  # fewest talkers
    babble_max_speakers: int = 7  # most talkers
    codec_kinds: tuple[str, ...] = CODEC_KINDS  # drawn evenly; see codec.py
    band_kinds: tuple[str, ...] = ("telephone_band", "low_pass_3000")  # drawn evenly; cut-off in Hz
    speed_factors: tuple[float, ...] = ()  # 1.1 is faster and higher; Kaldi's are 0.9 and 1.1
    speed_as_new_speakers: bool = False  # a changed speed makes another speaker of everybody

    def __post_init__(self) -> None:
        check_choice("augment.mode", self.mode, ("none", "online", "copies"))
        check_name("augment.name", self.name)
        check(self.sampling_rate > 0, "augment.sampling_rate", "a positive number of Hz", self.sampling_rate)
        for key in ("p_augment", "reverb_then_noise"):
            check(0 <= getattr(self, key) <= 1, f"augment.{key}", "0 to 1", getattr(self, key))
        for kind, weight in self.weights.items():
            check(weight >= 0 and math.isfinite(weight), f"augment.p_{kind}", "0 or more", weight)
        self._check_sounds()
        self._check_speeds()
        if self.mode == "copies":
            self._check_copies()
        elif self.mode == "online":
            self._check_online()

    @property
    def weights(self) -> dict[str, float]:
        """The relative weight of each online kind, in the order of ONLINE_KINDS."""
        return {kind: getattr(self, f"p_{kind}") for kind in ONLINE_KINDS}

    @property
    def copy_kinds(self) -> tuple[str, ...]:
        """The names of all copies to make: `copies`, then "speed0.9" and the like; none in other modes."""
        if self.mode != "copies":
            return ()
        return self.copies + tuple(f"speed{factor:g}" for factor in self.speed_factors)

    @property
    def num_copies(self) -> int:
        """The number of copies to make of each utterance."""
        return len(self.copy_kinds)

    def _check_sounds(self) -> None:
        check_choice("augment.snr_draw", self.snr_draw, ("set", "range"))
        for kind in ADDITIVE_KINDS:
            values = getattr(self, f"snr_{kind}")
            check(
                len(values) > 0 and all(map(math.isfinite, values)),
                f"augment.snr_{kind}",
                "at least one number of dB",
                values,
            )
        check(self.noise_interval >= 0, "augment.noise_interval", "0 or more seconds", self.noise_interval)
        least, most = self.babble_min_speakers, self.babble_max_speakers
        check(1 <= least <= most, "augment.babble_min_speakers, babble_max_speakers", "1 <= min <= max", (least, most))
        check(len(self.codec_kinds) > 0, "augment.codec_kinds", "at least one", self.codec_kinds)
        check(len(self.band_kinds) > 0, "augment.band_kinds", "at least one", self.band_kinds)
        for kind in self.codec_kinds:
            check_choice("augment.codec_kinds", kind, CODEC_KINDS)
        for kind in self.band_kinds:
            known = kind == "telephone_band" or re.fullmatch(r"low_pass_[1-9][0-9]*", kind) is not None
            check(known, "augment.band_kinds", "one of " + ", ".join(BAND_KINDS), kind)
            if known and kind != "telephone_band":
                cutoff, nyquist = int(kind.removeprefix("low_pass_")), self.sampling_rate / 2
                check(cutoff < nyquist, "augment.band_kinds", f"a cut-off under {nyquist:g} Hz (Nyquist)", kind)

    def _check_speeds(self) -> None:
        for factor in self.speed_factors:
            simple = abs(float(Fraction(factor).limit_denominator(100)) - factor) < 1e-9
            fits = 0.5 <= factor <= 2 and factor != 1 and simple
            check(fits, "augment.speed_factors", "0.5 to 2, not 1, and a fraction with denominator up to 100", factor)
        check(
            len(set(self.speed_factors)) == len(self.speed_factors),
            "augment.speed_factors",
            "no factor twice",
            self.speed_factors,
        )
        if self.speed_as_new_speakers:
            check(
                len(self.speed_factors) > 0,
                "augment.speed_factors",
                "at least one with speed_as_new_speakers",
                self.speed_factors,
            )

    def _check_copies(self) -> None:
        for kind in self.copies:
            check_choice("augment.copies", kind, ONLINE_KINDS)
        check(len(set(self.copies)) == len(self.copies), "augment.copies", "no kind twice", self.copies)
        check(self.store_speech, "augment.store_speech", "true in mode copies", self.store_speech)
        check(self.num_copies > 0, "augment.copies, speed_factors", "at least one in mode copies", self.copies)
        check(0 < self.copies_share <= 1, "augment.copies_share", "over 0 and up to 1", self.copies_share)
        fits = self.copies_share == 1 or len(self.copies) > 0
        check(fits, "augment.copies_share", "1 where there are none of these copies", self.copies_share)
        unused = [f"p_{kind}" for kind, weight in self.weights.items() if weight > 0]
        unused += [key for key in ("p_augment", "reverb_then_noise") if getattr(self, key) > 0]
        check(not unused, "augment", "no probabilities in mode copies", unused)

    def _check_online(self) -> None:
        check(not self.copies, "augment.copies", "none in mode online", self.copies)
        check(self.copies_share == 1, "augment.copies_share", "1 in mode online", self.copies_share)
        weights = self.weights
        check(
            (sum(weights.values()) > 0) == (self.p_augment > 0),
            "augment.p_augment",
            "over 0 exactly if a p_<kind> is",
            self.p_augment,
        )
        check(
            self.p_augment > 0 or len(self.speed_factors) > 0,
            "augment",
            "p_augment > 0 or speed_factors in mode online",
            "neither",
        )
        if self.reverb_then_noise > 0:
            usable = self.p_reverb > 0 and any(weights[kind] > 0 for kind in ADDITIVE_KINDS)
            check(
                usable,
                "augment.reverb_then_noise",
                "0 unless p_reverb and one of p_noise, p_music, p_babble are over 0",
                self.reverb_then_noise,
            )
