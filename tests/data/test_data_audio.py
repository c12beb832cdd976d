"""Claims about steps.data.audio; the files are written by soundfile."""

import numpy as np
import pytest
import soundfile

from steps.core.errors import RecipeError
from steps.data.audio import AudioInfo, audio_info, check_audio, inspect_audio, read_audio

RATE = 16000


@pytest.fixture
def wave_W():
    time_W = np.arange(RATE) / RATE
    return (0.4 * np.sin(2 * np.pi * 300 * time_W) * np.linspace(0.2, 1, RATE)).astype(np.float32)


FORMATS = [("wav", "WAV", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("WAV", "WAV", "FLOAT"), ("ogg", "OGG", "VORBIS"),
           ("opus", "OGG", "OPUS"), ("mp3", "MP3", "MPEG_LAYER_III")]  # fmt: skip


@pytest.mark.parametrize(("suffix", "form", "subtype"), FORMATS)
def test_every_format_is_read_as_float32_mono_in_unit_range(tmp_path, wave_W, suffix, form, subtype):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, wave_W, RATE, format=form, subtype=subtype)
    samples_W, rate = read_audio(path)
    assert (samples_W.dtype, samples_W.ndim, rate) == (np.float32, 1, RATE)
    assert abs(len(samples_W) - RATE) <= 1200  # an MP3 has up to a frame of padding
    # 16 bits: half a step, and one more as libsndfile writes 1 as 32767. Lossy: the tone keeps its level.
    if suffix.lower() in ("wav", "flac"):
        np.testing.assert_allclose(samples_W, wave_W, atol=1.6 / 32768)
    assert np.sqrt(np.mean(samples_W**2)) == pytest.approx(np.sqrt(np.mean(wave_W**2)), rel=0.1)
    assert check_audio(path) == ""
    assert audio_info(path) == AudioInfo(sampling_rate=RATE, num_samples=len(samples_W), num_channels=1)


@pytest.mark.parametrize(("suffix", "form", "subtype"), FORMATS[:4])
def test_a_part_is_the_part_of_the_whole(tmp_path, wave_W, suffix, form, subtype):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, wave_W, RATE, format=form, subtype=subtype)
    whole_W, _ = read_audio(path)
    part_W, _ = read_audio(path, start_sample=5000, num_samples=700)
    np.testing.assert_allclose(part_W, whole_W[5000:5700], atol=1e-6)


def test_the_channel_asked_for_is_returned(tmp_path, wave_W):
    soundfile.write(tmp_path / "a.wav", np.stack([wave_W, -wave_W], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", channel=1)[0], -wave_W)
    with pytest.raises(RecipeError, match="a.wav: has 2 channels, expected one"):
        read_audio(tmp_path / "a.wav", channel=-1)
    with pytest.raises(RecipeError, match="channel 2"):
        read_audio(tmp_path / "a.wav", channel=2)


def test_more_samples_than_there_are_is_an_error(tmp_path, wave_W):
    soundfile.write(tmp_path / "a.wav", wave_W, RATE)
    for start, num in ((15000, 1001), (20000, 1)):
        with pytest.raises(RecipeError, match="a.wav: expected"):
            read_audio(tmp_path / "a.wav", start_sample=start, num_samples=num)


def test_check_audio_says_what_is_wrong(tmp_path, wave_W):
    bad_W = wave_W.copy()
    bad_W[7:9] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", bad_W, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "zero.flac", np.zeros(100), RATE)
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wave_W, wave_W], axis=1), RATE)
    soundfile.write(tmp_path / "whole.flac", wave_W, RATE)
    content = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    expected = {
        "nan.wav": "2 samples that are NaN", "zero.flac": "only zero", "none.wav": "no samples", "stereo.wav": "2 channels",
        "empty.wav": "0 bytes", "text.wav": "cannot be read", "missing.wav": "does not exist", "link.wav": "broken link",
    }  # fmt: skip
    for name, words in expected.items():
        assert words in check_audio(tmp_path / name), name
    assert check_audio(tmp_path / "cut.flac")
    assert check_audio(tmp_path / "stereo.wav", channel=1) == ""
    assert "channel 5" in check_audio(tmp_path / "stereo.wav", channel=5)
    assert inspect_audio(tmp_path / "nan.wav", decode=False)[1] == ""


def test_unreadable_files_are_recipe_errors_that_name_the_file(tmp_path):
    (tmp_path / "text.flac").write_text("hello")
    for name in ("text.flac", "missing.wav"):
        with pytest.raises(RecipeError, match=name):
            read_audio(tmp_path / name)
        with pytest.raises(RecipeError, match=name):
            audio_info(tmp_path / name)


def test_aac_without_its_libraries_says_what_to_install(tmp_path):
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        pass
    else:
        pytest.skip("torchcodec and ffmpeg are installed")
    (tmp_path / "a.m4a").write_bytes(b"x")
    with pytest.raises(RecipeError, match="ffmpeg") as error:
        read_audio(tmp_path / "a.m4a")
    assert len(str(error.value)) < 600


def test_aac_is_decoded(tmp_path, wave_W):
    missing = (ImportError, RuntimeError, OSError)
    decoders = pytest.importorskip("torchcodec.encoders", reason="torchcodec or ffmpeg is missing", exc_type=missing)
    import torch

    decoders.AudioEncoder(torch.from_numpy(wave_W)[None], sample_rate=RATE).to_file(str(tmp_path / "a.m4a"))
    samples_W, rate = read_audio(tmp_path / "a.m4a", num_samples=RATE // 2)
    assert (rate, len(samples_W)) == (RATE, RATE // 2)
    assert check_audio(tmp_path / "a.m4a") == ""
