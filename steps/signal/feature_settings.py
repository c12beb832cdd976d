"""Settings of features. Standard library only, so that planning a stage never imports torch."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar

WINDOWS = ("povey", "hamming", "hann", "rectangular")
NORMALISATIONS = (
    "none",
    "utterance_mean",
    "utterance_mean_variance",
    "sliding_mean",
    "sliding_mean_variance",
    "frame_mean_variance",
)
STORAGES = ("float32", "two_byte", "speech_feature", "none")
FRAMINGS = ("snip_edges", "centred")
FRONT_ENDS = ("none", "vggvox")
SPECTROGRAM_VALUES = ("magnitude", "power", "log_magnitude")
SPECTROGRAM_BINS = ("half", "half_without_nyquist", "mirrored")
VGGVOX_POLES = {16000: 0.99, 8000: 0.999}  # sampling rate in Hz -> pole of the filter that removes the mean


def check(holds: bool, what: str, expected: str, found: object) -> None:
    """Raises ValueError unless a setting holds."""
    if not holds:
        raise ValueError(f"{what}: expected {expected}, found {found!r}")


def check_choice(what: str, found: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError if a word is none of those that are known."""
    check(found in choices, what, "one of " + ", ".join(choices), found)


def check_name(what: str, name: str) -> None:
    """Raises ValueError if a name cannot be that of a folder."""
    fits = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) is not None
    check(fits, what, "a folder name of letters, digits, '.', '_', '-'", name)


@dataclass(frozen=True, kw_only=True)
class _Framed:
    """What all features of frames share: frames, normalisation, VAD.

    Source: Kaldi src/ivector/voice-activity-detection.h and egs/voxceleb/v2/conf.
    """

    name: str  # the folder name, for example "fbank80"
    sampling_rate: int = 16000  # Hz, what the features are made from
    resample: bool = False  # convert audio of another sampling rate; false: it is an error
    frame_length: float = 0.025  # s, cut down to whole samples
    frame_shift: float = 0.010  # s, cut down to whole samples
    normalise: str = "none"  # one of NORMALISATIONS, see normalise.py
    normalise_window: int = 300  # frames, centred window of the sliding normalisations (3 s)
    normalise_epsilon: float = 0.0  # added to a standard deviation before dividing by it; 0: floored at 1e-5 instead
    vad: str = "none"  # "none" or "energy": drop frames without speech, after normalisation
    vad_threshold: float = 5.5  # natural log energy of a frame of samples of +-32768, constant part of the threshold
    vad_mean_scale: float = 0.5  # factor, times the mean log energy, added to the threshold
    vad_context: int = 2  # frames on each side that vote on a frame (egs/voxceleb/v2)
    vad_proportion: float = 0.12  # share of voting frames over the threshold that makes speech (egs/voxceleb/v2)
    # On disk: "float32", or one of Kaldi's compressed forms: "two_byte" (half of it; off by 1/131,070 of a matrix's range at
    # most) or "speech_feature" (a quarter; off by at most 1/126 of the way between two of a column's quartiles and extremes);
    # or "none": stages 4 and 5 make them of the recordings whenever they want them, to the same bits as "float32".
    storage: str = "float32"

    def __post_init__(self) -> None:
        label = self._label
        check_choice(f"{label}.type", self.type, (label,))
        check_name(f"{label}.name", self.name)
        check(self.sampling_rate > 0, f"{label}.sampling_rate", "a positive number of Hz", self.sampling_rate)
        check(self.frame_shift_samples >= 1, f"{label}.frame_shift", "at least one sample", self.frame_shift)
        check(self.frame_samples >= 2, f"{label}.frame_length", "at least two samples", self.frame_length)
        check_choice(f"{label}.window", self.window, WINDOWS)
        check_choice(f"{label}.normalise", self.normalise, NORMALISATIONS)
        check(self.normalise_window >= 1, f"{label}.normalise_window", "at least 1 frame", self.normalise_window)
        divides = self.normalise.endswith("variance")
        bound = "0 or more" if divides else f"0 with normalise = {self.normalise}"
        check(self.normalise_epsilon == 0 or (divides and self.normalise_epsilon > 0),
              f"{label}.normalise_epsilon", bound, self.normalise_epsilon)  # fmt: skip
        check_choice(f"{label}.vad", self.vad, ("none", "energy"))
        check_choice(f"{label}.storage", self.storage, STORAGES)
        check(self.vad_context >= 0, f"{label}.vad_context", "0 or more frames", self.vad_context)
        check(0 < self.vad_proportion < 1, f"{label}.vad_proportion", "between 0 and 1", self.vad_proportion)

    @property
    def _label(self) -> str:
        return type(self).type

    @property
    def is_random(self) -> bool:
        """Whether random numbers go into them."""
        return False

    @property
    def frame_samples(self) -> int:
        """The number of samples in a frame."""
        return math.floor(self.frame_length * self.sampling_rate + 1e-6)  # 1e-6: 0.29 * 100 is 28.999...

    @property
    def frame_shift_samples(self) -> int:
        """The number of samples from one frame to the next."""
        return math.floor(self.frame_shift * self.sampling_rate + 1e-6)

    def num_frames(self, num_samples: int) -> int:
        """The number of frames before VAD; 0 if there is less than one frame of samples, which framing.py refuses."""
        return 0 if num_samples < self.frame_samples else self._count(num_samples)

    def num_samples(self, num_frames: int) -> int:
        """The number of samples that give `num_frames` frames before VAD, or more where one frame of samples does."""
        return max(self.frame_samples, self._length(num_frames))


class _Mel:
    """The band of mel filters."""

    def _check_band(self) -> None:
        label, nyquist = self._label, self.sampling_rate / 2
        check(self.num_mel_bins >= 3, f"{label}.num_mel_bins", "at least 3", self.num_mel_bins)
        check(0 <= self.low_freq < nyquist, f"{label}.low_freq", f"0 to {nyquist:g} Hz (Nyquist)", self.low_freq)
        check(
            self.low_freq < self.upper_freq <= nyquist,
            f"{label}.high_freq",
            f"over low_freq = {self.low_freq:g} and up to {nyquist:g} Hz (Nyquist), or 0 or less, as in --set "
            "features.high_freq=-300, 300 Hz below that",
            self.high_freq,
        )

    @property
    def upper_freq(self) -> float:
        """The upper end of the last mel filter in Hz, with high_freq <= 0 resolved."""
        return self.high_freq if self.high_freq > 0 else self.sampling_rate / 2 + self.high_freq


@dataclass(frozen=True, kw_only=True)
class _Kaldi(_Mel, _Framed):
    """What Fbank, Mfcc and Plp share. Defaults are Kaldi's unless the comment says otherwise.

    Source: Kaldi src/feat/feature-window.h, src/feat/mel-computations.h.
    """

    repeats_edge: ClassVar[bool] = True  # the mirror lies behind the last sample, which is thus there twice
    num_mel_bins: int  # number of mel filters
    low_freq: float = 20.0  # Hz, lower end of the first mel filter
    high_freq: float = 0.0  # Hz, upper end of the last mel filter; 0 or less: added to the Nyquist frequency
    preemphasis: float = 0.97  # coefficient in 0..1, per frame; 0 switches it off
    window: str = "povey"  # "povey" (Hann to the power 0.85), "hamming", "hann", "rectangular"; symmetric
    dither: float = 0.0  # standard deviation of noise, samples being +-32768; Kaldi's default is 1
    snip_edges: bool = False  # true: whole frames only; false: round(W / shift) frames, edges mirrored (voxceleb/v2)
    remove_dc: bool = True  # subtract the mean of each frame
    use_energy: bool = False  # fbank: log energy as a first column; mfcc, plp: log energy in place of C0
    delta_order: int = 0  # derivatives over time appended to the columns, before normalisation (add-deltas); Kaldi's default: 2
    delta_window: int = 2  # frames on each side that the first derivative looks at

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.preemphasis <= 1, f"{self._label}.preemphasis", "0 to 1", self.preemphasis)
        check(self.dither >= 0, f"{self._label}.dither", "0 or more", self.dither)
        check(self.delta_order >= 0, f"{self._label}.delta_order", "0 or more", self.delta_order)
        bound = "1 or more" if self.delta_order else "the default, 2, with delta_order = 0"
        check(self.delta_window >= 1 if self.delta_order else self.delta_window == 2,
              f"{self._label}.delta_window", bound, self.delta_window)  # fmt: skip
        self._check_band()

    @property
    def is_random(self) -> bool:
        """Whether random numbers go into them: dither."""
        return self.dither > 0

    @property
    def num_bins(self) -> int:
        """The number of columns."""
        return self.num_static * (1 + self.delta_order)

    @property
    def n_fft(self) -> int:
        """The number of points of the FFT, the next power of 2."""
        return 1 << (self.frame_samples - 1).bit_length()

    @property
    def first_sample(self) -> int:
        """Where frame 0 starts: frame t is centred on sample (t + 1/2) * shift, or starts at t * shift (snip_edges)."""
        return 0 if self.snip_edges else self.frame_shift_samples // 2 - self.frame_samples // 2

    def _count(self, num_samples: int) -> int:
        if self.snip_edges:
            return 1 + (num_samples - self.frame_samples) // self.frame_shift_samples
        return (num_samples + self.frame_shift_samples // 2) // self.frame_shift_samples

    def _length(self, num_frames: int) -> int:
        if self.snip_edges:
            return (num_frames - 1) * self.frame_shift_samples + self.frame_samples
        return num_frames * self.frame_shift_samples


@dataclass(frozen=True, kw_only=True)
class Fbank(_Kaldi):
    """Log mel filter-bank energies as Kaldi's compute-fbank-feats makes them."""

    type: str = "fbank"  # the word that chooses these settings

    @property
    def num_static(self) -> int:
        """The number of columns without their derivatives."""
        return self.num_mel_bins + int(self.use_energy)


@dataclass(frozen=True, kw_only=True)
class Mfcc(_Kaldi):
    """Mel-frequency cepstral coefficients as Kaldi's compute-mfcc-feats makes them."""

    type: str = "mfcc"  # the word that chooses these settings
    num_mel_bins: int = 23  # number of mel filters
    num_ceps: int = 13  # number of coefficients kept, C0 included
    cepstral_lifter: float = 22.0  # length Q of the sine lifter; 0 switches it off
    use_energy: bool = True  # log energy in place of C0

    def __post_init__(self) -> None:
        super().__post_init__()
        bound = f"1 to num_mel_bins = {self.num_mel_bins}"
        check(1 <= self.num_ceps <= self.num_mel_bins, "mfcc.num_ceps", bound, self.num_ceps)
        check(self.cepstral_lifter >= 0, "mfcc.cepstral_lifter", "0 or more", self.cepstral_lifter)

    @property
    def num_static(self) -> int:
        """The number of columns without their derivatives."""
        return self.num_ceps


@dataclass(frozen=True, kw_only=True)
class Plp(_Kaldi):
    """Perceptual linear prediction cepstra as Kaldi's compute-plp-feats makes them.

    Source: Kaldi src/feat/feature-plp.h.
    """

    type: str = "plp"  # the word that chooses these settings
    num_mel_bins: int = 23  # number of mel filters
    lpc_order: int = 12  # order of the linear prediction
    num_ceps: int = 13  # number of coefficients kept, C0 included; up to lpc_order + 1
    compress_factor: float = 0.33333  # power that turns energies into loudness
    cepstral_lifter: float = 22.0  # length Q of the sine lifter; 0 switches it off
    cepstral_scale: float = 1.0  # factor of all coefficients, but not of the log energy
    use_energy: bool = True  # log energy in place of C0, the log of the prediction's residual energy
    htk_compat: bool = False  # log energy or C0 as the last column, not the first

    def __post_init__(self) -> None:
        super().__post_init__()
        # The compressed spectrum has num_mel_bins + 2 lines; beyond this lag its autocorrelation repeats itself.
        most = self.num_mel_bins + 1
        check(1 <= self.lpc_order <= most, "plp.lpc_order", f"1 to num_mel_bins + 1 = {most}", self.lpc_order)
        bound = f"1 to lpc_order + 1 = {self.lpc_order + 1}"
        check(1 <= self.num_ceps <= self.lpc_order + 1, "plp.num_ceps", bound, self.num_ceps)
        check(0 < self.compress_factor <= 1, "plp.compress_factor", "over 0, up to 1", self.compress_factor)
        check(self.cepstral_lifter >= 0, "plp.cepstral_lifter", "0 or more", self.cepstral_lifter)
        check(self.cepstral_scale > 0, "plp.cepstral_scale", "over 0", self.cepstral_scale)

    @property
    def num_static(self) -> int:
        """The number of columns without their derivatives."""
        return self.num_ceps


@dataclass(frozen=True, kw_only=True)
class _Stft(_Framed):
    """What Spectrogram and LogMel share: a short-time Fourier transform of the plain signal."""

    repeats_edge: ClassVar[bool] = False  # numpy's and librosa's "reflect": the mirror lies on the last sample
    remove_dc: ClassVar[bool] = True  # from the energy that the VAD looks at, as in Kaldi; not from the spectrum
    n_fft: int = 512  # points of the FFT, even; frames are padded with zeros up to it
    window: str = "hamming"  # "hamming", "hann", "povey" (Hann to the power 0.85), "rectangular"
    periodic_window: bool = False  # true: a period of N samples (librosa, torch.stft); false: of N - 1, symmetric (Matlab)
    framing: str = "snip_edges"  # "snip_edges": whole frames only; "centred": 1 + W // shift, edges reflected (librosa)

    def __post_init__(self) -> None:
        super().__post_init__()
        bound = f"an even number of at least frame_length = {self.frame_samples} samples"
        check(self.n_fft >= self.frame_samples and self.n_fft % 2 == 0, f"{self._label}.n_fft", bound, self.n_fft)
        check_choice(f"{self._label}.framing", self.framing, FRAMINGS)

    @property
    def first_sample(self) -> int:
        """Where frame 0 starts; "centred": such that the FFT's n_fft points lie around sample t * shift."""
        return 0 if self.framing == "snip_edges" else (self.n_fft - self.frame_samples) // 2 - self.n_fft // 2

    def _count(self, num_samples: int) -> int:
        covered = num_samples - self.frame_samples if self.framing == "snip_edges" else num_samples
        return 1 + covered // self.frame_shift_samples

    def _length(self, num_frames: int) -> int:
        return (num_frames - 1) * self.frame_shift_samples + (self.frame_samples if self.framing == "snip_edges" else 0)


@dataclass(frozen=True, kw_only=True)
class Spectrogram(_Stft):
    """A linear spectrogram, of the plain signal in +-1 or of what VGGVox's Matlab front end makes of it."""

    type: str = "spectrogram"  # the word that chooses these settings
    front_end: str = "none"  # "none"; "vggvox": +-32768, mean removed, dither of 1e-6, pre-emphasis 0.97; see spectral.py
    value: str = "magnitude"  # "magnitude", "power" or "log_magnitude" (natural)
    bins: str = "half"  # "half": n_fft / 2 + 1; "half_without_nyquist": n_fft / 2; "mirrored": all n_fft (VGGVox 2017)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("spectrogram.front_end", self.front_end, FRONT_ENDS)
        check_choice("spectrogram.value", self.value, SPECTROGRAM_VALUES)
        check_choice("spectrogram.bins", self.bins, SPECTROGRAM_BINS)
        if self.front_end == "vggvox":
            rates = " or ".join(f"{rate}" for rate in VGGVOX_POLES)
            what = f"{rates} Hz with front_end = vggvox"
            check(self.sampling_rate in VGGVOX_POLES, "spectrogram.sampling_rate", what, self.sampling_rate)

    @property
    def is_random(self) -> bool:
        """Whether random numbers go into them: dither."""
        return self.front_end == "vggvox"

    @property
    def num_bins(self) -> int:
        """The number of columns."""
        half = self.n_fft // 2
        return {"half": half + 1, "half_without_nyquist": half, "mirrored": self.n_fft}[self.bins]


@dataclass(frozen=True, kw_only=True)
class LogMel(_Mel, _Stft):
    """A mel spectrogram as librosa makes it (Slaney's scale and norm), as log10(1 + log_gain * power).

    Source: defaults are those of ZHAW_deep_voice and the librosa of its time.
    """

    type: str = "log_mel"  # the word that chooses these settings
    frame_length: float = 0.064  # s, cut down to whole samples
    n_fft: int = 1024  # points of the FFT, even
    window: str = "hann"  # "hann", "hamming", "povey", "rectangular"
    periodic_window: bool = True  # a period of N samples
    framing: str = "centred"  # "centred" or "snip_edges"
    num_mel_bins: int = 128  # number of mel filters
    low_freq: float = 0.0  # Hz, lower end of the first mel filter
    high_freq: float = 0.0  # Hz, upper end of the last mel filter; 0 or less: added to the Nyquist frequency
    log_gain: float = 10000.0  # factor of the power of samples in +-1 within the logarithm

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_band()
        check(self.log_gain > 0, "log_mel.log_gain", "over 0", self.log_gain)

    @property
    def num_bins(self) -> int:
        """The number of columns."""
        return self.num_mel_bins


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """The samples themselves in +-1, one column."""

    type: str = "waveform"  # the word that chooses these settings
    name: str  # the folder name, for example "waveform4k"
    sampling_rate: int = 16000  # Hz, before decimation
    resample: bool = False  # convert audio of another sampling rate; false: it is an error
    decimate: int = 1  # keep one sample in so many; 1 keeps all
    decimate_filter: str = "resample"  # "resample": anti-alias filter first; "stride": plain x[::n] (voicemap)
    storage: str = "float32"  # on disk, or "none": stages 4 and 5 read the recordings

    def __post_init__(self) -> None:
        check_choice("waveform.type", self.type, ("waveform",))
        check_name("waveform.name", self.name)
        check(self.sampling_rate > 0, "waveform.sampling_rate", "a positive number of Hz", self.sampling_rate)
        check(self.decimate >= 1, "waveform.decimate", "1 or more", self.decimate)
        check_choice("waveform.decimate_filter", self.decimate_filter, ("stride", "resample"))
        check_choice("waveform.storage", self.storage, ("float32", "none"))

    @property
    def is_random(self) -> bool:
        """Whether random numbers go into them."""
        return False

    @property
    def num_bins(self) -> int:
        """The number of columns."""
        return 1

    def num_frames(self, num_samples: int) -> int:
        """The number of samples left after decimation."""
        return -(-num_samples // self.decimate)

    def num_samples(self, num_frames: int) -> int:
        """The number of samples that leave `num_frames` after decimation."""
        return num_frames * self.decimate


FEATURES = {  # by the key `type` of the section [features]
    "fbank": Fbank,
    "mfcc": Mfcc,
    "plp": Plp,
    "spectrogram": Spectrogram,
    "log_mel": LogMel,
    "waveform": Waveform,
}
