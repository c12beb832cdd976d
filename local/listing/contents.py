"""What files without the name of audio hold: their first bytes tell, no list of suffixes.

Audio under another name than those of `steps.data.audio.AUDIO_SUFFIXES` (.aiff, .au, .sph, no suffix at all) is read all the
same where libsndfile or ffmpeg read it; everything else below a corpus is counted and named.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from local.listing.files import walk
from steps.data.audio import AUDIO_SUFFIXES

# Begins of files (RFC 2361, RFC 3533, IFF, NIST SPHERE, Sony Wave64, Apple CAF ...), with what must stand at byte 8, or "".
_READ = {
    b"RIFF": b"WAVE", b"RIFX": b"WAVE", b"RF64": b"WAVE", b"FORM": b"AIF", b"fLaC": b"", b"OggS": b"", b"NIST_1A": b"",
    b".snd": b"", b"caff": b"", b"riff\x2e\x91\xcf\x11": b"", b"ID3": b"", b"Creative Voice": b"",
}  # fmt: skip
_MP3 = {0xFA, 0xFB, 0xF2, 0xF3, 0xE2, 0xE3, 0xFC, 0xFD}  # second byte of a frame of MPEG audio; 0xFE would be text in UTF-16
_NOT_READ = (
    b"\x30\x26\xb2\x75", b"#!AMR", b"wvpk", b"MAC ", b"TTA1", b"ajkg", b"\x1a\x45\xdf\xa3", b".RMF",
    b"\xff\xf1", b"\xff\xf9",
)  # fmt: skip
# Names of audio that has no begin to tell it by, or a damaged one.
NAMED_AUDIO = frozenset(
    {".3gp", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".au", ".caf", ".m4b", ".mka", ".mkv", ".mov", ".nist", ".pcm"}
    | {".ra", ".raw", ".rf64", ".snd", ".sph", ".spx", ".tta", ".voc", ".w64", ".weba", ".webm", ".wma", ".wv", ".sd2", ".vox"}
)
_NUM_BYTES = 16


def kind_of(head: bytes) -> str:
    """Return "read" for the first bytes of audio that is read, "audio" for those of other audio, "" for anything else."""
    at_4, at_8 = head[4:8], head[8:12]
    if any(head.startswith(begin) and at_8.startswith(after) for begin, after in _READ.items()):
        return "read"
    if at_4 == b"ftyp" or (len(head) > 3 and head[0] == 0xFF and head[1] in _MP3):
        return "read"
    return "audio" if head.startswith(_NOT_READ) else ""


def recordings(root: Path) -> list[str]:
    """Return the files below a folder that hold audio, as relative '/'-separated paths, sorted; hidden ones are left out.

    Those with the name of audio are taken at their word (stage 1 says what is wrong with them); of others the first bytes decide.
    What lies beside audio of its own name (x.sph and x.wav; x.wav.bak and x.wav) is taken for a copy and left out.
    """
    return _sorted_out(root)[0]


def remarks(root: Path) -> Iterator[tuple[bool, str]]:
    """Yield (as expected?, line) of the files that are passed over, a warning where some may be audio."""
    _, copies, audio, others = _sorted_out(root)
    if audio:
        yield False, f"files that may be audio and are not read: {_counts(audio)}; convert them"
    if copies:
        yield False, f"audio that is not read, as audio of the same name lies beside it: {_counts(copies)}"
    if others:
        yield True, f"files that hold no audio: {_counts(others)}"


def _sorted_out(root: Path) -> tuple[list[str], Counter[str], Counter[str], Counter[str]]:
    """Return what is read, and by suffix how many files are not: copies of what is read, what may be audio, and the others."""
    paths = list(walk(root))
    found = [path for path in paths if _suffix(path) in AUDIO_SUFFIXES]
    names = {name for path in found for name in (path, stem(path))}
    copies, audio, others = Counter[str](), Counter[str](), Counter[str]()
    for path in paths:
        suffix = _suffix(path)
        if suffix in AUDIO_SUFFIXES:
            continue
        kind = kind_of(_head(root / path))
        if kind == "read" and stem(path) not in names:
            found.append(path)
        else:
            counts = copies if kind == "read" else audio if kind or suffix in NAMED_AUDIO else others
            counts[suffix or "(no suffix)"] += 1
    return sorted(found), copies, audio, others


def is_audio(path: Path) -> bool:
    """Return whether a file has the name of audio, or begins as audio does."""
    return _suffix(path.name) in AUDIO_SUFFIXES or kind_of(_head(path)) == "read"


def stem(path: str) -> str:
    """Return a path without the last suffix of its name."""
    return os.path.splitext(path)[0]


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{num} x {suffix}" for suffix, num in sorted(found.items()))


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _head(path: Path) -> bytes:
    """Return the first bytes; none of what is no file or may not be read: that it is there is said by its suffix."""
    try:
        if not path.is_file():
            return b""
        with open(path, "rb", buffering=0) as file:
            return file.read(_NUM_BYTES)
    except OSError:
        return b""
