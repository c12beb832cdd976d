"""Audio files: reading them as float32 mono, and finding out what is wrong with them.

libsndfile reads WAV, FLAC, Ogg (Vorbis and Opus) and MP3. AAC (.m4a, .aac, .mp4) needs torchcodec and the system's
ffmpeg libraries, which are imported only when such a file is met.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from steps.core.errors import RecipeError

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".mp4"})
_AAC_SUFFIXES = frozenset({".m4a", ".aac", ".mp4"})

MONO = -1  # as a channel: the file must have exactly one


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioInfo:
    """What an audio file holds."""

    sampling_rate: int  # Hz
    num_samples: int  # samples per channel
    num_channels: int


class _UnreadableError(Exception):
    """Why a file cannot be read, without its name."""


def read_audio(path: Path | str, start_sample: int = 0, num_samples: int = -1, channel: int = 0) -> tuple[np.ndarray, int]:
    """Return (samples, sampling rate in Hz) of one channel of a file: float32 `[W]` in +-1.

    Args:
        path: the audio file.
        start_sample: the first sample to return.
        num_samples: how many; -1 = all from start_sample on.
        channel: 0 = the first; MONO = the only one, and it is an error if there are more.

    Raises:
        RecipeError: missing or unreadable file, no such channel, or fewer samples than asked for.
    """
    if start_sample < 0 or num_samples < -1:
        raise ValueError(f"{path}: expected start_sample >= 0 and num_samples >= -1, found {start_sample}, {num_samples}")
    try:
        samples_WC, sampling_rate = _decode(Path(path), start_sample, num_samples)
        samples_W = _choose_channel(samples_WC, channel)
    except _UnreadableError as problem:
        raise RecipeError(f"{path}: {problem}; repair, convert or remove the file") from None
    if num_samples >= 0 and len(samples_W) != num_samples:
        raise RecipeError(
            f"{path}: expected {num_samples} samples from sample {start_sample} on, found {len(samples_W)}; the file "
            "was changed or cut after the manifest was made: run stage 1 (prepare) again"
        )
    return samples_W, sampling_rate


def audio_info(path: Path | str) -> AudioInfo:
    """Return sampling rate, length and number of channels, from the header where the format has one.

    Raises:
        RecipeError: missing or unreadable file.
    """
    try:
        return _info(Path(path))
    except _UnreadableError as problem:
        raise RecipeError(f"{path}: {problem}; repair, convert or remove the file") from None


def inspect_audio(path: Path | str, *, decode: bool = True, channel: int = MONO) -> tuple[AudioInfo | None, str]:
    """Return (info, what is wrong with the file or ""); info is None where nothing could be read.

    Looked for: unreadable, no samples, a channel too many or missing, and if decoded: cut short, NaN or infinite
    samples, all samples zero. The length is that of the decoded samples if decoded.
    """
    path = Path(path)
    try:
        info = _info(path)
        if info.num_samples == 0:
            return info, "has no samples"
        if channel == MONO and info.num_channels != 1:
            return info, f"has {info.num_channels} channels, expected one"
        if channel >= info.num_channels:
            return info, f"has {info.num_channels} channels, channel {channel} was asked for"
        if not decode:
            return info, ""
        samples_WC, _ = _decode(path, 0, -1)
    except _UnreadableError as problem:
        return None, str(problem)
    decoded = AudioInfo(sampling_rate=info.sampling_rate, num_samples=len(samples_WC), num_channels=info.num_channels)
    return decoded, _sample_problem(_choose_channel(samples_WC, channel), info, path)


def check_audio(path: Path | str, *, decode: bool = True, channel: int = MONO) -> str:
    """Return what is wrong with an audio file in a few words, or "" if it is good; see `inspect_audio`."""
    return inspect_audio(path, decode=decode, channel=channel)[1]


def _sample_problem(samples_W: np.ndarray, info: AudioInfo, path: Path) -> str:
    if len(samples_W) == 0:
        return "has no samples that can be decoded"
    # The header of an MP3 or AAC file gives an estimate of its length, that of the others the length.
    is_exact = path.suffix.lower() not in _AAC_SUFFIXES | {".mp3"}
    if is_exact and len(samples_W) < info.num_samples:
        return f"is cut short: {info.num_samples} samples announced, {len(samples_W)} there"
    if not np.isfinite(samples_W).all():
        return f"has {np.count_nonzero(~np.isfinite(samples_W))} samples that are NaN or infinite"
    if not samples_W.any():
        return "has only zero samples"
    return ""


def _choose_channel(samples_WC: np.ndarray, channel: int) -> np.ndarray:
    num_channels = samples_WC.shape[1]
    if channel == MONO and num_channels != 1:
        raise _UnreadableError(f"has {num_channels} channels, expected one")
    if channel >= num_channels:
        raise _UnreadableError(f"has {num_channels} channels, channel {channel} was asked for")
    return np.ascontiguousarray(samples_WC[:, max(channel, 0)])


def _info(path: Path) -> AudioInfo:
    _check_file(path)
    if path.suffix.lower() in _AAC_SUFFIXES:
        samples_WC, sampling_rate = _decode_aac(path)
        num_samples, num_channels = samples_WC.shape
        return AudioInfo(sampling_rate=sampling_rate, num_samples=num_samples, num_channels=num_channels)
    with _opened(path) as file:
        return AudioInfo(sampling_rate=file.samplerate, num_samples=file.frames, num_channels=file.channels)


def _decode(path: Path, start_sample: int, num_samples: int) -> tuple[np.ndarray, int]:
    """Return float32 `[W, C]` and the sampling rate; fewer samples than asked for where the file ends."""
    _check_file(path)
    if path.suffix.lower() in _AAC_SUFFIXES:
        samples_WC, sampling_rate = _decode_aac(path)
        end = None if num_samples < 0 else start_sample + num_samples
        return samples_WC[start_sample:end], sampling_rate
    with _opened(path) as file:
        try:
            if start_sample > file.frames:
                return np.zeros((0, file.channels), dtype=np.float32), file.samplerate
            if start_sample:
                file.seek(start_sample)
            return file.read(num_samples, dtype="float32", always_2d=True), file.samplerate
        except soundfile.SoundFileError as error:
            raise _UnreadableError(f"cannot be decoded ({error})") from None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise _UnreadableError("is a broken link" if path.is_symlink() else "does not exist or is no file")
    if path.stat().st_size == 0:
        raise _UnreadableError("is empty (0 bytes)")


def _opened(path: Path) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        # TypeError: soundfile takes a file that ends in .raw for one without a header.
        reason = str(error).removeprefix(f"Error opening {str(path)!r}: ")
        raise _UnreadableError(f"cannot be read as audio ({reason})") from None


def _decode_aac(path: Path) -> tuple[np.ndarray, int]:
    try:
        from torchcodec.decoders import AudioDecoder
    except (ImportError, RuntimeError, OSError):
        # torchcodec's own message is a page for each version of ffmpeg that it did not find.
        raise RecipeError(
            f"{path}: {path.suffix} files need the Python package torchcodec and the system's ffmpeg libraries "
            "(version 4 to 8), which cannot be loaded; install them (Debian: apt-get install ffmpeg), or convert the "
            "corpus to FLAC once: ffmpeg -i in.m4a out.flac"
        ) from None
    try:
        decoded = AudioDecoder(str(path)).get_all_samples()
    except (RuntimeError, ValueError) as error:
        raise _UnreadableError(f"cannot be decoded ({str(error).splitlines()[0]})") from None
    return decoded.data.numpy().T.astype(np.float32, copy=False), int(decoded.sample_rate)
