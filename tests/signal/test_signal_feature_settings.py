"""Settings of features know the size of what they describe, and refuse what cannot work."""

import subprocess
import sys
from pathlib import Path

import pytest

from steps.core import config
from steps.signal import feature_settings, settings
from steps.signal.feature_settings import FEATURES, Fbank, LogMel, Mfcc, Plp, Spectrogram, Waveform

CONF = sorted((Path(__file__).resolve().parents[2] / "conf" / "features").glob("*.toml"))
SIZES = {  # what the sheets of the systems say of their input
    "fbank40": (40, 300), "fbank64": (64, 300), "fbank72": (72, 300), "fbank80": (80, 300), "mfcc30": (30, 300),
    "plp30": (30, 300), "spectrogram257": (257, 298), "spectrogram512": (512, 298), "spectrogram_xie": (257, 301),
    "logmel128": (128, 301), "waveform4k": (1, 12000), "waveform4k_stride": (1, 12000),
}  # fmt: skip
ALL = [
    Fbank(name="a", num_mel_bins=10),
    Fbank(name="a", num_mel_bins=10, snip_edges=True, frame_length=0.032, frame_shift=0.0125),
    Mfcc(name="a"),
    Plp(name="a", snip_edges=True),
    Spectrogram(name="a"),
    Spectrogram(name="a", framing="centred"),
    LogMel(name="a"),
    LogMel(name="a", framing="snip_edges"),
    Waveform(name="a"),
    Waveform(name="a", decimate=3),
]


def test_settings_have_all_that_feature_settings_have():
    for name in ("FEATURES", "NORMALISATIONS", "WINDOWS", *(kind.__name__ for kind in FEATURES.values())):
        assert getattr(settings, name) is getattr(feature_settings, name)
    assert all(FEATURES[word].type == word for word in FEATURES)


def test_feature_settings_import_neither_torch_nor_numpy():
    code = "import sys, steps.signal.feature_settings; print([m for m in ('torch', 'numpy', 'scipy') if m in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("path", CONF, ids=lambda path: path.stem)
def test_every_shared_file_makes_settings_of_its_name(path):
    built = config.build("features", FEATURES, config.load_layers([path]))
    assert built.name == path.stem
    assert path.read_text(encoding="utf-8").startswith("# ")
    if path.stem in SIZES:
        assert (built.num_bins, built.num_frames(48000)) == SIZES[path.stem]


def test_the_files_of_the_sheets_are_there():
    assert {path.stem for path in CONF} >= set(SIZES)


@pytest.mark.parametrize("features", ALL, ids=lambda features: features.type)
def test_num_samples_is_the_inverse_of_num_frames(features):
    least = features.num_frames(getattr(features, "frame_samples", 1))
    for num_frames in (least, least + 1, 11, 27, 300):
        assert features.num_frames(features.num_samples(num_frames)) == num_frames
    for num_frames in range(1, least):  # one frame of samples gives more
        assert features.num_frames(features.num_samples(num_frames)) == least


@pytest.mark.parametrize("features", ALL, ids=lambda features: features.type)
def test_framed_features_know_their_shift_and_too_short_is_0_frames(features):
    if features.type != "waveform":
        assert features.frame_shift == features.frame_shift_samples / features.sampling_rate
        assert features.num_frames(features.frame_samples - 1) == 0
        assert features.num_frames(features.frame_samples) >= 1


@pytest.mark.parametrize(
    ("features", "num_bins"),
    [
        (Spectrogram(name="a"), 257),
        (Spectrogram(name="a", bins="half_without_nyquist"), 256),
        (Spectrogram(name="a", bins="mirrored"), 512),
        (Spectrogram(name="a", bins="mirrored", n_fft=1024), 1024),
        (LogMel(name="a"), 128),
        (LogMel(name="a", num_mel_bins=40), 40),
        (Plp(name="a"), 13),
        (Plp(name="a", num_ceps=8), 8),
    ],
)
def test_num_bins(features, num_bins):
    assert features.num_bins == num_bins


@pytest.mark.parametrize(
    ("kind", "wrong", "words"),
    [
        (Spectrogram, {"type": "log_mel"}, r"spectrogram\.type"),
        (Spectrogram, {"name": "a/b"}, r"spectrogram\.name"),
        (Spectrogram, {"n_fft": 256}, r"spectrogram\.n_fft.*400 samples.*256"),
        (Spectrogram, {"n_fft": 513}, r"spectrogram\.n_fft.*even.*513"),
        (Spectrogram, {"window": "kaiser"}, r"spectrogram\.window.*kaiser"),
        (Spectrogram, {"framing": "reflect"}, r"spectrogram\.framing.*centred"),
        (Spectrogram, {"value": "db"}, r"spectrogram\.value.*log_magnitude"),
        (Spectrogram, {"bins": "full"}, r"spectrogram\.bins.*mirrored"),
        (Spectrogram, {"front_end": "matlab"}, r"spectrogram\.front_end.*vggvox"),
        (Spectrogram, {"front_end": "vggvox", "sampling_rate": 11025}, r"spectrogram\.sampling_rate.*vggvox.*11025"),
        (Spectrogram, {"normalise": "mean"}, r"spectrogram\.normalise:.*'mean'"),
        (Spectrogram, {"normalise_epsilon": 1e-5}, r"normalise_epsilon.*0 with normalise = none"),
        (Spectrogram, {"normalise": "frame_mean_variance", "normalise_epsilon": -1e-5}, "normalise_epsilon.*0 or more"),
        (Fbank, {"num_mel_bins": 9, "normalise": "sliding_mean", "normalise_epsilon": 1.0}, r"fbank\.normalise_epsilon"),
        (Spectrogram, {"vad": "webrtc"}, r"spectrogram\.vad"),
        (LogMel, {"frame_length": 0.1}, r"log_mel\.n_fft.*1600 samples.*1024"),
        (LogMel, {"num_mel_bins": 2}, r"log_mel\.num_mel_bins"),
        (LogMel, {"high_freq": 8001.0}, r"log_mel\.high_freq.*8000 Hz"),
        (LogMel, {"low_freq": -1.0}, r"log_mel\.low_freq"),
        (LogMel, {"log_gain": 0.0}, r"log_mel\.log_gain"),
        (LogMel, {"frame_shift": 0.0}, r"log_mel\.frame_shift"),
        (Plp, {"num_ceps": 14}, r"plp\.num_ceps.*lpc_order \+ 1 = 13.*14"),
        (Plp, {"num_ceps": 0}, r"plp\.num_ceps"),
        (Plp, {"lpc_order": 25}, r"plp\.lpc_order.*num_mel_bins \+ 1 = 24.*25"),
        (Plp, {"lpc_order": 0, "num_ceps": 1}, r"plp\.lpc_order"),
        (Plp, {"compress_factor": 0.0}, r"plp\.compress_factor"),
        (Plp, {"cepstral_lifter": -1.0}, r"plp\.cepstral_lifter"),
        (Plp, {"cepstral_scale": 0.0}, r"plp\.cepstral_scale"),
        (Plp, {"high_freq": 9000.0}, r"plp\.high_freq"),
        (Plp, {"preemphasis": 2.0}, r"plp\.preemphasis"),
    ],
)
def test_wrong_settings_are_refused_by_name(kind, wrong, words):
    with pytest.raises(ValueError, match=words):
        kind(**{"name": "a", **wrong})
