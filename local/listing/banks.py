"""Banks of noises, music and rooms: which files of a folder such as MUSAN or RIRS_NOISES belong to one, how likely each is."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from local.listing import first_bytes, notes
from local.listing.documented import Compared, Counts, table
from local.listing.files import Row, fix_spaces, read_text, without_suffix
from steps.core.errors import RecipeError
from steps.data.manifests import Utterance

# Kaldi's lists, beside the sounds: RIRS_NOISES has rooms and noises in one folder.
LISTS = {"rir": "rir_list", "noise": "noise_list"}
# Files of MUSAN by bank, with what their names begin with, and of each size of simulated room in RIRS_NOISES; counted by others.
MUSAN = {"noise": ("noise-", 930), "music": ("music-", 660), "babble": ("speech-", 426)}
ROOMS, NUM_ROOMS = "simulated_rirs/", 20_000

_NUM_SHOWN = 5


def rows_of(bank: str, root: Path, subfolders: Iterable[str], *, replace_spaces: str = "", named: bool, advice: str) -> list[Row]:
    """Return a row per audio file of a bank, sorted by path; each is its own speaker. Kaldi's lists choose, see `only_listed`.

    Several folders of rooms are equally likely, however many rooms each has, as in Kaldi's egs/voxceleb/v2/run.sh ("0.5, ..." for
    small and for medium rooms); all sounds of another bank are, whatever their folder, but for what its lists say.

    Args:
        bank: "noise", "music", "rir" or "babble".
        root: that the paths are relative to.
        subfolders: of the root that belong to the bank; "" = the root itself.
        replace_spaces: what blanks in ids become; "": they stay.
        named: ids begin with the name of their subfolder, as rooms are numbered in each anew; else they are below it.
        advice: what to do where a subfolder has no audio.

    Raises:
        RecipeError: a subfolder without audio, or a list that does not fit.
    """
    parts: list[list[Row]] = []
    for subfolder in (name.strip("/") for name in subfolders):
        found = rows_of_bank(root, subfolder, replace_spaces)
        if not found:
            raise RecipeError(f"{root / subfolder}: no audio file for the set '{bank}'; {advice}")
        found = only_listed(root, subfolder, found, LISTS[bank]) if bank in LISTS else found
        if named:
            names = [f"{subfolder.rpartition('/')[2]}/{row.id}" for row in found]
            found = [replace(row, id=name, speaker=name) for row, name in zip(found, names, strict=True)]
        parts.append(found)
    return sorted(_shared_out(bank, parts), key=lambda row: row.path)


def remarks(sets: Mapping[str, Sequence[Utterance]]) -> list[tuple[bool, str]]:
    """Return (as expected?, line): a table of the banks; one of MUSAN or of RIRS_NOISES with the documented number of files."""
    lines = []
    for bank, sounds in sets.items():
        known = _documented(bank, sounds)
        meaning = "" if known is None else "as documented" if known == len(sounds) else "not the documented number"
        found, expected = Counts(utterances=len(sounds)), Counts(utterances=known)
        lines.append(Compared(name=f"set {bank}", found=found, known=expected, meaning=meaning))
    return table(lines) if lines else []


def _documented(bank: str, sounds: Sequence[Utterance]) -> int | None:
    prefix, num = MUSAN.get(bank, ("", 0))
    if prefix and all(each.id.rpartition("/")[2].startswith(prefix) for each in sounds):
        return num
    if bank == "rir" and all(each.path.startswith(ROOMS) for each in sounds):
        return NUM_ROOMS * len({each.path.split("/")[1] for each in sounds})
    return None


def rows_of_bank(root: Path, subfolder: str, replace_spaces: str) -> list[Row]:
    """Return a row per audio file below a subfolder; ids are below the subfolder."""
    folder, rows = root / subfolder, []
    if not folder.is_dir():
        return rows
    found = first_bytes.files_of(folder)
    for is_expected, text in found.remarks(f"{folder}: "):
        if not is_expected:
            notes.say(text, is_expected=False)
    for path in found.read:
        name = fix_spaces(without_suffix(path), replace_spaces)
        rows.append(Row(id=name, path=f"{subfolder}/{path}" if subfolder else path, speaker=name))
    return rows


def only_listed(root: Path, subfolder: str, rows: Iterable[Row], list_name: str) -> list[Row]:
    """Return the rows that the lists of that name in a subfolder name, and those of folders that have no such list.

    A line is `--rir-id <id> --room-id <id> [--probability <p>] RIRS_NOISES/...wav`: the path begins in the folder above the
    root. Where some have a probability, each row has its share of the draws, see `shares`, and those of none are left out.

    Raises:
        RecipeError: a line without a path, a command instead of a path, a bad probability, or a file that is not there.
    """
    listed = {
        path.parent.relative_to(root).as_posix(): _listed(path, root) for path in sorted((root / subfolder).rglob(list_name))
    }
    rows = list(rows)
    there = {row.path for row in rows}
    for folder, names in listed.items():
        missing = sorted(names.keys() - there)
        if missing:
            raise RecipeError(
                f"{root / folder / list_name}: {len(missing)} of its {len(names)} files are not there: "
                f"{', '.join(missing[:_NUM_SHOWN])}{', ...' if len(missing) > _NUM_SHOWN else ''}; expected them below {root}; "
                "complete the folder, or remove the list to take whatever is there"
            )
    kept = [row for row in rows if all(row.path in names for folder, names in listed.items() if _is_below(row.path, folder))]
    probabilities = {path: value for names in listed.values() for path, value in names.items() if value is not None}
    if not probabilities:
        return kept
    return [
        replace(row, share=share)
        for row, share in zip(kept, shares([probabilities.get(row.path) for row in kept]), strict=True)
        if share
    ]


def shares(probabilities: Sequence[float | None]) -> list[float]:
    """Return how likely each of some sounds is, 1 in all: those without a probability share evenly what the others leave.

    Raises:
        RecipeError: some have none, and the others leave nothing.

    Source: Kaldi egs/wsj/s5/steps/data/reverberate_data_dir.py, smooth_probability_distribution with no smoothing; it warns where
    nothing is left.
    """
    given = [value for value in probabilities if value is not None]
    num_open = len(probabilities) - len(given)
    if (num_open and sum(given) >= 1) or sum(given) + num_open == 0:
        raise RecipeError(
            f"--probability: {len(given)} sounds have {sum(given):g} in all and {num_open} have none given; expected that "
            "something is left for these; correct the list"
        )
    each = (1 - sum(given)) / num_open if num_open else 0.0
    values = [each if value is None else value for value in probabilities]
    return [value / sum(values) for value in values]


def _shared_out(bank: str, parts: list[list[Row]]) -> list[Row]:
    """Return the rows of all folders with their shares of the bank's draws; 0 for all where every one is as likely."""
    total = sum(map(len, parts))
    found = []
    for rows in parts:
        share_of_folder = 1 / len(parts) if bank == "rir" else len(rows) / total
        found += [replace(row, share=share_of_folder * (row.share or 1 / len(rows))) for row in rows]
    is_even = all(abs(row.share * total - 1) < 1e-6 for row in found)
    return [replace(row, share=0.0) for row in found] if is_even else found


def _is_below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(folder + "/")


def _listed(path: Path, root: Path) -> Mapping[str, float | None]:
    """Return the files that a list names, relative to the root, with their probabilities."""
    names: dict[str, float | None] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if words[-1] == "|" or words[-1].startswith("--"):
            raise RecipeError(f"{path}:{number}: expected '--rir-id ... --room-id ... <file>', found {line!r}; correct the line")
        # From the parent on, as published, or from the root on; what lies in the root may have been renamed.
        below = words[-1].partition("/")[2]
        name = below if below and not (root / words[-1]).is_file() else words[-1]
        names[name] = _probability(words, f"{path}:{number}")
    return names


def _probability(words: Sequence[str], where: str) -> float | None:
    """Return the value of `--probability`, as an argument of its own or behind '='; None where there is none."""
    given = [after for word, after in zip(words, words[1:], strict=False) if word == "--probability"]
    given += [word.partition("=")[2] for word in words if word.startswith("--probability=")]
    if not given:
        return None
    try:
        value = float(given[0])
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RecipeError(f"{where}: --probability {given[0]}; expected a number from 0 to 1; correct the line")
    return value
