"""A miniature of VoxCeleb, MUSAN and RIRS_NOISES in the layout and with the oddities of the real ones, of synthetic voices.

    miniature = make_miniature(tmp_path / "data")
    ./run.sh --recipe voxceleb --data <that folder> --set prepare.dev_speakers=2 --set prepare.other_lists=warn \
        --set prepare.calibration=pairs

Training speakers are in vox2/dev/aac (WAV files in a folder of that name, as some converters leave them; with `m4a=True` those
of two speakers are AAC), test speakers in vox1/test/wav, a few more in vox1/dev/wav for the lists E and H. A seed gives the same
bytes each time, but for AAC.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from local.synthesis.rooms import draw_session, in_session, record, room_impulse_response
from local.synthesis.sounds import NOISE_KINDS, make_music, make_noise
from local.synthesis.speech import draw_voice, speak
from steps.core.rng import generator

RATE = 16000
PEAK = 0.95  # of full scale
NATIONALITIES = ("USA", "USA", "New Zealand", "USA")  # of VoxCeleb1's speakers, in turn; blanks occur
# Three of the eleven signs that a video's id may consist of are no letters or digits, and one may be the first.
VIDEOS = ("-aBc_DEf123", "x6uYqmx31kE", "_lIFE-0_-O0", "0cYFdtyWVds")
NUM_AAC_SPEAKERS = 2

Trial = tuple[bool, str, str]


@dataclass(frozen=True, kw_only=True)
class Miniature:
    """What was made, to compare with."""

    folder: Path
    train: dict[str, str]  # utterance id -> file below the folder, of VoxCeleb2 dev
    vox1_dev: dict[str, str]
    vox1_test: dict[str, str]
    genders: dict[str, str]  # speaker -> f or m
    nationalities: dict[str, str]  # of VoxCeleb1's speakers
    lists: dict[str, list[Trial]]  # file name -> (is target, enrolment id, test id)


def make_miniature(
    folder: Path,
    seed: int = 1,
    *,
    num_train: int = 8,
    num_test: int = 6,
    num_vox1_dev: int = 4,
    num_utterances: int = 4,
    durations: tuple[float, float] = (3.0, 5.0),
    m4a: bool = False,
) -> Miniature:
    """Make vox1, vox2, meta, musan and RIRS_NOISES below a folder; return what they hold.

    Args:
        folder: to make.
        seed: of all that is drawn.
        num_train: speakers of VoxCeleb2 dev.
        num_test: of VoxCeleb1 test.
        num_vox1_dev: of VoxCeleb1 dev.
        num_utterances: of each speaker, in two videos.
        durations: shortest and longest utterance in s.
        m4a: whether two training speakers have AAC files; then torchcodec and ffmpeg's libraries are needed.
    """
    folder.mkdir(parents=True)
    train = [f"id{12 + 31 * number:05d}" for number in range(num_train)]
    vox1_dev = [f"id{10001 + number:05d}" for number in range(num_vox1_dev)]
    vox1_test = [f"id{10270 + number:05d}" for number in range(num_test)]
    genders = {name: "fm"[number % 2] for names in (train, vox1_dev, vox1_test) for number, name in enumerate(names)}
    nationalities = {name: NATIONALITIES[i // 2 % len(NATIONALITIES)] for i, name in enumerate([*vox1_dev, *vox1_test])}
    made: dict[str, dict[str, str]] = {}
    for place, names in (("vox2/dev/aac", train), ("vox1/dev/wav", vox1_dev), ("vox1/test/wav", vox1_test)):
        utterances: dict[str, str] = {}
        for number, name in enumerate(names):
            suffix = "m4a" if m4a and place.startswith("vox2") and number < NUM_AAC_SPEAKERS else "wav"
            for utterance, wave in _speech(seed, name, genders[name], num_utterances, durations):
                utterances[utterance] = f"{place}/{utterance}.{suffix}"
                write_audio(folder / utterances[utterance], wave)
        made[place] = utterances
    dev, test = made["vox1/dev/wav"], made["vox1/test/wav"]
    lists = _trial_lists(seed, dev, test, genders, nationalities)
    for name, trials in lists.items():
        write_list(folder / "vox1" / name, trials, ends_in_newline=name != "veri_test2.txt")
    _write_metadata(folder, train, vox1_dev, genders, nationalities)
    _make_musan(folder / "musan", seed)
    _make_rirs(folder / "RIRS_NOISES", seed)
    return Miniature(
        folder=folder,
        train=made["vox2/dev/aac"],
        vox1_dev=dev,
        vox1_test=test,
        genders=genders,
        nationalities=nationalities,
        lists=lists,
    )


def can_write_m4a() -> bool:
    """Return whether AAC files can be made and read here."""
    try:
        from torchcodec.decoders import AudioDecoder  # noqa: F401
        from torchcodec.encoders import AudioEncoder  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return False
    return True


def write_audio(path: Path, wave: np.ndarray, rate: int = RATE) -> Path:
    """Write samples `[W]` as 16 bit WAV, or as AAC where the name ends in .m4a."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.asarray(wave * (PEAK / np.max(np.abs(wave))), dtype=np.float32)
    if path.suffix != ".m4a":
        soundfile.write(path, wave, rate, subtype="PCM_16")
        return path
    import torch
    from torchcodec.encoders import AudioEncoder

    AudioEncoder(torch.from_numpy(wave)[None], sample_rate=rate).to_file(str(path))
    return path


def write_list(path: Path, trials: list[Trial], *, ends_in_newline: bool = True) -> None:
    """Write a trial list as VoxCeleb's site has them."""
    text = "\n".join(f"{int(label)} {enrol}.wav {test}.wav" for label, enrol, test in trials)
    path.write_text(text + "\n" * ends_in_newline, encoding="utf-8")


def _speech(seed: int, speaker: str, gender: str, num: int, durations: tuple[float, float]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (utterance id, samples); each video is a session of its own."""
    voice = draw_voice(gender, generator(seed, "miniature", "voice", speaker))
    for number in range(num):
        video = VIDEOS[number * 2 // num + 2 * (int(speaker[2:]) % 2)]
        session = draw_session(generator(seed, "miniature", "session", speaker, video), RATE)
        utterance = f"{speaker}/{video}/{number + 1:05d}"
        rng = generator(seed, "miniature", "utterance", utterance)
        speech = speak(in_session(voice, session), rng.uniform(*durations), rng, RATE)
        yield utterance, record(speech, session, rng, RATE)


def _trial_lists(seed, vox1_dev, vox1_test, genders, nationalities) -> dict[str, list[Trial]]:
    """O: 8 trials of each test utterance, targets and others in turn; E: 4 of each of VoxCeleb1; H: with alike speakers only.

    The cleaned lists lack what has to do with one utterance.
    """

    def alike(one: str, other: str) -> bool:
        return genders[one] == genders[other] and nationalities[one] == nationalities[other]

    everything = [*vox1_dev, *vox1_test]
    found = {
        "veri_test.txt": _draw_trials(seed, "o", [*vox1_test], 8, lambda one, other: True),
        "list_test_all.txt": _draw_trials(seed, "e", everything, 4, lambda one, other: True),
        "list_test_hard.txt": _draw_trials(seed, "h", everything, 4, alike),
    }
    doubled = [*vox1_test][-1]
    cleaned = {f"{name[:-4]}2.txt": [each for each in trials if doubled not in each] for name, trials in found.items()}
    return found | cleaned


def _draw_trials(seed: int, name: str, ids: list[str], per_utterance: int, may_meet: Callable[[str, str], bool]) -> list[Trial]:
    speaker_of = {utterance: utterance.partition("/")[0] for utterance in ids}
    trials: list[Trial] = []
    for enrol in ids:
        rng = generator(seed, "miniature", "trials", name, enrol)
        same = [other for other in ids if speaker_of[other] == speaker_of[enrol] and other != enrol]
        others = [
            other for other in ids if speaker_of[other] != speaker_of[enrol] and may_meet(speaker_of[other], speaker_of[enrol])
        ]
        num = min(per_utterance // 2, len(same), len(others))
        targets = [same[i] for i in rng.permutation(len(same))[:num]]
        nontargets = [others[i] for i in rng.permutation(len(others))[:num]]
        pairs = itertools.chain.from_iterable(zip(targets, nontargets, strict=True))
        trials += [(number % 2 == 0, enrol, test) for number, test in enumerate(pairs)]
    return trials


def _write_metadata(folder: Path, train, vox1_dev, genders, nationalities) -> None:
    """VoxCeleb1's: tabs. VoxCeleb2's: byte order mark, CR LF, blanks behind each field, a test speaker without audio."""
    (folder / "meta").mkdir()
    lines = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for number, (name, nationality) in enumerate(nationalities.items()):
        part = "dev" if name in vox1_dev else "test"
        lines.append(f"{name}\tA.{number}._Name\t{genders[name]}\t{nationality}\t{part}")
    (folder / "meta" / "vox1_meta.csv").write_bytes("\n".join([*lines, ""]).encode())
    rows = [("VoxCeleb2 ID", "VGGFace2 ID", "Gender", "Set")]
    rows += [(name, f"n0{name[2:]}", genders[name], "dev") for name in train]
    rows += [("id04170", "n004170", "m", "test")]
    text = "".join("".join(f"{value} ," for value in row[:-1]) + f"{row[-1]} \r\n" for row in rows)
    (folder / "meta" / "vox2_meta.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())


def _make_musan(folder: Path, seed: int) -> None:
    """music, speech and noise, each with sources, whose folders also hold texts."""
    for index, source in enumerate(("free-sound", "sound-bible", "free-sound")):
        rng = generator(seed, "miniature", "noise", index)
        wave = make_noise(NOISE_KINDS[index % len(NOISE_KINDS)], 5.0, rng, RATE)
        write_audio(folder / "noise" / source / f"noise-{source}-{index:04d}.wav", wave)
    for index, source in enumerate(("fma", "hd-classical")):
        wave = make_music(5.0, generator(seed, "miniature", "music", index), RATE)
        write_audio(folder / "music" / source / f"music-{source}-{index:04d}.wav", wave)
        (folder / "music" / source / "ANNOTATIONS").write_text(f"music-{source}-{index:04d} baroque N somebody\n")
    rng = generator(seed, "miniature", "musan speech")
    write_audio(folder / "speech" / "us-gov" / "speech-us-gov-0000.wav", speak(draw_voice("m", rng), 5.0, rng, RATE))
    (folder / "README").write_text("a miniature\n")


def _make_rirs(folder: Path, seed: int) -> None:
    """Rooms of three sizes, numbered from 1 in each; rir_list names the files from the parent folder on."""
    for size, rt60 in (("smallroom", 0.2), ("mediumroom", 0.5), ("largeroom", 0.9)):
        lines = []
        for room, number in itertools.product((1, 2), (1, 2)):
            name = f"Room{room:03d}/Room{room:03d}-{number:05d}"
            rng = generator(seed, "miniature", "room", size, name)
            write_audio(folder / "simulated_rirs" / size / f"{name}.wav", room_impulse_response(rt60, 3.0, rng, RATE))
            path = f"RIRS_NOISES/simulated_rirs/{size}/{name}.wav"
            lines.append(f"--rir-id {size}-{name[8:]} --room-id {size}-{name[:7]} {path}\n")
        (folder / "simulated_rirs" / size / "rir_list").write_text("".join(lines))
