"""Kaldi's data folders: wav.scp, segments, utt2spk or spk2utt, and what else Kaldi's tools put beside them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from local.listing import notes, segments
from local.listing.contradictions import Values
from local.listing.files import Row, as_on_disk, fix_spaces, read_gender, read_text, relative_path, split_of
from local.listing.first_bytes import is_audio
from steps.core.errors import RecipeError
from steps.data.audio import AUDIO_SUFFIXES

WAV = "wav.scp"
READ = (WAV, "segments", "utt2spk", "spk2utt", "spk2gender", "utt2gender", "utt2sess", "utt2session", "reco2file_and_channel")
# Features, decisions about speech, texts, languages and lengths: features are computed here, and lengths are those of the audio.
NOT_USED = frozenset(
    {
        "feats.scp",
        "vad.scp",
        "cmvn.scp",
        "text",
        "utt2lang",
        "spk2lang",
        "utt2dur",
        "reco2dur",
        "utt2num_frames",
        "utt2num_samples",
    }
    | {"frame_shift", "utt2uniq", "utt2warp", "spk2age", "spk2accent", "stm", "glm", "ctm", "rttm", "spk2num", "num_utts"}
    | {"ivector.scp", "xvector.scp", "spk_ivector.scp", "spk_xvector.scp", "utt2snr", "lang", "README", "README.md"}
)
_CHECKED = ("spk2age", "utt2lang", "spk2lang")  # an id has one value here, too
_TRIALS = re.compile(r"trials|.*trials.*")
_NUM_FIELDS = {"segments": 4, "reco2file_and_channel": 3}  # of a line; 2 of all others
_NUM_SHOWN = 5

Pair = tuple[str, str, str]  # file:line, key, value


def folders(root: Path) -> dict[str, Path]:
    """Return name -> folder of what holds a wav.scp: the root ("."), or else folders of it or of its folder data.

    Kaldi's tools copy and combine; a folder `split<n>` holds parts of another and is none of its own.
    """
    if (root / WAV).is_file():
        return {".": root}
    found = sorted([*root.glob(f"*/{WAV}"), *root.glob(f"data/*/{WAV}")])
    return {path.parent.relative_to(root).as_posix(): path.parent for path in found}


def rows_of_folders(
    root: Path, audio_root: Path, replace_spaces: str, *, split: str, may_lack_speaker: bool = False
) -> list[Row]:
    """Return the rows of all of Kaldi's folders of a corpus; those called train, dev and test are its splits.

    Raises:
        RecipeError: what `rows_of_kaldi` refuses, or a folder whose name says no split where there are several.
    """
    found = folders(root)
    if set(found) == {"."}:
        return rows_of_kaldi(root, audio_root, replace_spaces, may_lack_speaker=may_lack_speaker)
    splits = {name: split_of(folder.name) for name, folder in found.items()}
    odd = [name for name in found if not splits[name]]
    if odd and split in ("auto", "folders"):
        raise RecipeError(
            f"{root}: wav.scp lies in {', '.join(found)}; expected one in {root}, or folders called train, dev and test; "
            f"found {', '.join(odd)}; give one of them with --data {found[odd[0]]}, rename or remove what is not meant, or add "
            "--set prepare.split=made to draw speakers of all of them"
        )
    given = split in ("auto", "folders")
    every = [path for folder in found.values() for _, _, path in _Data(folder, replace_spaces).pairs(WAV)]
    rows: list[Row] = []
    for name, folder in found.items():
        theirs = rows_of_kaldi(folder, audio_root, replace_spaces, every, may_lack_speaker=may_lack_speaker)
        rows += [replace(row, split=splits[name]) for row in theirs] if given else theirs
    return rows


def rows_of_kaldi(
    root: Path, audio_root: Path, replace_spaces: str = "", others: Sequence[str] = (), *, may_lack_speaker: bool = False
) -> list[Row]:
    """Return a row per utterance: per line of segments, or of wav.scp where there is no such file.

    Speakers are those of utt2spk, or of spk2utt, which must agree; genders of spk2gender or utt2gender; sessions of utt2sess.
    reco2file_and_channel says which channel of a file that several recordings share, or that is called as there, is meant.

    Args:
        root: the folder with wav.scp.
        audio_root: that the paths are relative to.
        replace_spaces: what blanks in names become; "": they stay.
        others: paths of other lists, for messages.
        may_lack_speaker: without utt2spk and spk2utt each utterance is a speaker of its own.

    Raises:
        RecipeError: commands instead of files, an utterance without speaker or recording, or the reverse, times that cannot be,
            or two files that contradict each other.
    """
    data = _Data(root, replace_spaces)
    speakers = data.own_speakers() if may_lack_speaker and not data.speaker_file().is_file() else data.speakers()
    genders = data.genders(speakers)
    for other in _CHECKED:
        data.values(other)
    sessions = data.sessions()
    recordings = _recordings(data, audio_root, others)
    rows = []
    for where, name, recording, (start, end), channel in _stretches(data, recordings):
        if name not in speakers:
            raise RecipeError(f"{where}: '{name}' has no speaker in {data.speaker_file()}; add a line there")
        speaker, (path, of_file) = speakers[name], recordings[recording]
        source, _, line = where.rpartition(":")
        row = Row(
            id=name, path=path, speaker=speaker, session=sessions.get(name, ""), start=start, end=end,
            gender=genders[name], channel=channel or of_file, source=source, line=int(line),
        )  # fmt: skip
        rows.append(row)
    missing = sorted(set(speakers) - {row.id for row in rows})
    if missing:
        lacks = root / ("segments" if (root / "segments").is_file() else WAV)
        raise RecipeError(
            f"{data.speaker_file()}: '{missing[0]}' has no audio in {lacks} ({len(missing)} such utterances of {len(speakers)}); "
            f"expected the same utterances in both; complete {lacks.name}, or remove the lines"
        )
    return rows


def remarks(root: Path, used: Sequence[str]) -> Iterator[tuple[bool, str]]:
    """Yield (as expected?, line) of the files beside each wav.scp that are not used; `used` are named by settings."""
    beside = sorted(path.parent for path in [*root.glob(f"*/{WAV}"), *root.glob(f"data/*/{WAV}")] if (root / WAV).is_file())
    if beside:
        yield False, f"{root / WAV} is read, and none of {', '.join(str(path / WAV) for path in beside[:_NUM_SHOWN])}"
    for folder in folders(root).values():
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        rest = [name for name in names if name not in READ and not any(Path(each).name == name for each in used)]
        trials = [name for name in rest if is_trial_list(name)]
        known = [name for name in rest if name in NOT_USED]
        strange = [name for name in rest if name not in trials and name not in known and not is_audio(folder / name)]
        if known:
            yield True, f"{folder}: not used, as features and lengths come from the audio: {', '.join(known)}"
        for name in trials:
            yield (
                False,
                f"{folder / name}: not used; for these trials add --set prepare.trials={(folder / name).relative_to(root)}",
            )
        if strange:
            yield False, f"{folder}: {len(strange)} other files are not read: {', '.join(strange)}"


def is_trial_list(name: str) -> bool:
    """Return whether a file is called as a list of trials, and not as audio."""
    return bool(_TRIALS.fullmatch(name)) and Path(name).suffix.lower() not in AUDIO_SUFFIXES


@dataclass(frozen=True)
class _Data:
    """The files of a folder; each id has one value in each of them."""

    root: Path
    replace_spaces: str

    def pairs(self, name: str) -> Iterator[Pair]:
        """Yield (file:line, key, value) of a file, with blanks replaced in the keys.

        Raises:
            RecipeError: a line without a value, or two values of one key.
        """
        path = self.root / name
        first: dict[str, tuple[str, str]] = {}
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            key, value = self._parted(name, line.strip())
            if not value:
                raise RecipeError(f"{path}:{number}: expected '<key> <value>', found {line!r}; correct the line")
            where, key = f"{path}:{number}", fix_spaces(key, self.replace_spaces)
            other, there = first.setdefault(key, (value, where))
            if other != value:
                raise RecipeError(
                    f"{where}: '{key}' is '{value[:60]}', and '{other[:60]}' in {there}; expected one value; "
                    "correct one of the lines"
                )
            if there == where:
                yield where, key, value

    def _parted(self, name: str, line: str) -> tuple[str, str]:
        """Return (key, value) of a line: blanks and tabs part them, but a name may hold blanks where tabs part all fields."""
        num_fields = _NUM_FIELDS.get(name, 2) if name != "spk2utt" or self.replace_spaces else len(line)
        by_tabs = [each.strip() for each in line.split("\t")]
        if 1 < num_fields <= len(by_tabs):
            return by_tabs[0], "\t".join(by_tabs[1:]).strip()
        key, *rest = line.split(None, 1)
        return key, "".join(rest)

    def values(self, name: str) -> dict[str, str]:
        """Return key -> value of a file, nothing where it is not there."""
        found = {key: value for _, key, value in self.pairs(name)} if (self.root / name).is_file() else {}
        return {key: fix_spaces(value, self.replace_spaces) for key, value in found.items()}

    def sessions(self) -> dict[str, str]:
        """Return utterance -> session, of the two names that such a file has."""
        values, found = Values(), {}
        for name in ("utt2sess", "utt2session"):
            for where, utterance, text in self.pairs(name) if (self.root / name).is_file() else ():
                found[utterance] = fix_spaces(text, self.replace_spaces)
                values.add("utterance", utterance, "session", found[utterance], where)
        values.check(str(self.root))
        return found

    def speaker_file(self) -> Path:
        """Return the file that says who speaks."""
        return self.root / ("utt2spk" if (self.root / "utt2spk").is_file() else "spk2utt")

    def own_speakers(self) -> dict[str, str]:
        """Return each utterance as its own speaker."""
        names = "segments" if (self.root / "segments").is_file() else WAV
        return {name: name for _, name, _ in self.pairs(names)}

    def speakers(self) -> dict[str, str]:
        """Return utterance -> speaker."""
        if not self.speaker_file().is_file():
            raise RecipeError(f"{self.root}: neither utt2spk nor spk2utt there; expected one of them beside {WAV}; add it")
        known, values = {}, Values()
        if (self.root / "utt2spk").is_file():
            for where, name, speaker in self.pairs("utt2spk"):
                known[name] = fix_spaces(speaker, self.replace_spaces)
                values.add("utterance", name, "speaker", known[name], where)
        has_both = bool(known) and (self.root / "spk2utt").is_file()
        of_speakers = {}
        for where, speaker, names in self.pairs("spk2utt") if (self.root / "spk2utt").is_file() else ():
            for name in names.split():
                of_speakers[name] = speaker
                values.add("utterance", name, "speaker", speaker, where)
        values.check(str(self.root))
        odd = sorted(known.keys() ^ of_speakers.keys()) if has_both else []
        if odd:
            lacks = "spk2utt" if odd[0] in known else "utt2spk"
            raise RecipeError(
                f"{self.root / lacks}: '{odd[0]}' is not there, but in the other of utt2spk and spk2utt ({len(odd)} such); "
                "expected the same in both; make spk2utt anew (Kaldi: utils/utt2spk_to_spk2utt.pl), or remove it"
            )
        return known or of_speakers

    def genders(self, speakers: Mapping[str, str]) -> dict[str, str]:
        """Return utterance -> gender, of its own or of its speaker. Raises RecipeError where these differ."""
        values, of_speakers = Values(), {}
        for where, name, text in self.pairs("spk2gender") if (self.root / "spk2gender").is_file() else ():
            of_speakers[name] = read_gender(text, where)
            values.add("speaker", name, "gender", of_speakers[name], where)
        found = {name: of_speakers.get(speaker, "") for name, speaker in speakers.items()}
        for where, name, text in self.pairs("utt2gender") if (self.root / "utt2gender").is_file() else ():
            gender = read_gender(text, where)
            found[name] = found.get(name) or gender
            values.add("speaker", speakers.get(name, name), "gender", gender, where)
        values.check(str(self.root))
        strange = sorted(of_speakers.keys() - set(speakers.values()))
        if strange:
            shown = ", ".join(strange[:_NUM_SHOWN])
            text = f"{len(strange)} of its speakers have no utterance, first {shown}"
            notes.say(f"{self.root / 'spk2gender'}: {text}", is_expected=False)
        return found


def _recordings(data: _Data, audio_root: Path, others: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return recording -> (path, channel from 1 on; 0: none is given)."""
    lines, paths = list(data.pairs(WAV)), {}
    every = [*others, *(value for _, _, value in lines)]
    for where, name, value in lines:
        if value.endswith("|"):
            raise RecipeError(
                f"{where}: '{name}' is a command ({value[:60]}); expected the name of a file, as commands of others are not "
                "run here; write the audio to files (Kaldi: wav-copy) and name these"
            )
        if re.search(r"\.ark:\d+$", value):
            raise RecipeError(
                f"{where}: '{name}' lies within an archive ({value[:60]}); expected the name of a file; write the audio to files "
                "(Kaldi: wav-copy)"
            )
        path = relative_path(value, audio_root, where, every)
        paths[name] = as_on_disk(path, audio_root)
    channels = _channels(data, paths)
    return {name: (path, channels.get(name, 0)) for name, path in paths.items()}


def _channels(data: _Data, paths: Mapping[str, str]) -> dict[str, int]:
    """Return the channel of each recording, where it is one of the file that wav.scp names.

    Kaldi's file names what was recorded, of which wav.scp may name a copy of one channel: then nothing is to be chosen.
    """
    if not (data.root / "reco2file_and_channel").is_file():
        return {}
    times = Counter(paths.values())
    wheres, names, texts, others = [], [], [], []
    for where, name, value in data.pairs("reco2file_and_channel"):
        file, channel = value.split()[0], value.split()[-1]
        if len(value.split()) < 2:
            raise RecipeError(f"{where}: expected '<recording> <file> <channel>', found '{name} {value}'; correct the line")
        path = paths.get(name, "")
        if path and (times[path] > 1 or Path(file).name in (Path(path).name, Path(path).stem)):
            wheres.append(where)
            names.append(name)
            texts.append(channel)
        elif path and channel not in ("A", "1"):
            others.append(f"{name}: channel {channel} of {file}, {path} in {WAV}")
    if others:
        notes.say(
            f"{data.root / 'reco2file_and_channel'}: the channel of {len(others)} recordings is not used, as {WAV} names other "
            f"files for them, which are taken to hold that channel alone, first {others[0]}",
            is_expected=False,
        )
    found, from_zero = segments.channels(texts, wheres)
    if from_zero:
        notes.say(f"{data.root / 'reco2file_and_channel'}: channels count from 0, as a 0 is among them", is_expected=False)
    return dict(zip(names, found, strict=True))


def _stretches(
    data: _Data, recordings: Mapping[str, tuple[str, int]]
) -> Iterator[tuple[str, str, str, tuple[float, float], int]]:
    """Yield (file:line, utterance, recording, (start, end), channel) of segments, or the whole recordings."""
    if not (data.root / "segments").is_file():
        for where, name, _ in data.pairs(WAV):
            yield where, name, name, (0.0, 0.0), 0
        return
    used, counted = set(), set()
    for where, name, value in data.pairs("segments"):
        recording, *times = value.split()
        if len(times) not in (2, 3):
            raise RecipeError(
                f"{where}: expected '<utterance> <recording> <start> <end>', found '{name} {value}'; correct the line"
            )
        recording = fix_spaces(recording, data.replace_spaces)
        if recording not in recordings:
            raise RecipeError(f"{where}: recording '{recording}' is not in {data.root / WAV}; add it there, or remove the line")
        used.add(recording)
        # Kaldi's extract-segments takes a fifth field for the channel, which it counts from 0.
        channel = segments.channel_from_zero(times[2], where) if len(times) == 3 else 0
        counted.add(channel)
        yield where, name, recording, segments.stretch(where, start=times[0], end=times[1]), channel
    if max(counted, default=0) > 1 and 1 not in counted:
        text = "no line has channel 0, which is the first one, as Kaldi's extract-segments counts them"
        notes.say(f"{data.root / 'segments'}: {text}", is_expected=False)
    idle = sorted(recordings.keys() - used)
    if idle:
        text = f"{len(idle)} of {len(recordings)} recordings of {WAV} have no segment and are not used"
        notes.say(f"{data.root / 'segments'}: {text}, first {', '.join(idle[:_NUM_SHOWN])}", is_expected=False)
