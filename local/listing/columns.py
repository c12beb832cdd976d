"""What the columns of people's tables mean: ours, those of known tools, and a word about all others."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from steps.core.errors import RecipeError

OF_UTTERANCES = ("path", "speaker", "id", "session", "gender", "nationality", "split", "corpus") + (
    "start", "end", "duration", "channel",
)  # fmt: skip
AGE = "age"
OF_SPEAKERS = ("speaker", "corpus", "gender", "split", "nationality")

# What others call them: NeMo's manifests, SpeechBrain's CSV, WeSpeaker's lists, Common Voice, VoxCeleb's lists, Kaldi's words.
_SAME = {
    "audio_filepath": "path", "audio_path": "path", "file_path": "path", "filepath": "path", "wav": "path", "wav_path": "path",
    "client_id": "speaker", "label": "speaker", "spk": "speaker", "spk_id": "speaker", "speaker_id": "speaker",
    "voxceleb1 id": "speaker", "voxceleb2 id": "speaker",
    "utt": "id", "key": "id", "utt_id": "id", "utterance_id": "id",
    "session_id": "session", "sex": "gender", "offset": "start", "begin": "start", "start_time": "start", "end_time": "end",
    "begin_time": "start",
    "stop": "end",
}  # fmt: skip
# What they have beside that and decides nothing here, as does what begins with num_.
_UNUSED = frozenset(
    {"accent", "accents", "age", "down_votes", "dur", "lang", "language", "locale", "normalized_text", "pred_text"}
    | {"sample_rate", "sampling_rate", "segment", "sentence", "sentence_domain", "sentence_id"}
    | {"text", "text_filepath", "transcript", "transcription", "up_votes", "variant", "vggface1 id", "vggface2 id"}
    | {"txt", "wrd", "wav_format", "wav_opts", "spk_id_format", "spk_id_opts"}  # WeNet's lists, SpeechBrain's tables
)
_HINTS = {
    "utterance": "id",
    "set": "split",
    "subset": "split",
    "partition": "split",
    "fold": "split",
    "file": "path",
    "filename": "path",
}
_HINTS |= {
    "audio": "path",
    "name": "speaker",
    "person": "speaker",
    "dataset": "corpus",
    "source": "corpus",
    "country": "nationality",
}
_LONG = 2  # letters of a name that is guessed at


@dataclass(frozen=True)
class Columns:
    """What each column of a table means."""

    meaning: Mapping[str, str]  # name in the table -> ours
    unused: tuple[str, ...]  # names of those that decide nothing
    compared: tuple[str, ...] = ()  # of these, those that must not contradict themselves

    def values(self, line: Mapping[str, str]) -> dict[str, str]:
        """Return what a line says, by our names."""
        return {ours: line.get(name, "") for name, ours in self.meaning.items()}

    def age(self, line: Mapping[str, str]) -> str:
        """Return how old a speaker is said to be, which is only compared; "" where that is not asked for."""
        return line.get(AGE, "") if AGE in self.compared else ""


def understood(
    header: Sequence[str], where: str, *, known: Iterable[str], required: Iterable[str], others: Iterable[str]
) -> Columns:
    """Return what the columns of a table mean.

    Args:
        header: their names, in lower case.
        where: file:line of it.
        known: our names of those that may be there.
        required: of these, those that must.
        others: names that are passed over because the user says so (`prepare.other_columns`).

    Raises:
        RecipeError: a missing column, one that nobody knows, or two that are one.
    """
    known, passed_over = tuple(known), {name.strip().lower() for name in others}
    mine = [name for name in header if name not in passed_over]
    meaning = {name: _ours(name) for name in mine if _ours(name) in known}
    if "duration" in meaning and "start" not in meaning.values():
        del meaning["duration"]  # of the whole file
    more = {"set"} if any(name.startswith("voxceleb") for name in header) else set()  # whose dev is trained on
    unused = [name for name in header if name in passed_over or (name not in meaning and (_is_unused(name) or name in more))]
    strange = [name for name in mine if name not in meaning and name not in unused]
    missing = [name for name in required if name not in meaning.values()]
    problems = [f"no column {', '.join(missing)}"] if missing else []
    problems += [f"unknown column '{name}'{_hint(name, known)}" for name in strange]
    problems += _doubles(mine, meaning)
    if problems:
        repair = "correct the header"
        if strange and not missing:
            quoted = ", ".join(map(_quoted, (*passed_over, *strange)))
            repair += f", or say that these hold nothing that counts: --set 'prepare.other_columns=[{quoted}]'"
        elif not missing and (spare := _spare(meaning)):
            repair += (
                f", or let one of them be: --set 'prepare.other_columns=[{', '.join(map(_quoted, (*passed_over, *spare)))}]'"
            )
        raise RecipeError(
            f"{where}: {'; '.join(problems)}; expected a header with {', '.join(required)}, and of {', '.join(known)}; "
            f"found {list(header)}; {repair}"
        )
    return Columns(meaning, tuple(unused), tuple({AGE} & set(unused) - passed_over))


def _ours(name: str) -> str:
    """Return what we call a column that others call so."""
    return _SAME.get(name) or _SAME.get(name.replace(" ", "_")) or name


def _is_unused(name: str) -> bool:
    return name in _UNUSED or name == "duration" or name.startswith("num_")


def _hint(name: str, known: Sequence[str]) -> str:
    guess = _HINTS.get(name, "")
    near = [guess] if guess in known else difflib.get_close_matches(name, _names(known), n=1) if len(name) > _LONG else []
    return f" (did you mean '{near[0]}'?)" if near else ""


def _names(known: Sequence[str]) -> list[str]:
    return [*known, *(name for name, ours in _SAME.items() if ours in known)]


def _quoted(name: str) -> str:
    return f'"{name}"'


def _spare(meaning: Mapping[str, str]) -> list[str]:
    """Return the columns that say what another says whose name is ours, or that comes first."""
    said: dict[str, str] = {}
    for name, ours in sorted(meaning.items(), key=lambda each: each[0] != each[1]):
        said.setdefault(ours, name)
    return [name for name, ours in meaning.items() if said[ours] != name]


def _doubles(header: Sequence[str], meaning: Mapping[str, str]) -> list[str]:
    found = [f"{header.count(name)} columns '{name}'" for name in dict.fromkeys(header) if header.count(name) > 1]
    for ours in dict.fromkeys(meaning.values()):
        names = [name for name, means in meaning.items() if means == ours]
        if len(names) > 1:
            found.append(f"columns {' and '.join(names)}, which both say {ours}")
    return found
