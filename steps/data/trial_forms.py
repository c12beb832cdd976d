"""How trial lists are written: which field of a line says what, told from the first lines of a file.

Fields with blanks or tabs between them, a label before or behind the two ids (VoxCeleb, Kaldi, SITW, CN-Celeb), or none
(blind lists, `-` for a label in what stage 1 writes); and tables: CSV or TSV with a header (NIST SRE, SdSV) or without
one, and ESPnet's `<enrolment id>*<test id> <label>`.
Suffixes: L lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError
from steps.data.columns import Block, decode, first_lines, read_blocks

WHAT = "trial list"
FORMS = (
    "'<1|0> <enrolment id> <test id>', '<enrolment id> <test id> <1|0|target|nontarget|tgt|imp>', '<enrolment id> <test id>' "
    "without labels, or CSV or TSV whose header names the columns (enrol, test, label); one form per file"
)
MALFORMED = "{path}:{number}: malformed trial {line!r}; expected " + FORMS + "; correct the line"
NO_LABEL = "-"  # where a label would stand, in lists that stage 1 writes of lists without labels

_SAMPLE = 100  # lines that must agree where the first one could be read in two ways
_NUM_SHOWN = 100  # letters of a line that is none
_NUMBERS = {"1": True, "0": False}
_SAME = ("target", "tgt", "true", "same", "genuine", "positive")
_OTHER = (
    "nontarget", "imp", "non", "non-target", "nontgt", "impostor", "imposter", "false", "different", "diff", "negative",
)  # fmt: skip
_WORDS = {text: word in _SAME for word in (*_SAME, *_OTHER) for text in (word, word.capitalize(), word.upper())}
_IN_TABLES = _NUMBERS | {"1.0": True, "0.0": False} | {word: word in _SAME for word in (*_SAME, *_OTHER)}
_SPOOFED = ("spoof", "bonafide", "bona-fide")

_OF_ONE_SIDE = ("", "id", "utt", "utterance", "file", "filename", "path", "wav", "audio", "seg", "segment", "recording")
_ENROL = {f"{stem}{end}" for stem in ("enrol", "enroll", "enrolment", "enrollment", "reference", "model") for end in _OF_ONE_SIDE}
_ENROL |= {f"{stem}1" for stem in _OF_ONE_SIDE if stem} | {"ref", "enrollmentfileid", "enrollfileid"}
_TEST = {f"{stem}{end}" for stem in ("test", "probe", "verify") for end in _OF_ONE_SIDE} | {"segment", "segmentid", "testfileid"}
_TEST |= {f"{stem}2" for stem in _OF_ONE_SIDE if stem} | {"evaluationfileid", "evalfileid", "evaluationid", "evaluation"}
_LABEL = {
    "samespeaker",
    "issamespeaker",
    "label",
    "labels",
    "target",
    "targettype",
    "istarget",
    "trialtype",
    "key",
    "truth",
    "groundtruth",
    "same",
    "issame",
}
_MEANINGS = {name: "enrol" for name in _ENROL} | {name: "test" for name in _TEST} | {name: "label" for name in _LABEL}
_MEANINGS |= {"side": "side", "channel": "side"}
ONE_CHANNEL = ("", "-", "a", "1", "x")  # what a column `side` says of files that have one


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Lines of as many fields each, blanks or tabs between them."""

    text: str  # as its lines look
    enrol: int  # column of the enrolment id; that of the test id is the next
    label: int | None = None  # column; None: there are no labels
    labels: Mapping[str, bool | None] = field(default_factory=dict)  # label -> target trial?; None: not known

    @property
    def num_fields(self) -> int:
        """Of a line."""
        return 2 if self.label is None else 3

    def fits(self, words: list[str]) -> bool:
        """Whether a line, as its words, is of this form."""
        return len(words) == self.num_fields and (self.label is None or words[self.label] in self.labels)

    def blocks(self, path: Path) -> Iterator[tuple[Block, np.ndarray | None]]:
        """Yield (lines, whether each is a target trial [L], or None where there are no labels) of a file.

        Raises:
            RecipeError: a malformed line, or one of another form.
        """
        for block in read_blocks(path, WHAT, self.num_fields, MALFORMED):
            yield block, self._truths(block)

    def _truths(self, block: Block) -> np.ndarray | None:
        if self.label is None:
            return None
        start_L, known_L = block.start_LF[:, self.label], np.zeros(len(block), dtype=bool)
        length_L, truth_L = block.end_LF[:, self.label] - start_L, np.zeros(len(block), dtype=bool)
        for text, truth in self.labels.items():
            fits_L = length_L == len(text)
            for place, letter in enumerate(text.encode()):
                fits_L &= block.bytes_B[start_L + place] == letter
            truth_L[fits_L] = bool(truth)
            known_L |= fits_L
            if known_L.all():
                return None if truth is None else truth_L
        self._refuse(block, int((~known_L).argmax()))
        return None

    def _refuse(self, block: Block, bad: int) -> None:
        line = block.line(bad)
        note = f" (the lines above have the form '{self.text}')" if any(form.fits(line.split()) for form in _LINES) else ""
        raise RecipeError(
            MALFORMED.format(path=block.path, number=block.number_L[bad], line=line).replace("; correct", f"{note}; correct")
            + _about_spoofs(line.split())
        )


# In the order in which they are tried on a first line that could be of several.
_LINES = (
    Lines(text="<enrolment id> <test id> <target|nontarget>", enrol=0, label=2, labels=_WORDS),
    Lines(text="<1|0> <enrolment id> <test id>", enrol=1, label=0, labels=_NUMBERS),
    Lines(text="<enrolment id> <test id> <1|0>", enrol=0, label=2, labels=_NUMBERS),
    Lines(text="<target|nontarget> <enrolment id> <test id>", enrol=1, label=0, labels=_WORDS),
    Lines(text="- <enrolment id> <test id>", enrol=1, label=0, labels={NO_LABEL: None}),
    Lines(text="<enrolment id> <test id>", enrol=0),
)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Lines whose columns a header names, or that have other marks than blanks between fields; read one by one."""

    delimiter: str  # "": blanks
    columns: Mapping[str, int]  # "enrol", "test" and perhaps "label" and "side" -> column
    num_fields: int
    has_header: bool
    sides: tuple[str, ...] = ()  # what the header calls the columns of enrolment and test
    unused: tuple[str, ...] = ()  # names of columns that say nothing about a trial's sides or truth
    joined: bool = False  # the two ids are one field, with an asterisk between them (ESPnet)

    def rows(self, path: Path) -> Iterator[tuple[int, str, str, bool | None]]:
        """Yield (line, enrolment id, test id, whether it is a target trial, None where there are no labels).

        Raises:
            RecipeError: a line with another number of fields, an unknown label, or a trial of a second channel.
        """
        has_header = self.has_header
        for number, line in _numbered(path):
            if has_header:
                has_header = False
                continue
            fields = _fields(line, self.delimiter)
            if self.joined and len(fields) == self.num_fields and fields[0].count("*") == 1:
                fields = [*fields[0].split("*"), *fields[1:]]
            yield number, *self._values(fields, f"{path}:{number}", line)

    def _values(self, fields: list[str], where: str, line: str) -> tuple[str, str, bool | None]:
        values = {name: fields[column] for name, column in self.columns.items() if column < len(fields)}
        if len(fields) != self.num_fields + self.joined or not all(values[name] for name in self.columns if name != "side"):
            blind = values.get("label") == "" and len(fields) == self.num_fields
            raise RecipeError(
                f"{where}: malformed trial {line!r}; expected {self.num_fields} fields, none of them empty, as in the lines "
                f"above; correct the line{', or, if no trial has a label, remove that column' * blind}"
            )
        label, side = values.get("label"), values.get("side", "")
        if label is not None and label.lower() not in _IN_TABLES:
            raise RecipeError(
                f"{where}: label {label!r} in {line!r}; expected 1 or 0, target or nontarget, tgt or imp, true or false; correct "
                f"the line{_about_spoofs(fields)}"
            )
        if side.lower() not in ONE_CHANNEL:
            raise RecipeError(
                f"{where}: side {side!r} in {line!r}; expected 'a' throughout, as test utterances have one channel here; give "
                "each channel as an utterance of its own"
            )
        return values["enrol"], values["test"], None if label is None else _IN_TABLES[label.lower()]


def form_of(path: Path) -> Lines | Table:
    """Return how a list is written, told from its first lines.

    Raises:
        RecipeError: no such file, no text, or a first line that is of no form.
    """
    sample = first_lines(path, WHAT, _SAMPLE)
    if not sample:
        return _LINES[1]  # whoever reads it says that it is empty
    number, line = sample[0][0], decode(path, sample[0][1], WHAT).strip()
    if line.startswith(("{", "[")) and '"' in line:
        text = MALFORMED.format(path=path, number=number, line=f"{line[:_NUM_SHOWN]}{'...' * (len(line) > _NUM_SHOWN)}")
        raise RecipeError(f"{text} (JSON is not read: write a table)")
    words = [each.decode(errors="replace").split() for _, each in sample]
    fitting = [form for form in _LINES if form.fits(words[0])]
    plain = next((form for form in fitting if all(map(form.fits, words))), fitting[0] if fitting else None)
    # Recordings may be called as columns are: alone, or named again below, such a line is a trial.
    is_trial = plain is not None and (
        len(sample) == 1 or any({*words[0]} & {*each} - _LABEL - _IN_TABLES.keys() for each in words[1:])
    )
    table = (None if is_trial else _with_header(path, line)) or _joined(line)
    if table is not None:
        _check_truths(path, table, [decode(path, each, WHAT).strip() for _, each in sample[1:]])
        return table
    found = _headless(path, line, plain is not None) or plain
    if found is None:
        text = MALFORMED.format(path=path, number=number, line=line)
        raise RecipeError(text + _about_spoofs(line.split()) + _about_headers(line) + _about_models(line.split()))
    return found


def has_labels(path: Path) -> bool:
    """Return whether a list says which trials are target trials; raises RecipeError as `form_of`."""
    form = form_of(path)
    return "label" in form.columns if isinstance(form, Table) else form.label is not None and None not in form.labels.values()


def _with_header(path: Path, line: str) -> Table | None:
    for delimiter in ("\t", ",", ";", ""):
        names = _fields(line, delimiter) if not delimiter or delimiter in line else []
        meanings = [None if re.search(r"[./\\]", name) else _MEANINGS.get(re.sub(r"[\W_]", "", name.lower())) for name in names]
        if "enrol" not in meanings or "test" not in meanings:
            continue
        double = next((each for each in ("enrol", "test", "label", "side") if meanings.count(each) > 1), None)
        if double:
            both = [name for name, meaning in zip(names, meanings, strict=True) if meaning == double]
            raise RecipeError(
                f"{path}:1: columns {' and '.join(map(repr, both))} both say '{double}'; expected one; remove the other"
            )
        columns = {meaning: column for column, meaning in enumerate(meanings) if meaning}
        unused = tuple(name for name, meaning in zip(names, meanings, strict=True) if not meaning)
        sides = tuple(names[columns[name]] for name in ("enrol", "test"))
        return Table(delimiter=delimiter, columns=columns, num_fields=len(names), has_header=True, sides=sides, unused=unused)
    return None


def _check_truths(path: Path, table: Table, lines: list[str]) -> None:
    """Raise a RecipeError if a column that nobody knows holds what labels are, and no other is the label."""
    if "label" in table.columns or not table.unused:
        return
    names = _fields(decode(path, first_lines(path, WHAT, 1)[0][1], WHAT).strip(), table.delimiter)
    rows = [fields for fields in (_fields(line, table.delimiter) for line in lines) if len(fields) == len(names)]
    for name in filter(None, table.unused):
        values = {fields[names.index(name)].lower() for fields in rows}
        if values and values <= _IN_TABLES.keys():
            raise RecipeError(
                f"{path}:1: column '{name}' says {' and '.join(sorted(values))}, as labels do, and there is no column 'label'; "
                "expected it named so, or none; call it 'label' if it says which trials are target trials, else remove it"
            )


def _joined(line: str) -> Table | None:
    words = line.split()
    if len(words) == 2 and words[0].count("*") == 1 and words[1].lower() in _IN_TABLES:
        return Table(delimiter="", columns={"enrol": 0, "test": 1, "label": 2}, num_fields=2, has_header=False, joined=True)
    return None


def _headless(path: Path, line: str, is_plain: bool) -> Table | None:
    """A CSV or TSV without a header: two ids, or a label before or behind them."""
    for delimiter, suffix in (("\t", ".tsv"), (",", ".csv"), (";", ".csv")):
        fields = _fields(line, delimiter) if delimiter in line else []
        if len(fields) not in (2, 3) or (is_plain and (path.suffix.lower() != suffix or fields == line.split())):
            continue
        labels = [place for place in (0, 2) if len(fields) == 3 and fields[place].lower() in _IN_TABLES]
        if len(fields) == 3 and not labels:
            continue
        first = 1 if labels[:1] == [0] else 0
        columns = {"enrol": first, "test": first + 1} | ({"label": labels[0]} if labels else {})
        return Table(delimiter=delimiter, columns=columns, num_fields=len(fields), has_header=False)
    return None


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: {WHAT} cannot be read as UTF-8 text ({error}); give another file") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def _fields(line: str, delimiter: str) -> list[str]:
    if not delimiter:
        return line.split()
    try:
        return [value.strip() for value in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:  # a field that is longer than any name
        return [line]


def _about_spoofs(words: list[str]) -> str:
    found = [word for word in words if word.lower() in _SPOOFED]
    return f" (trials of spoofed speech, '{found[0]}', are not scored here: leave them out, and the column)" if found else ""


def _about_models(words: list[str]) -> str:
    labels = {word.lower() for word in words} & {*_IN_TABLES, *_SPOOFED}
    return " (if it is of models and their utterances: --set prepare.enrolment=FILE)" if len(words) > 2 and not labels else ""


def _about_headers(line: str) -> str:
    names = [name.lower() for name in re.split(r"[\s,;]+", line)]
    return " (if it is a header: name the columns enrol, test and label)" if _LABEL & {*names} else ""
