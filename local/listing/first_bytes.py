"""What files without the name of audio hold: their first bytes tell, no list of suffixes.

Audio under another name than those of `steps.data.audio.AUDIO_SUFFIXES` (.aiff, .au, .sph, no suffix at all) is read all the
same where libsndfile or ffmpeg read it; everything else below a corpus is counted and named.
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from local.listing.files import walk
from steps.data.audio import AUDIO_SUFFIXES

# Begins of files (RFC 2361, RFC 3533, IFF, NIST SPHERE, Sony Wave64, Apple CAF ...), with what must stand at byte 8, or "".
_READ = {
    b"RIFF": b"WAVE", b"RIFX": b"WAVE", b"RF64": b"WAVE", b"FORM": (b"AIF", b"8SV", b"16SV"),
    b" paf": b"", b"fap ": b"", b"\x64\xa3\x01\x00": b"", b"\x64\xa3\x02\x00": b"", b"\x64\xa3\x03\x00": b"",
    b"\x00\x01\xa3\x64": b"", b"\x00\x02\xa3\x64": b"", b"\x00\x03\xa3\x64": b"",
    b"PVF1": b"", b"2BIT": b"", b"fLaC": b"", b"OggS": b"", b"NIST_1A": b"",
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
_NO_SUFFIX = "(no suffix)"
_LIST = "wav.scp"


def kind_of(head: bytes) -> str:
    """Return "read" for the first bytes of audio that is read, "audio" for those of other audio, "" for anything else."""
    at_4, at_8 = head[4:8], head[8:12]
    if any(head.startswith(begin) and at_8.startswith(after) for begin, after in _READ.items()):
        return "read"
    if at_4 == b"ftyp" or (len(head) > 3 and head[0] == 0xFF and head[1] in _MP3):
        return "read"
    return "audio" if head.startswith(_NOT_READ) else ""


class Found(NamedTuple):
    """The files below a folder."""

    read: list[str]  # relative '/'-separated paths, sorted
    copies: Counter[str]  # by suffix, how many hold audio and lie beside audio of their own name
    audio: Counter[str]  # how many may be audio and are not read
    others: Counter[str]  # and how many do not begin as audio does
    lists: list[str]  # of these, Kaldi's

    def remarks(self, where: str = "") -> list[tuple[bool, str]]:
        """Return (as expected?, line) of the files that are passed over, a warning where some may be audio."""
        lines = [
            (False, "files that may be audio and are not read: {}; convert them", self.audio),
            (False, "audio that is not read, as audio of the same name lies beside it: {}", self.copies),
            (True, "files that do not begin as audio does, not read: {}", self.others),
        ]
        return [(is_expected, where + text.format(_counts(counts))) for is_expected, text, counts in lines if counts]

    def shown(self) -> str:
        """Return " (2 x .txt)" of all that is not read, for a message; "" where there is nothing."""
        counts = self.audio + self.others
        return f" ({_counts(counts)})" if counts else ""

    def list_remarks(self) -> list[tuple[bool, str]]:
        """Return (False, line) of Kaldi's lists that lie deeper in a corpus that is read as folders of speakers."""
        if not self.lists:
            return []
        text = f"{len(self.lists)} {_LIST} of Kaldi lie in folders that are not looked into, first {self.lists[0]}: folders are"
        return [
            (
                False,
                f"{text} taken for speakers; for such a list give the folder that it lies in, or the one above, with --data DIR",
            )
        ]


def files_of(root: Path) -> Found:
    """Return what is below a folder; hidden files are left out.

    Files with the name of audio are taken at their word (stage 1 says what is wrong with them); of others the first bytes decide.
    What lies beside audio of its own name (x.sph and x.wav; x.wav.bak and x.wav) is taken for a copy and left out.
    """
    read, unnamed, audio, others, lists = [], [], Counter[str](), Counter[str](), []
    for path in walk(root):
        suffix = _suffix(path)
        if suffix in AUDIO_SUFFIXES:
            read.append(path)
            continue
        kind = kind_of(_head(root / path))
        if kind == "read":
            unnamed.append(path)
        else:
            lists += [path] * (os.path.basename(path) == _LIST)
            (audio if kind or suffix in NAMED_AUDIO else others)[suffix or _NO_SUFFIX] += 1
    names = {name for path in read for name in (path, stem(path))} if unnamed else set()
    read += [path for path in unnamed if stem(path) not in names]
    copies = Counter(_suffix(path) or _NO_SUFFIX for path in unnamed if stem(path) in names)
    return Found(sorted(read), copies, audio, others, sorted(lists))


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
