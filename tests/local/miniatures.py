"""Miniatures of published corpora: their folders, lists and oddities, with a few milliseconds of noise for speech."""

import json
from pathlib import Path

import numpy as np
import soundfile

from local.listing.corpus import CorpusSettings


def write_audio(path: Path, seed: int = 0, rate: int = 16000, form: str | None = None, channels: int = 1) -> Path:
    """Write noise that the seed decides, in the format of the suffix or of `form` (libsndfile's name of one)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, (rate // 40 + seed % 50, channels))  # a frame and more
    soundfile.write(path, samples, rate, format=form, subtype="PCM_16")
    return path


def prepare(corpus, settings: CorpusSettings, root: Path, out: Path, **site: str) -> Path:
    """Stage 1 without the machinery around it; the manifests."""
    places = {"corpus": str(root), **site}
    corpus.inventory(settings, places)
    units = corpus.list_units(settings, places)
    for unit in units:
        (out / "units" / unit).mkdir(parents=True)
        corpus.prepare_unit(settings, places, unit, out / "units" / unit)
    (out / "out").mkdir()
    corpus.merge(settings, places, {unit: out / "units" / unit for unit in units}, out / "out")
    return out / "out"


LIBRI = {  # subset -> readers with their sex and name
    "train-clean-100": {"19": ("F", "Kara Shallenberg"), "60": ("M", "|CBW|Simon"), "103": ("F", "Karen Savage")},
    "train-clean-360": {"14": ("F", "Zoë | Brontë"), "16": ("M", "")},
    "dev-clean": {"84": ("F", "Christie Nowak"), "174": ("M", "Peter Eastman")},
    "test-clean": {"61": ("M", "Paul-Gabriel Wiener"), "121": ("F", "Nikolle Doolin"), "237": ("F", "rachelellen")},
}


def make_librispeech(folder: Path, top: str = "LibriSpeech", utterances: int = 2) -> Path:
    """Make <folder>/LibriSpeech of four subsets, each reader with two chapters; SPEAKERS.TXT lacks its last newline."""
    lines = ["; Some pieces of information about the speakers", ";", ";ID  |SEX| SUBSET           |MINUTES| NAME"]
    number = 0
    for subset, readers in LIBRI.items():
        for reader, (sex, name) in readers.items():
            lines.append(f"{reader:<5}| {sex} | {subset:<17}| 25.03 | {name}")
            for chapter in ("198", str(3000 + int(reader))):
                stem = folder / top / subset / reader / chapter / f"{reader}-{chapter}"
                for count in range(utterances):
                    write_audio(Path(f"{stem}-{count:04d}.flac"), seed=(number := number + 1))
                Path(f"{stem}.trans.txt").write_text(f"{reader}-{chapter}-0000 SOME WORDS\n")
    lines.append("8888 | M | train-other-500  | 30.01 | Nobody of these subsets")
    (folder / top / "SPEAKERS.TXT").write_text("\n".join(lines), encoding="utf-8")
    return folder


TIMIT = {  # folder -> speakers
    "TRAIN": {"DR1": ("FCJF0", "MCPM0"), "DR2": ("FAEM0", "MARC0")},
    "TEST": {"DR1": ("FAKS0", "MDAB0"), "DR2": ("FCMR0",), "DR10": (), "DR3": ("MPGL0",)},
}
SENTENCES = ("SA1", "SA2", "SI1027", "SI1657", "SI648", "SX115", "SX205", "SX25", "SX295", "SX385")


def make_timit(
    folder: Path, *, lower: bool = False, form: str = "NIST", names: tuple[str, ...] = ("{}.WAV",), count: int = 10
) -> Path:
    """Make <folder>/TIMIT: each sentence in every one of the forms `names`; with `lower`, all names are in small letters.

    `count`: of the sentences of each speaker.
    """
    number = 0
    for part, regions in TIMIT.items():
        for region, speakers in regions.items():
            for speaker in speakers:
                for sentence in SENTENCES[:count]:
                    number += 1
                    for name in names:
                        path = f"TIMIT/{part}/{region}/{speaker}/{name.format(sentence)}"
                        is_original = name.lower() == "{}.wav"
                        write_audio(folder / (path.lower() if lower else path), number, form=form if is_original else "WAV")
                    text = folder / (
                        f"TIMIT/{part}/{region}/{speaker}/{sentence}.TXT".lower() if lower else f"TIMIT/{sentence}.TXT"
                    )
                    text.parent.mkdir(parents=True, exist_ok=True)
                    text.write_text("0 46797 She had your dark suit\n")
    return folder


CN_DEV, CN_EVAL, CN_SECOND = ("id00000", "id00001", "id00002"), ("id00800", "id00801", "id00802"), ("id10000", "id10001")


def make_cnceleb(folder: Path, first: str = "CN-Celeb_flac", second: str = "CN-Celeb2_flac") -> Path:
    """Make CN-Celeb 1 and 2; the lists say .wav where files are .flac; id00802 is tested and not enrolled."""
    top, number = folder / first, 0
    for speaker in (*CN_DEV, *CN_EVAL):
        for name in ("singing-01-001", "singing-01-002", "live_broadcast-02-001"):
            write_audio(top / "data" / speaker / f"{name}.flac", number := number + 1)
    for speaker in CN_SECOND:
        for name in ("vlog-01-001", "vlog-01-002"):
            write_audio(folder / second / "data" / speaker / f"{name}.flac", number := number + 1)
    (folder / second / "spk.lst").write_text("".join(f"{speaker}\n" for speaker in CN_SECOND))
    (top / "dev").mkdir()
    (top / "dev" / "dev.lst").write_text("\n".join(CN_DEV))  # no newline at the end
    lists = top / "eval" / "lists"
    lists.mkdir(parents=True)
    enrolled = CN_EVAL[:2]
    for speaker in CN_EVAL:
        for name in ("interview-03-001", "play-04-001"):
            write_audio(top / "eval" / "test" / f"{speaker}-{name}.flac", number := number + 1)
    for speaker in enrolled:
        write_audio(top / "eval" / "enroll" / f"{speaker}-enroll.flac", number := number + 1)
    (lists / "enroll.lst").write_text("".join(f"{name}-enroll enroll/{name}-enroll.wav\n" for name in enrolled))
    (lists / "enroll.map").write_text(
        "".join(f"{name}-enroll {name}/singing-01-001.wav {name}/live_broadcast-02-001.wav\n" for name in enrolled)
    )
    tests = [(speaker, f"test/{speaker}-{name}.wav") for speaker in CN_EVAL for name in ("interview-03-001", "play-04-001")]
    (lists / "test.lst").write_text("".join(f"{path}\n" for _, path in tests))
    (lists / "trials.lst").write_text(
        "".join(f"{name}-enroll {path} {int(name == speaker)}\n" for name in enrolled for speaker, path in tests)
    )
    return folder


def make_vctk(folder: Path, top: str = "VCTK-Corpus-0.92") -> Path:
    """Make VCTK 0.92: p280 and p315 lack mic2, s5 is no p, speaker-info.txt has comments."""
    number = 0
    for speaker in ("p225", "p226", "p280", "p315", "s5"):
        for sentence in ("001", "002", "003"):
            for microphone in ("mic1",) if speaker in ("p280", "p315") else ("mic1", "mic2"):
                name = f"wav48_silence_trimmed/{speaker}/{speaker}_{sentence}_{microphone}.flac"
                write_audio(folder / top / name, number := number + 1, rate=48000)
    (folder / top / "wav48_silence_trimmed" / "log.txt").write_text("trimmed\n")
    (folder / top / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\np226  22  M    English    Surrey\n"
        "p280  25  F    Unknown    France  (mic2 files unavailable)\np315  18  M  American  New England (Text unavailable)\n"
        "s5  22  F    British"
    )
    return folder


def make_speechocean762(folder: Path, top: str = "speechocean762") -> Path:
    """Make speechocean762: tabs, suffix .WAV; utt2spk of test has a byte order mark and CR LF."""
    for split, speakers in (("train", ("0001", "0005", "0006", "0026")), ("test", ("0003", "0024"))):
        ids = [(f"00{speaker[1:]}{number:04d}", speaker) for speaker in speakers for number in (11, 35, 53)]
        for name, speaker in ids:
            write_audio(folder / top / "WAVE" / f"SPEAKER{speaker}" / f"{name}.WAV", int(name))
        lines = {
            "wav.scp": [f"{name}\tWAVE/SPEAKER{speaker}/{name}.WAV" for name, speaker in ids],
            "utt2spk": [f"{name}\t{speaker}" for name, speaker in ids],
            "spk2gender": [f"{speaker}\t{'fm'[number % 2]}" for number, speaker in enumerate(speakers)],
        }
        (folder / top / split).mkdir()
        for name, each in lines.items():
            odd = split == "test" and name == "utt2spk"
            text = "\ufeff" + "\r\n".join(each) if odd else "\n".join([*each, ""])
            (folder / top / split / name).write_bytes(text.encode())
    return folder


def make_audiomnist(folder: Path, top: str = "AudioMNIST") -> Path:
    """Make AudioMNIST: six speakers, two digits, two repetitions; notes lie among the audio."""
    table = {}
    for speaker in ("01", "02", "12", "26", "28", "60"):
        gender = "male" if speaker < "12" else "female"
        table[speaker] = {"accent": "German", "age": "25", "gender": gender, "recordingroom": "Kino"}
        for digit, repetition in ((0, 0), (0, 1), (9, 0), (9, 49)):
            name = f"{digit}_{speaker}_{repetition}.wav"
            write_audio(folder / top / "data" / speaker / name, int(speaker) + digit + repetition, rate=48000)
    table["01"]["age"] = 30
    (folder / top / "data" / "12" / "notes.txt").write_text("a note\n")
    (folder / top / "data" / "audioMNIST_meta.txt").write_text(json.dumps(table, indent=4))
    return folder
