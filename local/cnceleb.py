"""Corpus "cnceleb": CN-Celeb 1 and 2 as distributed, with the published trials of CN-Celeb 1.

<root>/CN-Celeb_flac/{data/<speaker>/<genre>-<session>-<number>.flac, dev/dev.lst, eval/{enroll,test}/*.flac, eval/lists/*} and
<root>/CN-Celeb2_flac/{data/<speaker>/*.flac, spk.lst}. Trained on are the speakers of dev.lst and of spk.lst. A speaker is
enrolled with one file that joins several recordings (eval/enroll), or with these themselves (eval/lists/enroll.map).
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from local.listing.corpus import UNIT_SETTINGS, changed, inventory, list_units, lost, merge, prepare_unit, recover
from local.listing.documented import Compared, Counts, compare, table
from local.listing.files import Row, audio_files, read_text, without_suffix
from local.listing.published import PublishedSettings, subfolders
from steps.core.errors import RecipeError
from steps.data.enrolment import Models, model_speakers
from steps.data.manifests import Utterance
from steps.data.trials import Trials, check_known

__all__ = ["UNIT_SETTINGS", "Settings", "changed", "inventory", "list_units", "lost", "merge", "prepare_unit", "recover"]

# Counted by others in the second version of CN-Celeb 1; for its dev speakers and CN-Celeb 2 no count is sure.
DOCUMENTED: Mapping[str, Counts] = {
    "eval/enroll": Counts(speakers=196, utterances=196),
    "eval/test": Counts(speakers=200, utterances=17_777),
}
TRIALS = Counts(trials=3_484_292, targets=17_755)

_LISTS = Path("eval") / "lists"
_LIST_NAMES = {"concatenated": "cnc_eval_concat", "utterances": "cnc_eval_avg"}
_LOG = logging.getLogger("prepare")  # the stage's, which shows also what is no warning
_SESSION = re.compile(r"(.+)-\d+")  # <genre>-<session>-<number of the recording>
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Settings(PublishedSettings):
    """Where CN-Celeb lies, what is trained on, and how speakers are enrolled."""

    SPLITS: ClassVar[tuple[str, ...]] = ("published", "test", "all")
    TYPE: ClassVar[str] = "cnceleb"
    DOCUMENTED: ClassVar[Mapping[str, Counts]] = DOCUMENTED
    HAS_TRIALS: ClassVar[bool] = True

    type: str = "cnceleb"  # the word that chooses this corpus
    corpus: str = "cnceleb"  # name of the corpus, for people
    train: str = "both"  # "cnceleb1" (its dev speakers), "cnceleb2" or "both"
    # "concatenated" (one joined file of each speaker, list cnc_eval_concat) or "utterances" (the recordings that it joins, as a
    # model of several utterances, list cnc_eval_avg)
    enrol: str = "concatenated"
    made_trials: tuple[str, ...] = ()  # besides the published list: balanced, extended, all_pairs
    min_utterances: int = 1  # of each speaker
    sampling_rate: int = 16000  # Hz that is expected; 0 = any

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("train", ("cnceleb1", "cnceleb2", "both")), ("enrol", tuple(_LIST_NAMES))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found '{getattr(self, name)}'")

    def part(self, row: Row) -> str:
        """Return eval/enroll, eval/test, or the corpus of a training recording."""
        folder = row.id.rpartition("/")[0]
        return f"eval/{folder}" if folder in ("enroll", "test") else f"{row.corpus} {row.split}"

    def rows(self, root: Path, site: Mapping[str, str]) -> tuple[str, Path, list[Row]]:
        """Return a row per recording that is trained on, tested or enrolled."""
        first = find_first(root)
        rows = _eval_rows(root, first, "test")
        if self.enrol == "concatenated":
            rows += _eval_rows(root, first, "enroll")
        else:
            wanted = {name for names in _models(first).values() for name in names}
            rows += _data_rows(root, first, "cnceleb1", {name.partition("/")[0] for name in wanted}, "test", wanted)
        if self.split != "test" and self.train != "cnceleb2":
            rows += _data_rows(root, first, "cnceleb1", _listed(first / "dev" / "dev.lst"), "train")
        if self.split != "test" and self.train != "cnceleb1":
            second = _find_second(root)
            rows += _data_rows(root, second, "cnceleb2", _listed(second / "spk.lst"), "train")
        return self.root_name, root, rows

    def own_lists(self, root: Path) -> dict[str, Path]:
        """Return the files of the published trials and enrolments."""
        names = ("trials.lst", "enroll.lst") if self.enrol == "concatenated" else ("trials.lst", "enroll.map")
        return {name: find_first(root) / _LISTS / name for name in names}

    def own_trials(self, root: Path, test: list[Utterance]) -> tuple[dict[str, Trials], dict[str, Models]]:
        """Return the published trials, of joined files or of models of several utterances."""
        first, name = find_first(root), _LIST_NAMES[self.enrol]
        path = first / _LISTS / "trials.lst"
        models = _models(first) if self.enrol == "utterances" else {}
        ids = {model: model for model in models} or _enrolment_files(first / _LISTS / "enroll.lst")
        columns = _read_trials(path, ids)
        speakers = {each.id: each.speaker for each in test}
        trials = Trials(*columns)
        of_side = speakers | model_speakers(models, speakers, str(first / _LISTS / "enroll.map"))
        check_known(trials, of_side, str(path))
        pairs = zip(trials.enrol_ids, trials.test_ids, strict=True)
        wrong = np.flatnonzero(np.fromiter((of_side[a] == of_side[b] for a, b in pairs), bool) != trials.is_target)
        if len(wrong):
            raise RecipeError(
                f"{path}: {len(wrong)} of {len(trials)} labels contradict the speakers; first, {trials.enrol_ids[wrong[0]]} and "
                f"{trials.test_ids[wrong[0]]}; expected 1 = the same speaker; give the published list"
            )
        found = Counts(trials=len(trials), targets=trials.num_target)
        is_equal, text = compare(found, TRIALS)
        if not is_equal and self.wrong_counts == "refuse":
            raise RecipeError(f"{path}: is not the published list: {text}; give that one, or add --set prepare.wrong_counts=warn")
        meaning = "as documented" if is_equal else "this is not the published list"
        for line in table([Compared(name=path.name, found=found, known=TRIALS, meaning=meaning)]):
            _LOG.log(logging.INFO if is_equal else logging.WARNING, "%s", line[1])
        return {name: trials}, {name: models} if models else {}


def find_first(root: Path) -> Path:
    """Return the folder of CN-Celeb 1: the root, or one in it."""
    found = [folder for folder in (root, *subfolders(root)) if (folder / _LISTS / "trials.lst").is_file()]
    if not found:
        raise RecipeError(
            f"{root}: no {_LISTS}/trials.lst below it; expected CN-Celeb 1 as {root}/CN-Celeb_flac (data, dev, eval); give its "
            "folder with --data DIR, or fetch it with python -m steps.download cnceleb --to DIR"
        )
    return found[0]


def _find_second(root: Path) -> Path:
    found = [folder for folder in subfolders(root) if (folder / "spk.lst").is_file()]
    if not found:
        raise RecipeError(
            f"{root}: no folder with spk.lst in it; expected CN-Celeb 2 as {root}/CN-Celeb2_flac (data, spk.lst) beside "
            "CN-Celeb 1; put it or a link to it there, or add --set prepare.train=cnceleb1"
        )
    return found[0]


def _eval_rows(root: Path, first: Path, kind: str) -> list[Row]:
    """Return the recordings of eval/enroll or eval/test, <speaker>-....flac; ids `<kind>/<name>`."""
    prefix, rows = (first / "eval" / kind).relative_to(root).as_posix(), []
    for path in audio_files(first / "eval" / kind) if (first / "eval" / kind).is_dir() else ():
        speaker, _, rest = without_suffix(path).partition("-")
        row_id = f"{kind}/{without_suffix(path)}"
        rows.append(
            Row(id=row_id, path=f"{prefix}/{path}", speaker=speaker, session=_session(rest), corpus="cnceleb1", split="test")
        )
    if not rows:
        raise RecipeError(f"{first / 'eval' / kind}: no audio file there; expected the recordings of CN-Celeb's {kind} set")
    return rows


def _data_rows(
    root: Path, top: Path, corpus: str, speakers: Iterable[str], split: str, only: Iterable[str] | None = None
) -> list[Row]:
    """Return the recordings of these speakers below data/ (of them `only` those ids); ids `<speaker>/<name>`."""
    speakers, wanted = set(speakers), None if only is None else set(only)
    prefix, rows = f"{(top / 'data').relative_to(root).as_posix()}/", []
    for speaker in sorted(speakers):
        folder = top / "data" / speaker
        for path in audio_files(folder) if folder.is_dir() else ():
            name = without_suffix(path)
            if wanted is None or f"{speaker}/{name}" in wanted:
                row = Row(id=f"{speaker}/{name}", path=f"{prefix}{speaker}/{path}", speaker=speaker, session=_session(name))
                rows.append(_with(row, corpus, split))
    missing = sorted((wanted or speakers) - {row.id if wanted else row.speaker for row in rows})
    if missing:
        raise RecipeError(
            f"{top / 'data'}: {len(missing)} of {len(wanted or speakers)} {'recordings' if wanted else 'speakers'} that the "
            f"lists name have no audio: {', '.join(missing[:_NUM_SHOWN])}{', ...' if len(missing) > _NUM_SHOWN else ''}; "
            "unpack the corpus again"
        )
    return rows


def _with(row: Row, corpus: str, split: str) -> Row:
    return Row(id=row.id, path=row.path, speaker=row.speaker, session=row.session, corpus=corpus, split=split)


def _session(name: str) -> str:
    """Return <genre>-<session> of a recording's name."""
    match = _SESSION.fullmatch(name)
    return match[1] if match else name


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (file:line, words) of the lines that are not empty."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            yield f"{path}:{number}", line.split()


def _listed(path: Path) -> list[str]:
    return [words[0] for _, words in _lines(path)]


def _enrolment_files(path: Path) -> dict[str, str]:
    """Return name of an enrolment -> id of its joined file, of enroll.lst: lines `id00800-enroll enroll/id00800-enroll.wav`."""
    files: dict[str, str] = {}
    for where, words in _lines(path):
        if len(words) != 2 or files.get(words[0], without_suffix(words[1])) != without_suffix(words[1]):
            raise RecipeError(
                f"{where}: expected '<enrolment> <file>', each once, found {' '.join(words)!r}; give the published list"
            )
        files[words[0]] = without_suffix(words[1])
    return files


def _models(first: Path) -> Models:
    """Return name of an enrolment -> ids of its recordings, of enroll.map: lines `id00800-enroll id00800/a.wav id00800/b.wav`."""
    models: dict[str, tuple[str, ...]] = {}
    for where, (name, *files) in _lines(first / _LISTS / "enroll.map"):
        if not files or name in models:
            raise RecipeError(f"{where}: expected '<enrolment> <recording> ...', each once; give the published list")
        models[name] = tuple(dict.fromkeys(without_suffix(each).removeprefix("data/") for each in files))
    return models


def _read_trials(path: Path, enrolments: Mapping[str, str]) -> tuple[list[str], list[str], np.ndarray]:
    """Return (enrolment ids, test ids, is target) of trials.lst: lines `id00800-enroll test/id00800-singing-01-001.wav 1`."""
    enrol_ids, test_ids, is_target = [], [], []
    plain = cache(without_suffix)  # millions of lines name a few thousand recordings
    for where, words in _lines(path):
        if len(words) != 3 or words[2] not in ("0", "1") or words[0] not in enrolments:
            known = "" if words[0] in enrolments else f"; '{words[0]}' is enrolled nowhere"
            raise RecipeError(f"{where}: expected '<enrolment> <test file> <1 or 0>', found {' '.join(words)!r}{known}")
        enrol_ids.append(enrolments[words[0]])
        test_ids.append(plain(words[1]))
        is_target.append(words[2] == "1")
    return enrol_ids, test_ids, np.array(is_target, dtype=bool)
