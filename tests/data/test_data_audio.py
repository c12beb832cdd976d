"""Claims about steps.data.audio; the files are written by soundfile."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.core.errors import RecipeError
from steps.data import audio, audio_aac
from steps.data.audio import AudioInfo, audio_info, check_audio, inspect_audio, read_audio
from steps.data.audio_aac import Decoded
from steps.data.audio_frames import mp3_frame, scan
from steps.data.audio_levels import Levels
from tests.data.containers import adts, mp4, sound

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


@pytest.mark.parametrize(("suffix", "form", "subtype"), FORMATS)
def test_a_part_is_the_part_of_the_whole(tmp_path, wave_W, suffix, form, subtype):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.tile(wave_W, 10), RATE, format=form, subtype=subtype)
    whole_W, _ = read_audio(path)
    for start in (1, 5000, 100_000):  # libsndfile itself lands beside that place in MP3 and Ogg
        part_W, _ = read_audio(path, start_sample=start, num_samples=700)
        np.testing.assert_allclose(part_W, whole_W[start : start + 700], atol=1e-6)
    assert len(read_audio(path, start_sample=len(whole_W))[0]) == 0


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


@pytest.mark.parametrize("form", ["ogg", "opus"])
def test_an_ogg_file_ends_with_a_whole_page_that_says_so(tmp_path, wave_W, form):
    path = tmp_path / f"a.{form}"
    soundfile.write(path, np.tile(wave_W, 8), RATE, format="OGG", subtype="OPUS" if form == "opus" else "VORBIS")
    content = path.read_bytes()
    assert inspect_audio(path)[1:] == ("", "")
    for size in (len(content) - 1, len(content) // 2):
        path.write_bytes(content[:size])
        assert check_audio(path) == "is cut short: its last Ogg page is not whole"
    path.write_bytes(content[: content.rfind(b"OggS")])  # between two pages
    found = inspect_audio(path)
    assert (found.problem, found.remark) == ("", "its Ogg stream has no end mark: it may have been cut short")


def mp3_frames(path: Path, noise_W: np.ndarray, quality: float) -> bytes:
    """MP3 frames of one bit rate, without the first one, which says how many there are."""
    soundfile.write(path, noise_W, RATE, bitrate_mode="CONSTANT", compression_level=quality)
    content = path.read_bytes()
    return content[content.index(content[:2], 4) :]


def test_an_mp3_file_of_which_a_part_would_be_read_is_found(tmp_path):
    noise_W, path = np.random.default_rng(1).uniform(-0.5, 0.5, 6 * RATE), tmp_path / "a.mp3"
    path.write_bytes(mp3_frames(path, noise_W, 0.0) + mp3_frames(path, noise_W, 0.9))  # the length is guessed from the first
    there, frames = len(soundfile.read(path)[0]), scan(path.read_bytes(), mp3_frame)
    assert abs(frames.num_samples - 2 * len(noise_W)) < 8 * 576
    assert there < 0.9 * frames.num_samples
    assert check_audio(path).startswith(f"is read up to sample {there} of {frames.num_samples}, as its header does not say")


def test_an_mp3_file_that_was_cut_is_found_where_it_says_its_length(tmp_path):
    noise_W, path = np.random.default_rng(1).uniform(-0.5, 0.5, 6 * RATE), tmp_path / "a.mp3"
    soundfile.write(path, noise_W, RATE, bitrate_mode="VARIABLE", compression_level=0.5)
    whole = scan(path.read_bytes(), mp3_frame)
    assert (whole.announced, abs(whole.num_samples - len(noise_W)) < 4 * 1152) == (whole.num_frames, True)
    assert check_audio(path) == ""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    for decode in (True, False):
        assert f"is cut short: {whole.announced} MP3 frames announced" in check_audio(path, decode=decode)
    assert scan(content[content.index(content[:2], 4) :], mp3_frame) == whole._replace(announced=0)
    assert scan(b"ID3\4\0\0\0\0\1\0" + b"\0" * 128 + content + b"TAG" + b"\0" * 125, mp3_frame) == whole
    assert scan(b"no frames", mp3_frame) is None


def test_an_mp3_file_of_one_bit_rate_that_was_cut_within_a_frame_is_found(tmp_path):
    noise_W, path = np.random.default_rng(1).uniform(-0.5, 0.5, 2 * RATE), tmp_path / "a.mp3"
    content = mp3_frames(path, noise_W, 0.5)
    path.write_bytes(content)
    assert (scan(content, mp3_frame).announced, check_audio(path)) == (0, "")
    for lost in (1, 50, len(content) // 3):
        path.write_bytes(content[:-lost])
        assert check_audio(path) == "is cut short: its last MP3 frame is not whole"
    path.write_bytes(content + b"TAG" + b"\0" * 125)
    assert check_audio(path) == ""


def flac_with(path: Path, wave_W: np.ndarray, num_samples: int) -> Path:
    """A FLAC file whose header announces another number of samples: the last 36 bits before the checksum."""
    soundfile.write(path, wave_W, RATE)
    content = bytearray(path.read_bytes())
    value = int.from_bytes(content[18:26], "big")
    content[18:26] = (value >> 36 << 36 | num_samples).to_bytes(8, "big")
    path.write_bytes(content)
    return path


def test_a_header_cannot_ask_for_more_memory_than_the_file_fills(tmp_path, wave_W):
    tracemalloc.start()
    try:
        found = {num: check_audio(flac_with(tmp_path / "a.flac", wave_W, num)) for num in (0, RATE, RATE + 1, 2**31, 2**36 - 1)}
        assert len(read_audio(tmp_path / "a.flac")[0]) == RATE
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert found[RATE] == ""
    assert found[0] == ""
    assert found[RATE + 1]
    assert "announces 2147483648 samples, which its" in found[2**31]
    assert "announces 68719476735 samples, which its" in found[2**36 - 1]


@pytest.mark.parametrize(("suffix", "form", "subtype"), FORMATS)
def test_blocks_put_together_are_the_whole(tmp_path, wave_W, monkeypatch, suffix, form, subtype):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.tile(np.stack([wave_W, -wave_W], axis=1), (8, 1)), RATE, format=form, subtype=subtype)
    whole_W, info = read_audio(path, channel=1)[0], inspect_audio(path, channel=1)
    monkeypatch.setattr(audio, "_BLOCK", 2000)
    np.testing.assert_allclose(read_audio(path, channel=1)[0], whole_W, atol=1e-6)
    np.testing.assert_allclose(read_audio(path, 7500, 4100, channel=1)[0], whole_W[7500:11600], atol=1e-6)
    assert inspect_audio(path, channel=1) == info


def test_levels_are_those_of_their_definitions_however_they_are_taken_in(wave_W):
    samples_W = np.clip(4 * wave_W + 0.2, -1, 1)
    levels = Levels()
    for part_W in np.split(samples_W, [0, 1, 700, 15000]):
        levels.add(part_W)
    mean, level = samples_W.mean(), np.sqrt((samples_W**2).mean())
    assert levels.problem == ""
    assert levels.remarks == [
        f"DC offset: its mean is {mean:.3g} of full scale, {mean / level:.0%} of its level",
        f"clipping: {np.mean(np.abs(samples_W) >= 0.99):.1%} of its samples are at full scale",
    ]
    assert (levels.num_samples, levels.peak) == (len(samples_W), 1.0)
    levels.add(np.array([np.nan, np.inf, 1e30], dtype=np.float32))
    assert levels.problem == "has 2 samples that are NaN or infinite"


@pytest.mark.parametrize(
    ("factor", "offset", "words"),
    [(1, 0, ""), (1, 0.5, "DC offset"), (1, -0.5, "DC offset"), (2.4, 0, ""), (2.6, 0, "clipping"), (6, 0, "beyond full scale"),
     (0.003, 0, ""), (0.002, 0, "nearly silent"), (0.0001, 0.0005, "nearly silent")],
)  # fmt: skip
def test_ordinary_speech_has_no_remark(wave_W, factor, offset, words):
    levels = Levels()
    levels.add((factor * wave_W + offset).astype(np.float32))
    assert [each.split(":")[0] for each in levels.remarks] == ([words] if words else [])


def test_aac_is_decoded_once_and_told_by_its_content(tmp_path, wave_W, monkeypatch):
    calls = []

    def decode(path: Path) -> Decoded:
        calls.append(path.name)
        return Decoded(wave_W[:, None], RATE)

    monkeypatch.setattr(audio_aac, "decode", decode)
    for name, seconds in (("a.m4a", 1.0), ("a.wav", 1.0), ("cut.m4a", 2.0)):
        (tmp_path / name).write_bytes(mp4(sound(round(seconds * RATE))))
    (tmp_path / "b.aac").write_bytes(adts(RATE // 1024))
    info = AudioInfo(sampling_rate=RATE, num_samples=RATE, num_channels=1)
    assert inspect_audio(tmp_path / "a.m4a") == (info, "", "")
    assert inspect_audio(tmp_path / "b.aac", decode=False) == (info, "", "")
    assert inspect_audio(tmp_path / "a.wav").remark == "holds MPEG-4 audio, which .wav does not say"
    assert inspect_audio(tmp_path / "cut.m4a").problem == "is cut short: 2.00 s announced, 1.00 s there"
    assert calls == ["a.m4a", "b.aac", "a.wav", "cut.m4a"]
    soundfile.write(tmp_path / "wav.m4a", wave_W, RATE, format="WAV")
    assert inspect_audio(tmp_path / "wav.m4a").remark == "holds WAV, which .m4a does not say"
    assert len(read_audio(tmp_path / "a.wav", 10, 20)[0]) == 20
    assert calls[4:] == ["a.wav"]


def test_a_sampling_rate_that_cannot_be_is_a_damaged_header(tmp_path, wave_W):
    for rate, words in (
        (8000, ""),
        (192_000, ""),
        (999, "sampling rate of 999 Hz"),
        (2**31 - 1, "sampling rate of 2147483647 Hz"),
    ):
        soundfile.write(tmp_path / "a.wav", wave_W, rate)
        assert words in check_audio(tmp_path / "a.wav")
        assert bool(check_audio(tmp_path / "a.wav", decode=False)) == bool(words)
