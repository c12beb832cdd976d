"""Settings of features and augmentation. Standard library only, so that planning a stage never imports torch."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction

WINDOWS = ("povey", "hamming", "hann", "rectangular")
NORMALISATIONS = (
    "none",
    "utterance_mean",
    "utterance_mean_variance",
    "sliding_mean",
    "sliding_mean_variance",
    "frame_mean_variance",
)
ADDITIVE_KINDS = ("noise", "music", "babble")
ONLINE_KINDS = ("noise", "music", "babble", "reverb", "codec", "band")
CODEC_KINDS = ("mu_law", "telephone", "pcm_8bit")
BAND_KINDS = ("telephone_band", "low_pass_<Hz>")


def _check(holds: bool, what: str, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"{what}: expected {expected}, found {found!r}")


def _check_choice(what: str, found: str, choices: tuple[str, ...]) -> None:
    _check(found in choices, what, "one of " + ", ".join(choices), found)


def _check_name(what: str, name: str) -> None:
    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None
    _check(fits, what, "a folder name of letters, digits, '.', '_', '-'", name)


@dataclass(frozen=True, kw_only=True)
class _Framed:
    """What Fbank and Mfcc share. Defaults are Kaldi's unless the comment says otherwise.

    Source: Kaldi src/feat/feature-window.h, src/feat/mel-computations.h, src/ivector/voice-activity-detection.h and
    egs/voxceleb/v2/conf.
    """

    name: str  # the folder name, for example "fbank80"
    sampling_rate: int = 16000  # Hz, what the features are made from
    resample: bool = False  # convert audio of another sampling rate; false: it is an error
    num_mel_bins: int  # number of mel filters
    frame_length: float = 0.025  # s, cut down to whole samples
    frame_shift: float = 0.010  # s, cut down to whole samples
    low_freq: float = 20.0  # Hz, lower end of the first mel filter
    high_freq: float = 0.0  # Hz, upper end of the last mel filter; 0 or less: added to the Nyquist frequency
    preemphasis: float = 0.97  # coefficient in 0..1, per frame; 0 switches it off
    window: str = "povey"  # "povey" (Hann to the power 0.85), "hamming", "hann", "rectangular"; symmetric
    dither: float = 0.0  # standard deviation of noise, samples being +-32768; Kaldi's default is 1
    snip_edges: bool = False  # true: whole frames only; false: round(W / shift) frames, edges mirrored (voxceleb/v2)
    remove_dc: bool = True  # subtract the mean of each frame
    use_energy: bool = False  # fbank: log energy as a first column; mfcc: log energy in place of C0
    normalise: str = "none"  # one of NORMALISATIONS, see normalise.py
    normalise_window: int = 300  # frames, centred window of the sliding normalisations (3 s)
    vad: str = "none"  # "none" or "energy": drop frames without speech, after normalisation
    vad_threshold: float = 5.5  # natural log energy of samples of +-32768, constant part of the threshold
    vad_mean_scale: float = 0.5  # factor, times the mean log energy, added to the threshold
    vad_context: int = 2  # frames on each side that vote on a frame (egs/voxceleb/v2)
    vad_proportion: float = 0.12  # share of voting frames over the threshold that makes speech (egs/voxceleb/v2)

    def __post_init__(self) -> None:
        label = type(self).__name__.lower()
        _check_name(f"{label}.name", self.name)
        _check(self.sampling_rate > 0, f"{label}.sampling_rate", "a positive number of Hz", self.sampling_rate)
        _check(self.frame_shift_samples >= 1, f"{label}.frame_shift", "at least one sample", self.frame_shift)
        _check(self.frame_samples >= 2, f"{label}.frame_length", "at least two samples", self.frame_length)
        _check(self.num_mel_bins >= 3, f"{label}.num_mel_bins", "at least 3", self.num_mel_bins)
        _check(0 <= self.preemphasis <= 1, f"{label}.preemphasis", "0 to 1", self.preemphasis)
        _check(self.dither >= 0, f"{label}.dither", "0 or more", self.dither)
        _check_choice(f"{label}.window", self.window, WINDOWS)
        self._check_band(label)
        _check_choice(f"{label}.normalise", self.normalise, NORMALISATIONS)
        _check(self.normalise_window >= 1, f"{label}.normalise_window", "at least 1 frame", self.normalise_window)
        _check_choice(f"{label}.vad", self.vad, ("none", "energy"))
        _check(self.vad_context >= 0, f"{label}.vad_context", "0 or more frames", self.vad_context)
        _check(0 < self.vad_proportion < 1, f"{label}.vad_proportion", "between 0 and 1", self.vad_proportion)

    def _check_band(self, label: str) -> None:
        nyquist = self.sampling_rate / 2
        _check(0 <= self.low_freq < nyquist, f"{label}.low_freq", f"0 to {nyquist:g} Hz (Nyquist)", self.low_freq)
        _check(
            self.low_freq < self.upper_freq <= nyquist,
            f"{label}.high_freq",
            f"over low_freq = {self.low_freq:g} and up to {nyquist:g} Hz (Nyquist), or 0 or less",
            self.high_freq,
        )

    @property
    def upper_freq(self) -> float:
        """The upper end of the last mel filter in Hz, with high_freq <= 0 resolved."""
        return self.high_freq if self.high_freq > 0 else self.sampling_rate / 2 + self.high_freq

    @property
    def frame_samples(self) -> int:
        """The number of samples in a frame."""
        return math.floor(self.frame_length * self.sampling_rate + 1e-6)  # 1e-6: 0.29 * 100 is 28.999...

    @property
    def frame_shift_samples(self) -> int:
        """The number of samples from one frame to the next."""
        return math.floor(self.frame_shift * self.sampling_rate + 1e-6)

    def num_frames(self, num_samples: int) -> int:
        """The number of frames before VAD; 0 if there is less than one frame of samples, which features.py refuses."""
        if num_samples < self.frame_samples:
            return 0
        if self.snip_edges:
            return 1 + (num_samples - self.frame_samples) // self.frame_shift_samples
        return (num_samples + self.frame_shift_samples // 2) // self.frame_shift_samples


@dataclass(frozen=True, kw_only=True)
class Fbank(_Framed):
    """Log mel filter-bank energies as Kaldi's compute-fbank-feats makes them."""

    type: str = "fbank"  # the word that chooses these settings

    def __post_init__(self) -> None:
        _check_choice("fbank.type", self.type, ("fbank",))
        super().__post_init__()

    @property
    def num_bins(self) -> int:
        """The number of columns."""
        return self.num_mel_bins + int(self.use_energy)


@dataclass(frozen=True, kw_only=True)
class Mfcc(_Framed):
    """Mel-frequency cepstral coefficients as Kaldi's compute-mfcc-feats makes them."""

    type: str = "mfcc"  # the word that chooses these settings
    num_mel_bins: int = 23  # number of mel filters
    num_ceps: int = 13  # number of coefficients kept, C0 included
    cepstral_lifter: float = 22.0  # length Q of the sine lifter; 0 switches it off
    use_energy: bool = True  # log energy in place of C0

    def __post_init__(self) -> None:
        _check_choice("mfcc.type", self.type, ("mfcc",))
        super().__post_init__()
        bound = f"1 to num_mel_bins = {self.num_mel_bins}"
        _check(1 <= self.num_ceps <= self.num_mel_bins, "mfcc.num_ceps", bound, self.num_ceps)
        _check(self.cepstral_lifter >= 0, "mfcc.cepstral_lifter", "0 or more", self.cepstral_lifter)

    @property
    def num_bins(self) -> int:
        """The number of columns."""
        return self.num_ceps


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """The samples themselves in +-1, one column."""

    type: str = "waveform"  # the word that chooses these settings
    name: str  # the folder name, for example "waveform4k"
    sampling_rate: int = 16000  # Hz, before decimation
    resample: bool = False  # convert audio of another sampling rate; false: it is an error
    decimate: int = 1  # keep one sample in so many; 1 keeps all
    decimate_filter: str = "resample"  # "resample": anti-alias filter first; "stride": plain x[::n] (voicemap)

    def __post_init__(self) -> None:
        _check_choice("waveform.type", self.type, ("waveform",))
        _check_name("waveform.name", self.name)
        _check(self.sampling_rate > 0, "waveform.sampling_rate", "a positive number of Hz", self.sampling_rate)
        _check(self.decimate >= 1, "waveform.decimate", "1 or more", self.decimate)
        _check_choice("waveform.decimate_filter", self.decimate_filter, ("stride", "resample"))

    @property
    def num_bins(self) -> int:
        """The number of columns."""
        return 1

    def num_frames(self, num_samples: int) -> int:
        """The number of samples left after decimation."""
        return -(-num_samples // self.decimate)


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
        _check(0 <= self.p <= 1, "specaugment.p", "0 to 1", self.p)
        for count, size in (("num_time_masks", "max_time_frames"), ("num_freq_masks", "max_freq_bins")):
            found = (getattr(self, count), getattr(self, size))
            _check(
                min(found) >= 0 and (found[0] > 0) == (found[1] > 0),
                f"specaugment.{count} and {size}",
                "both 0 or both over 0",
                found,
            )
        masks = self.num_time_masks + self.num_freq_masks
        _check((self.p > 0) == (masks > 0), "specaugment.p", "over 0 exactly if there are masks", self.p)


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
    copies: tuple[str, ...] = ()  # mode copies: Kaldi's four: reverb, noise, music, babble; or codec, band
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
        _check_choice("augment.mode", self.mode, ("none", "online", "copies"))
        _check_name("augment.name", self.name)
        _check(self.sampling_rate > 0, "augment.sampling_rate", "a positive number of Hz", self.sampling_rate)
        for key in ("p_augment", "reverb_then_noise"):
            _check(0 <= getattr(self, key) <= 1, f"augment.{key}", "0 to 1", getattr(self, key))
        for kind, weight in self.weights.items():
            _check(weight >= 0 and math.isfinite(weight), f"augment.p_{kind}", "0 or more", weight)
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
        _check_choice("augment.snr_draw", self.snr_draw, ("set", "range"))
        for kind in ADDITIVE_KINDS:
            values = getattr(self, f"snr_{kind}")
            _check(
                len(values) > 0 and all(map(math.isfinite, values)),
                f"augment.snr_{kind}",
                "at least one number of dB",
                values,
            )
        _check(self.noise_interval >= 0, "augment.noise_interval", "0 or more seconds", self.noise_interval)
        least, most = self.babble_min_speakers, self.babble_max_speakers
        _check(1 <= least <= most, "augment.babble_min_speakers, babble_max_speakers", "1 <= min <= max", (least, most))
        _check(len(self.codec_kinds) > 0, "augment.codec_kinds", "at least one", self.codec_kinds)
        _check(len(self.band_kinds) > 0, "augment.band_kinds", "at least one", self.band_kinds)
        for kind in self.codec_kinds:
            _check_choice("augment.codec_kinds", kind, CODEC_KINDS)
        for kind in self.band_kinds:
            known = kind == "telephone_band" or re.fullmatch(r"low_pass_[1-9][0-9]*", kind) is not None
            _check(known, "augment.band_kinds", "one of " + ", ".join(BAND_KINDS), kind)
            if known and kind != "telephone_band":
                cutoff, nyquist = int(kind.removeprefix("low_pass_")), self.sampling_rate / 2
                _check(cutoff < nyquist, "augment.band_kinds", f"a cut-off under {nyquist:g} Hz (Nyquist)", kind)

    def _check_speeds(self) -> None:
        for factor in self.speed_factors:
            simple = abs(float(Fraction(factor).limit_denominator(100)) - factor) < 1e-9
            fits = 0.5 <= factor <= 2 and factor != 1 and simple
            _check(fits, "augment.speed_factors", "0.5 to 2, not 1, and a fraction with denominator up to 100", factor)
        _check(
            len(set(self.speed_factors)) == len(self.speed_factors),
            "augment.speed_factors",
            "no factor twice",
            self.speed_factors,
        )
        if self.speed_as_new_speakers:
            _check(
                len(self.speed_factors) > 0,
                "augment.speed_factors",
                "at least one with speed_as_new_speakers",
                self.speed_factors,
            )

    def _check_copies(self) -> None:
        for kind in self.copies:
            _check_choice("augment.copies", kind, ONLINE_KINDS)
        _check(len(set(self.copies)) == len(self.copies), "augment.copies", "no kind twice", self.copies)
        _check(self.num_copies > 0, "augment.copies, speed_factors", "at least one in mode copies", self.copies)
        unused = [f"p_{kind}" for kind, weight in self.weights.items() if weight > 0]
        unused += [key for key in ("p_augment", "reverb_then_noise") if getattr(self, key) > 0]
        _check(not unused, "augment", "no probabilities in mode copies", unused)

    def _check_online(self) -> None:
        _check(not self.copies, "augment.copies", "none in mode online", self.copies)
        weights = self.weights
        _check(
            (sum(weights.values()) > 0) == (self.p_augment > 0),
            "augment.p_augment",
            "over 0 exactly if a p_<kind> is",
            self.p_augment,
        )
        _check(
            self.p_augment > 0 or len(self.speed_factors) > 0,
            "augment",
            "p_augment > 0 or speed_factors in mode online",
            "neither",
        )
        if self.reverb_then_noise > 0:
            usable = self.p_reverb > 0 and any(weights[kind] > 0 for kind in ADDITIVE_KINDS)
            _check(
                usable,
                "augment.reverb_then_noise",
                "0 unless p_reverb and one of p_noise, p_music, p_babble are over 0",
                self.reverb_then_noise,
            )


FEATURES = {"fbank": Fbank, "mfcc": Mfcc, "waveform": Waveform}  # by the key `type` of the section [features]
