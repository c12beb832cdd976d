"""Corpus "toy": synthetic voices, noises, music and rooms, made offline and the same bytes every time.

Each voice speaks in several sessions, and each session has its own channel, room, level and noise, so that a system has to find
the voice behind the recording. Nothing is read: `site` is there because every corpus module has it. The work is cut into units
that know nothing of each other: all randomness belongs to a voice, a session, an utterance or a clip, never to an order.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from steps.core.files import place
from steps.core.rng import generator
from steps.data.enrolment import draw_models, write_models
from steps.data.manifests import Utterance, write_rates, write_roots, write_set, write_utt2spk
from steps.data.trials import all_pairs, balanced, write_trials

if TYPE_CHECKING:  # local.synthesis brings scipy, and planning a stage loads nothing heavy
    from local.synthesis.speech import Voice

_MAX_SPEECH_UNITS = 16
_SPEECH_SETS = ("train", "dev", "test")
_BANKS = ("noise", "music", "rir")
_PEAK = 0.95  # of full scale; noises, music and impulse responses are written at this peak


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How much is made, and from which seed."""

    type: str = "toy"  # the word that chooses this corpus
    corpus: str = "toy"  # name of this corpus
    seed: int = 1  # of everything that is drawn
    sampling_rate: int = 16000  # Hz
    num_train_voices: int = 140  # voices, dev voices included; half of them female, half male
    num_dev_voices: int = 12  # voices, the last of the training voices, kept out of training for calibration
    num_test_voices: int = 28  # voices
    sessions_per_voice: int = 4  # sessions, each with its own channel; target trials cross sessions
    utterances_per_session: int = 2  # utterances
    min_duration: float = 2.0  # s, of an utterance
    max_duration: float = 2.8  # s, of an utterance
    num_noises: int = 24  # clips
    num_music: int = 12  # clips
    num_rirs: int = 24  # room impulse responses
    clip_duration: float = 5.0  # s, of a noise or music clip
    min_rt60: float = 0.15  # s, reverberation time of the driest room
    max_rt60: float = 0.8  # s, reverberation time of the most reverberant room
    trials_per_utterance: int = 8  # trials, in the balanced lists; half of them target trials
    enrol_utterances: int = 3  # utterances that the models of the list toy_m are made of; no such list where voices have no more

    def __post_init__(self) -> None:
        if self.type != "toy":
            raise ValueError(f"prepare.type: expected 'toy', found {self.type!r}")
        if self.sessions_per_voice < 2 or self.utterances_per_session < 1:
            raise ValueError(
                "target trials cross sessions: expected sessions_per_voice >= 2 and utterances_per_session >= 1, found "
                f"{self.sessions_per_voice} and {self.utterances_per_session}"
            )
        if not 0 <= self.num_dev_voices < self.num_train_voices:
            raise ValueError(
                "dev voices are taken from the training voices: expected 0 <= num_dev_voices < num_train_voices, found "
                f"{self.num_dev_voices} and {self.num_train_voices}"
            )
        for low, high in (("min_duration", "max_duration"), ("min_rt60", "max_rt60")):
            if not 0 < getattr(self, low) <= getattr(self, high):
                raise ValueError(f"expected 0 < {low} <= {high}, found {getattr(self, low)} and {getattr(self, high)}")


def inventory(settings: Settings, site: Mapping[str, str]) -> str:
    """Return a sentence about what the manifests are made from: settings alone, so it never changes by itself."""
    return f"{settings.num_train_voices + settings.num_test_voices} synthetic voices"


def list_units(settings: Settings, site: Mapping[str, str]) -> list[str]:
    """Return the names of the units of work, sorted: up to 16 that share the voices, and one for each bank."""
    num_units = min(_MAX_SPEECH_UNITS, settings.num_train_voices + settings.num_test_voices)
    banks = [bank for bank in _BANKS if _bank_size(settings, bank)]
    return sorted([f"voices_{unit:02d}" for unit in range(num_units)] + banks)


def prepare_unit(settings: Settings, site: Mapping[str, str], unit: str, out: Path) -> None:
    """Write the audio of one unit, and `utterances.jsonl` that lists it, into the empty folder `out`."""
    if unit in _BANKS:
        rows = [row for index in range(_bank_size(settings, unit)) for row in _write_clip(settings, unit, index, out)]
    else:
        units = [name for name in list_units(settings, site) if name not in _BANKS]
        voices = list(voice_sets(settings).items())[units.index(unit) :: len(units)]
        rows = [row for voice_id, set_name in voices for row in _write_voice(settings, voice_id, set_name, out)]
    rows.sort(key=lambda row: row["id"])
    lines = [json.dumps(row, sort_keys=True) + "\n" for row in rows]
    (out / "utterances.jsonl").write_text("".join(lines), encoding="utf-8")


def voice_sets(settings: Settings) -> dict[str, str]:
    """Return voice id -> set, in the order of training, dev and test voices; ids are the sex and a number, sexes take turns."""
    num_train = settings.num_train_voices - settings.num_dev_voices
    sets = ["train"] * num_train + ["dev"] * settings.num_dev_voices + ["test"] * settings.num_test_voices
    return {f"{'fm'[index % 2]}{index // 2:03d}": set_name for index, set_name in enumerate(sets)}


def voice_of(settings: Settings, voice_id: str) -> "Voice":
    """Return the voice behind a voice id."""
    from local.synthesis.speech import draw_voice

    return draw_voice(voice_id[0], generator(settings.seed, "toy", "voice", voice_id))


def _write_voice(settings: Settings, voice_id: str, set_name: str, out: Path) -> Iterator[dict]:
    """Write all sessions of a voice; yield one row per utterance."""
    from local.synthesis.rooms import draw_session, in_session, record
    from local.synthesis.speech import speak

    voice = voice_of(settings, voice_id)
    for session_number in range(1, settings.sessions_per_voice + 1):
        session_name = f"s{session_number}"
        rng = generator(settings.seed, "toy", "session", voice_id, session_name)
        session = draw_session(rng, settings.sampling_rate)
        for number in range(settings.utterances_per_session):
            utterance_id = f"{voice_id}/{session_name}_{number:02d}"
            rng = generator(settings.seed, "toy", "utterance", utterance_id)
            duration = rng.uniform(settings.min_duration, settings.max_duration)
            speech = speak(in_session(voice, session), duration, rng, settings.sampling_rate)
            wave = record(speech, session, rng, settings.sampling_rate)
            row = {"id": utterance_id, "set": set_name, "speaker": voice_id, "gender": voice_id[0], "session": session_name}
            yield _write_audio(out, row, wave, settings.sampling_rate)


def _write_clip(settings: Settings, bank: str, index: int, out: Path) -> Iterator[dict]:
    """Write one clip of a bank; yield its row."""
    from local.synthesis.rooms import room_impulse_response
    from local.synthesis.sounds import NOISE_KINDS, make_music, make_noise

    rng = generator(settings.seed, "toy", bank, index)
    rate = settings.sampling_rate
    if bank == "noise":
        kind = NOISE_KINDS[index % len(NOISE_KINDS)]
        wave = make_noise(kind, settings.clip_duration, rng, rate)
    elif bank == "music":
        kind = "chords"
        wave = make_music(settings.clip_duration, rng, rate)
    else:
        kind = "room"
        wave = room_impulse_response(rir_rt60(settings, index), rng.uniform(-3.0, 9.0), rng, rate)
    row = {"id": f"{kind}_{index:02d}", "set": bank, "speaker": "", "gender": "", "session": ""}
    yield _write_audio(out, row, wave * (_PEAK / np.max(np.abs(wave))), rate)


def rir_rt60(settings: Settings, index: int) -> float:
    """Return the reverberation time in s of the impulse response with that number: evenly spaced, the driest first."""
    return float(np.linspace(settings.min_rt60, settings.max_rt60, settings.num_rirs)[index])


def _bank_size(settings: Settings, bank: str) -> int:
    return {"noise": settings.num_noises, "music": settings.num_music, "rir": settings.num_rirs}[bank]


def _write_audio(out: Path, row: dict, wave: np.ndarray, sampling_rate: int) -> dict:
    """Write a wave as 16 bit FLAC; return the row completed with path and length."""
    path = f"audio/{row['set']}/{row['id']}.flac"
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    samples = np.round(wave * 32767.0).astype(np.int16)
    soundfile.write(out / path, samples, sampling_rate, subtype="PCM_16")
    return row | {"path": path, "sampling_rate": sampling_rate, "num_samples": len(samples)}


def merge(
    settings: Settings, site: Mapping[str, str], unit_folders: Mapping[str, Path], out: Path, features: object = None
) -> None:
    """Put the audio of all units below `out/audio` and write manifests, trial lists and utt2spk, whatever the features are."""
    sets: dict[str, list[Utterance]] = {}
    for unit in sorted(unit_folders):
        for line in (unit_folders[unit] / "utterances.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            place(unit_folders[unit] / row["path"], out / row["path"])  # not moved: a merge that is killed is done again
            sets.setdefault(row.pop("set"), []).append(_utterance(settings, row))
    for set_name, utterances in sorted(sets.items()):
        write_set(out / set_name, utterances)
    write_roots(out, {set_name: "" for set_name in sorted(sets)})
    write_rates(out, sets)
    write_utt2spk(out / "utt2spk", [item for name in _SPEECH_SETS for item in sets.get(name, [])])
    _write_trial_lists(settings, sets, out)


def _utterance(settings: Settings, row: dict) -> Utterance:
    # A manifest needs a speaker; a clip that nobody speaks is its own.
    return Utterance(**row | {"speaker": row["speaker"] or row["id"], "corpus": settings.corpus})


def _write_trial_lists(settings: Settings, sets: dict[str, list[Utterance]], out: Path) -> None:
    """Write the lists of the test voices, and that of the dev voices.

    toy_o is balanced, toy_e all pairs, toy_h all pairs of one sex, toy_m models of several utterances against other sessions.
    """
    for folder in ("trials", "calibration", "enrolment"):
        (out / folder).mkdir(exist_ok=True)
    if "test" in sets:
        rng = generator(settings.seed, "toy", "trials", "toy_o")
        chosen = balanced(sets["test"], rng, settings.trials_per_utterance, cross_session=True)
        write_trials(out / "trials" / "toy_o.txt", chosen)
        write_trials(out / "trials" / "toy_e.txt", all_pairs(sets["test"], cross_session=True))
        write_trials(out / "trials" / "toy_h.txt", all_pairs(sets["test"], cross_session=True, same_gender=True))
        if settings.sessions_per_voice * settings.utterances_per_session > settings.enrol_utterances:
            rng = generator(settings.seed, "toy", "trials", "toy_m")
            models, trials = draw_models(sets["test"], rng, settings.enrol_utterances)
            write_trials(out / "trials" / "toy_m.txt", trials)
            write_models(out / "enrolment" / "toy_m.txt", models)
    if "dev" in sets:
        write_trials(out / "calibration" / "dev.txt", all_pairs(sets["dev"], cross_session=True))
