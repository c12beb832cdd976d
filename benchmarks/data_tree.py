"""A tree of VoxCeleb1 and 2's shape, of any size, for benchmarks/data.py: names, folders and lists as the real ones have them.

The audio are hard links to a few files of a tenth of a second, so that a million of them take no room and opening them costs
little: what is timed is all that the number of files costs.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

NUM_REAL = 1_281_762  # utterances of VoxCeleb1 and 2, dev and test
LINKS = 20_000  # to one file: ext4 has at most 65,000
RATE = 16000
SIGNS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", dtype="S1")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the corpora, at full size."""

    folder: str
    suffix: str
    first: int  # number of the first speaker
    speakers: int
    videos: int  # of each speaker, about
    utterances: int


PARTS = (
    Part(folder="vox1/dev/wav", suffix="wav", first=10310, speakers=1211, videos=18, utterances=148_642),
    Part(folder="vox1/test/wav", suffix="wav", first=10270, speakers=40, videos=17, utterances=4_874),
    Part(folder="vox2/dev/flac", suffix="flac", first=12, speakers=5994, videos=24, utterances=1_092_009),
    Part(folder="vox2/test/flac", suffix="flac", first=7000, speakers=118, videos=41, utterances=36_237),
)
LISTS = {"veri_test2.txt": 37_611, "list_test_all2.txt": 579_818, "list_test_hard2.txt": 550_894}  # trials


def make_tree(folder: Path, num: int) -> None:
    """Make vox1, vox2 and meta with about `num` utterances, of as many each speaker as in the real ones; and trial lists."""
    share = num / NUM_REAL
    meta = {name: [] for name in ("vox1", "vox2")}
    vox1: list[list[str]] = [[], []]
    files = _sources(folder, num)
    rng = np.random.default_rng(1)
    for place, part in enumerate(PARTS):
        num_speakers = min(part.speakers, max(8, round(share * part.speakers)))
        speakers = [f"id{part.first + number:05d}" for number in range(num_speakers)]
        per_speaker = max(4, round(share * part.utterances / num_speakers))
        names = list(_link(folder / part.folder, part, speakers, per_speaker, files, rng))
        if place < 2:
            vox1[place] = names
        corpus, split, _ = part.folder.split("/")
        meta[corpus] += [(name, "mf"[int(name[2:]) % 2], split) for name in speakers]
    _write_metadata(folder / "meta", meta)
    for name, trials in LISTS.items():
        among = vox1[1] if name == "veri_test2.txt" else [*vox1[0], *vox1[1]]
        _write_trials(folder / "vox1" / name, among, max(8, round(share * trials)), rng)


def _sources(folder: Path, num: int) -> dict[str, Iterator[Path]]:
    """Suffix -> the file that each next utterance is a link to."""
    (folder / "sources").mkdir(parents=True)
    samples_W = np.random.default_rng(0).uniform(-0.1, 0.1, RATE // 10)
    found = {}
    for suffix in ("wav", "flac"):
        paths = [folder / "sources" / f"{number}.{suffix}" for number in range(num // LINKS + 1)]
        for path in paths:
            soundfile.write(path, samples_W, RATE, subtype="PCM_16")
        found[suffix] = (paths[count // LINKS] for count in range(num + num // 2 + 1000) if count // LINKS < len(paths))
    return found


def _link(
    top: Path, part: Part, speakers: list[str], per_speaker: int, files: dict[str, Iterator[Path]], rng: np.random.Generator
) -> Iterator[str]:
    """Make the utterances of a part; yield their names as in a trial list."""
    videos = min(part.videos, max(2, per_speaker // 2))
    for speaker in speakers:
        labels = rng.choice(SIGNS, size=(videos, 11)).view("S11").ravel().astype(str).tolist()
        for video, label in enumerate(labels):
            folder = f"{top}/{speaker}/{label}"
            os.makedirs(folder)
            for number in range(1 + (per_speaker - 1 - video) // videos):
                os.link(next(files[part.suffix]), f"{folder}/{number + 1:05d}.{part.suffix}")
                yield f"{speaker}/{label}/{number + 1:05d}.wav"


def _write_metadata(folder: Path, meta: dict[str, list[tuple[str, str, str]]]) -> None:
    """vox1_meta.csv between tabs, vox2_meta.csv between commas and blanks, as they are published."""
    folder.mkdir()
    rows = [f"{name}\tPerson_{name[2:]}\t{gender}\tUSA\t{split}\n" for name, gender, split in meta["vox1"]]
    (folder / "vox1_meta.csv").write_text("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n" + "".join(rows))
    rows = [f"{name} ,n000001 ,{gender} ,{split} \n" for name, gender, split in meta["vox2"]]
    (folder / "vox2_meta.csv").write_text("VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \n" + "".join(rows))


def _write_trials(path: Path, names: list[str], num: int, rng: np.random.Generator) -> None:
    """Half of them target trials: a neighbour in the sorted list; the others of any two speakers."""
    first = rng.integers(len(names) - 1, size=num)
    with open(path, "w") as file:
        for place, other in zip(first.tolist(), rng.integers(len(names), size=num).tolist(), strict=True):
            enrol, test = names[place], names[place + 1]
            if place % 2:
                test = names[other]
            if enrol != test:
                file.write(f"{int(enrol[:7] == test[:7])} {enrol} {test}\n")
