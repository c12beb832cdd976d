"""What is known about VoxCeleb's sets and trial lists, to compare a copy on disk with."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from local.listing.documented import Counts, compare

TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10270, 10310))  # of VoxCeleb1


# Speakers and utterances with audio. The metadata names 120 test speakers of VoxCeleb2; two of them have none.
SETS = {
    "vox1_dev": Counts(speakers=1211, utterances=148_642),
    "vox1_test": Counts(speakers=40, utterances=4_874),
    "vox2_dev": Counts(speakers=5994, utterances=1_092_009),
}

# File -> name of the list here. "Cleaned" lists leave out the pairs with a wrong label or a doubled recording.
LIST_NAMES = {
    "veri_test.txt": "vox1_o",
    "veri_test2.txt": "vox1_o_cleaned",
    "list_test_all.txt": "vox1_e",
    "list_test_all2.txt": "vox1_e_cleaned",
    "list_test_hard.txt": "vox1_h",
    "list_test_hard2.txt": "vox1_h_cleaned",
}

# Files that OpenSLR (number 49) has of the first of them, for Kaldi's recipes; the second one by the names of the first release.
OTHER_FILES = {"voxceleb1_test_v2.txt": "vox1_o", "voxceleb1_test.txt": "vox1_o"}

# The O lists were counted; trials and speakers of the others are documented, their utterances only from hearsay.
LISTS = {
    "vox1_o": Counts(speakers=40, utterances=4_715, trials=37_720, targets=18_860),
    "vox1_o_cleaned": Counts(speakers=40, utterances=4_708, trials=37_611, targets=18_802),
    "vox1_e": Counts(speakers=1251, trials=581_480, targets=290_743),
    "vox1_e_cleaned": Counts(speakers=1251, trials=579_818, targets=289_921),
    "vox1_h": Counts(speakers=1190, trials=552_536, targets=276_270),
    "vox1_h_cleaned": Counts(speakers=1190, trials=550_894, targets=275_488),
}

# SHA-256 of the sorted lines of the O lists. E and H were not at hand: MD5 of the files on VoxCeleb's site.
# Source: PaddleSpeech and a benchmark of French universities give the same MD5s; those that they give for the two O lists hold.
LIST_HASHES = {
    "vox1_o": "0c4f180f7fb816757bc030bbf35000e3c0340e881b5f676a3455557207cd495a",
    "vox1_o_cleaned": "b78a1623af3cf506300bd845b19f6646279a1135a2e419aef0df26e26a1f0d93",
    "vox1_e": "b9ecf7aa49d4b656aa927a8092844e4a",
    "vox1_e_cleaned": "a53e059deb562ffcfc092bf5d90d9f3a",
    "vox1_h": "21c341b6b2168eea2634df0fb4b8fff1",
    "vox1_h_cleaned": "857790e09d579a68eb2e339a090343c8",
}
_MD5_DIGITS = 32


def plain_hash(lines: Iterable[str], algorithm: str = "sha256", last_end: str = "\n") -> str:
    """Return the hash of a list's lines, one blank between words and each line ended; blank lines are passed over.

    So that copies agree which differ in line ends, or lack the last of them as one of veri_test2.txt does.

    Args:
        lines: of the list.
        algorithm: of hashlib.
        last_end: of the last line.
    """
    text = "\n".join(" ".join(words) for words in map(str.split, lines) if words)
    return hashlib.new(algorithm, f"{text}{last_end}".encode(), usedforsecurity=False).hexdigest()


def hash_problem(name: str, path: Path, rename: Callable[[str], str] = str) -> str:
    """Return both hashes where the lines of a list are not those of the published one of its name, else "".

    The lines of the O lists may have another order, which no figure depends on.

    Args:
        name: of the list.
        path: of the file.
        rename: gives the name that the published list has for a word of the file.
    """
    published = LIST_HASHES.get(name)
    if published is None:
        return ""
    with open(path, encoding="utf-8-sig") as file:
        lines = [" ".join(map(rename, line.split())) for line in file]
    if len(published) > _MD5_DIGITS:
        found, kind = [plain_hash(sorted(lines))], "SHA-256"
    else:  # of a file whose blanks and last line end nobody has described
        whole = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        found, kind = [whole, plain_hash(lines, "md5"), plain_hash(lines, "md5", "")], "MD5"
    return "" if published in found else f"{kind} {found[0]}; published: {published}"


def list_problem(name: str, found: Counts, path: Path, rename: Callable[[str], str] = str) -> str:
    """Return in what a list differs from the published one of its name, or "" where it does not, or is not known.

    Args:
        name: of the list.
        found: what was counted in it.
        path: of the file.
        rename: as in `hash_problem`.
    """
    is_equal, text = compare(found, LISTS.get(name))
    if not is_equal:
        return text
    hashes = hash_problem(name, path, rename)
    return f"{text}, as documented, but other lines ({hashes})" if hashes else ""
