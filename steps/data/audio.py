"""Audio files: reading them as float32 mono, and finding out what is wrong with them.

libsndfile reads WAV and its relatives, FLAC, Ogg (Vorbis and Opus) and MP3. AAC (.m4a, .aac, .mp4) needs torchcodec and the
system's ffmpeg libraries, which are imported only when such a file is met. What a file holds is told by its content, not by
its name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from steps.core.errors import RecipeError
from steps.data import audio_aac
from steps.data.audio_finding import Finding
from steps.data.audio_frames import MP3_FRAME
from steps.data.audio_headers import check_length, sphere_fields
from steps.data.audio_levels import Levels

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"}) | audio_aac.SUFFIXES
MONO = -1  # as a channel: the file must have exactly one

# What libsndfile calls the formats that a suffix may stand for; TIMIT's .WAV files are NIST's.
_FORMATS = {
    ".wav": ("WAV", "WAVEX", "RF64", "NIST"), ".flac": ("FLAC",), ".ogg": ("OGG",), ".oga": ("OGG",), ".opus": ("OGG",),
    ".mp3": ("MP3",), ".mp2": ("MP3",),
    ".aiff": ("AIFF",), ".aif": ("AIFF",), ".aifc": ("AIFF",), ".au": ("AU",), ".snd": ("AU",),
    ".caf": ("CAF",), ".w64": ("W64",), ".rf64": ("RF64",), ".sph": ("NIST",), ".nist": ("NIST",),
}  # fmt: skip
_INEXACT_SEEK = ("MP3", "OGG")  # libsndfile 1.2 lands beside the sample that was asked for
_BLOCK = 1 << 20  # numbers decoded at a time, so that a header cannot ask for more memory than the file fills
_LEAST_RATE, _HIGHEST_RATE = 1000, 768_000  # Hz; what lies outside is a damaged header
_MOST_PER_BYTE = 10_000  # samples: FLAC stores 65,535 equal ones in about 10 bytes
_MPEG_SLACK = 2 * MP3_FRAME  # samples: what decoders leave out to get going
_NOT_KNOWN = 2**62  # samples: libsndfile says something beyond where a FLAC header says nothing


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioInfo:
    """What an audio file holds."""

    sampling_rate: int  # Hz
    num_samples: int  # samples per channel
    num_channels: int


class Inspection(NamedTuple):
    """What was found out about a file."""

    info: AudioInfo | None  # None where nothing could be read
    problem: str = ""  # why it cannot be used, in a few words; "" = it is good
    remark: str = ""  # what is to be said of it though it can be used


class _Stream(soundfile.SoundFile):
    """A file that is read from one place on.

    soundfile seeks to where it is after each read of a file that can be sought in, which libsndfile 1.2 does not do exactly in
    MP3 and Ogg, nor at all in a FLAC file of unknown length.
    """

    def seekable(self) -> bool:
        """No, as far as soundfile is concerned; `seek` itself works."""
        return False


class _UnreadableError(Exception):
    """Why a file cannot be read, without its name."""


class _Header(NamedTuple):
    """What the begin of a file says; of AAC, which has to be decoded for that, the whole file."""

    info: AudioInfo
    format: str  # as libsndfile calls it
    subtype: str
    remark: str  # about a name that says something else
    aac: audio_aac.Decoded | None = None


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
        return _header(Path(path)).info
    except _UnreadableError as problem:
        raise RecipeError(f"{path}: {problem}; repair, convert or remove the file") from None


def inspect_audio(path: Path | str, *, decode: bool = True, channel: int = MONO) -> Inspection:
    """Return what a file holds, what is wrong with it, and what is to be said of it; each file is decoded once at most.

    Wrong: unreadable, no samples, a sampling rate that cannot be, a channel too many or missing, a length that the bytes do not
    bear out (see `check_length`), streams or samples that would not be read; and if decoded: cut short, NaN or infinite samples,
    all samples zero. Said: content that the name does not tell, a length that is not known; and if decoded: DC offset, clipping,
    samples beyond +-1, near silence. The length is that of the decoded samples if decoded; MPEG-4 is always decoded, as it has
    no exact length, and of MPEG audio without one its frames are counted.

    Not found: an MP3 or raw AAC file that was cut between two frames and does not say how many it has, since no such file
    says that it ends; and clipping that was turned down afterwards.
    """
    path = Path(path)
    try:
        file = _header(path)
        length = _length(path, file)
        problem = length.problem or _unread(file, length, file.info.num_samples) or _header_problem(file.info, channel)
        remarks = [each for each in (file.remark, length.remark) if each]
        if problem or not decode:
            return Inspection(_counted(file, length), problem, "; ".join(remarks))
        levels = _levels(path, file, channel)
    except _UnreadableError as unreadable:
        return Inspection(None, str(unreadable))
    problem = levels.problem or _decoded_problem(file, length, levels.num_samples)
    info = replace(file.info, num_samples=levels.num_samples)
    return Inspection(info, problem, "; ".join(remarks + ([] if problem else levels.remarks)))


def check_audio(path: Path | str, *, decode: bool = True, channel: int = MONO) -> str:
    """Return what is wrong with an audio file in a few words, or "" if it is good; see `inspect_audio`."""
    return inspect_audio(path, decode=decode, channel=channel).problem


def audio_blocks(path: Path | str) -> Iterator[np.ndarray]:
    """Yield float32 `[W, C]` in +-1: all samples of a file, piece by piece.

    Raises:
        RecipeError: missing or unreadable file.
    """
    path = Path(path)
    try:
        if audio_aac.is_aac(path.suffix.lower(), _first_bytes(path)):
            yield _decode_aac(path).samples_WC
            return
        with _opened(path) as file:
            yield from _blocks(file, 0, -1)
    except _UnreadableError as problem:
        raise RecipeError(f"{path}: {problem}; repair, convert or remove the file") from None


def _header(path: Path) -> _Header:
    suffix = path.suffix.lower()
    if audio_aac.is_aac(suffix, _first_bytes(path)):
        aac = _decode_aac(path)
        num_samples, num_channels = aac.samples_WC.shape
        remark = "" if suffix in audio_aac.SUFFIXES else f"holds MPEG-4 audio, which {suffix} does not say"
        info = AudioInfo(sampling_rate=aac.sampling_rate, num_samples=num_samples, num_channels=num_channels)
        return _Header(info, "AAC", "", remark, aac)
    with _opened(path) as file:
        info = AudioInfo(sampling_rate=file.samplerate, num_samples=file.frames, num_channels=file.channels)
        known = suffix not in _FORMATS.keys() | AUDIO_SUFFIXES or file.format in _FORMATS.get(suffix, ())
        header = _Header(info, file.format, file.subtype, "" if known else f"holds {file.format}, which {suffix} does not say")
    size = path.stat().st_size
    if info.num_samples > _NOT_KNOWN:
        with _opened(path) as file:
            info = replace(info, num_samples=sum(map(len, _blocks(file, 0, -1))))
        return header._replace(info=info, remark="its header does not say how long it is: it was written to a pipe")
    if info.num_samples > _MOST_PER_BYTE * size:
        raise _UnreadableError(f"announces {info.num_samples} samples, which its {size} bytes cannot hold")
    return header


def _header_problem(info: AudioInfo, channel: int) -> str:
    if info.num_samples == 0:
        return "has no samples"
    if not _LEAST_RATE <= info.sampling_rate <= _HIGHEST_RATE:
        return f"has a sampling rate of {info.sampling_rate} Hz, expected {_LEAST_RATE} to {_HIGHEST_RATE}"
    return _channel_problem(info.num_channels, channel)


def _channel_problem(num_channels: int, channel: int) -> str:
    if channel == MONO and num_channels != 1:
        return f"has {num_channels} channels, expected one"
    return f"has {num_channels} channels, channel {channel} was asked for" if channel >= num_channels else ""


def _length(path: Path, file: _Header) -> Finding:
    """What the container says of the length."""
    if file.aac is not None:
        return audio_aac.check_length(path, file.info.num_samples, file.info.sampling_rate)
    return check_length(path, is_mpeg=file.format == "MP3") or Finding(
        remark=f"holds {file.format}: whether it is whole is not known"
    )


def _is_mpeg(file: _Header) -> bool:
    return file.subtype.startswith("MPEG")


def _counted(file: _Header, length: Finding) -> AudioInfo:
    """What a file holds; libsndfile only guesses how many samples an MPEG file has whose first frame does not say it."""
    if not _is_mpeg(file) or length.num_samples is None:
        return file.info
    return replace(file.info, num_samples=min(file.info.num_samples, length.num_samples))


def _unread(file: _Header, length: Finding, there: int) -> str:
    """Whether the bytes hold more samples than are read."""
    holds = length.num_samples
    if holds is None or there >= holds - (_MPEG_SLACK if _is_mpeg(file) else 0):
        return ""
    return f"is read up to sample {there} of {holds}, as its header does not say its length; write it anew"


def _decoded_problem(file: _Header, length: Finding, there: int) -> str:
    """What is wrong with the number of samples that were decoded."""
    announced = _counted(file, length).num_samples
    if there < announced - (_MPEG_SLACK if _is_mpeg(file) else 0):
        return f"is cut short: {announced} samples announced, {there} there"
    return _unread(file, length, there)


def _levels(path: Path, file: _Header, channel: int) -> Levels:
    levels = Levels()
    if file.aac is not None:
        levels.add(_choose_channel(file.aac.samples_WC, channel))
        return levels
    with _opened(path) as opened:
        for samples_WC in _blocks(opened, 0, -1):
            levels.add(_choose_channel(samples_WC, channel))
    return levels


def _choose_channel(samples_WC: np.ndarray, channel: int) -> np.ndarray:
    problem = _channel_problem(samples_WC.shape[1], channel)
    if problem:
        raise _UnreadableError(problem)
    return np.ascontiguousarray(samples_WC[:, max(channel, 0)])


def _decode(path: Path, start_sample: int, num_samples: int) -> tuple[np.ndarray, int]:
    """Return float32 `[W, C]` and the sampling rate; fewer samples than asked for where the file ends."""
    if audio_aac.is_aac(path.suffix.lower(), _first_bytes(path)):
        aac = _decode_aac(path)
        end = None if num_samples < 0 else start_sample + num_samples
        return aac.samples_WC[start_sample:end], aac.sampling_rate
    with _opened(path) as file:
        blocks = list(_blocks(file, start_sample, num_samples))
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks), file.samplerate


def _blocks(file: _Stream, start_sample: int, num_samples: int) -> Iterator[np.ndarray]:
    """Yield float32 `[W, C]`, at least one, until the file or what is wanted (-1: all) ends."""
    size = max(1, _BLOCK // file.channels)
    left = max(0, file.frames - start_sample)
    left = left if num_samples < 0 else min(left, num_samples)
    to_skip = start_sample if left else 0
    try:
        if to_skip and file.format not in _INEXACT_SEEK:
            file.seek(to_skip)
            to_skip = 0
        while True:
            wanted = min(size, to_skip + left)
            samples_WC = file.read(wanted, dtype="float32", always_2d=True)
            skipped = min(to_skip, wanted)
            yield samples_WC[skipped:]
            to_skip, left = to_skip - skipped, left - (wanted - skipped)
            if left == 0 or len(samples_WC) < wanted:
                return
    except soundfile.SoundFileError as error:
        raise _UnreadableError(f"cannot be decoded ({error})") from None


def _first_bytes(path: Path) -> bytes:
    """Return the first 12 bytes of a file, once it is clear that it is one and may be read."""
    try:
        if not path.is_file():
            raise _UnreadableError("is a broken link" if path.is_symlink() else "does not exist or is no file")
        with open(path, "rb", buffering=0) as file:
            head = file.read(12)
    except OSError as error:
        raise _UnreadableError(f"cannot be opened ({error.strerror})") from None
    if not head:
        raise _UnreadableError("is empty (0 bytes)")
    return head


def _opened(path: Path) -> _Stream:
    try:
        return _Stream(path)
    except (soundfile.SoundFileError, OSError, TypeError, UnicodeError) as error:
        # TypeError: soundfile takes a file that ends in .raw for one without a header.
        reason = str(error).removeprefix(f"Error opening {str(path)!r}: ")
        reason = "Format not recognised." if reason.startswith("File does not exist") else reason  # of an MP3; it is there
        reason = _packed_sphere(path) or reason
        raise _UnreadableError(f"cannot be read as audio ({reason})") from None


def _packed_sphere(path: Path) -> str:
    """How a SPHERE file is coded that libsndfile cannot read, "" if it is none."""
    with open(path, "rb") as file:
        coding = sphere_fields(file.read(1 << 16)).get(b"sample_coding", b"").decode("latin-1")
    return f"SPHERE samples coded {coding!r}; unpack them: sph2pipe -f wav in.sph out.wav" if coding else ""


def _decode_aac(path: Path) -> audio_aac.Decoded:
    try:
        return audio_aac.decode(path)
    except audio_aac.AacError as error:
        raise _UnreadableError(str(error)) from None
