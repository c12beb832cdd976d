"""Banks of noises, music and rooms: which files of a folder such as MUSAN or RIRS_NOISES belong to one."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from local.listing.files import Row, audio_files, fix_spaces, read_text, without_suffix
from steps.core.errors import RecipeError

RIR_LIST = "rir_list"  # in RIRS_NOISES beside the impulse responses, which may lie among noises there

_NUM_SHOWN = 5


def rows_of(bank: str, root: Path, subfolders: Iterable[str], *, replace_spaces: str = "", named: bool, advice: str) -> list[Row]:
    """Return a row per audio file of a bank, sorted by path; each is its own speaker. Of a bank of rooms see `only_listed`.

    Args:
        bank: "noise", "music" or "rir".
        root: that the paths are relative to.
        subfolders: of the root that belong to the bank; "" = the root itself.
        replace_spaces: what blanks in ids become; "": they stay.
        named: ids begin with the name of their subfolder, as rooms are numbered in each anew; else they are below it.
        advice: what to do where a subfolder has no audio.

    Raises:
        RecipeError: a subfolder without audio, or a rir_list that does not fit.
    """
    rows = []
    for subfolder in (name.strip("/") for name in subfolders):
        found = rows_of_bank(root, subfolder, replace_spaces)
        if not found:
            raise RecipeError(f"{root / subfolder}: no audio file for the set '{bank}'; {advice}")
        found = only_listed(root, subfolder, found) if bank == "rir" else found
        if named:
            names = [f"{subfolder.rpartition('/')[2]}/{row.id}" for row in found]
            found = [replace(row, id=name, speaker=name) for row, name in zip(found, names, strict=True)]
        rows += found
    return sorted(rows, key=lambda row: row.path)


def rows_of_bank(root: Path, subfolder: str, replace_spaces: str) -> list[Row]:
    """Return a row per audio file below a subfolder; ids are below the subfolder."""
    folder, rows = root / subfolder, []
    for path in audio_files(folder) if folder.is_dir() else ():
        name = fix_spaces(without_suffix(path), replace_spaces)
        rows.append(Row(id=name, path=f"{subfolder}/{path}" if subfolder else path, speaker=name))
    return rows


def only_listed(root: Path, subfolder: str, rows: Iterable[Row]) -> list[Row]:
    """Return the rows that the files rir_list in a subfolder name, and those of folders that have no such file.

    A line is `--rir-id <id> --room-id <id> RIRS_NOISES/...wav`: the path begins in the folder above the root.

    Raises:
        RecipeError: a line without a path, a command instead of a path, or a file that is not there.
    """
    listed = {
        path.parent.relative_to(root).as_posix(): _listed(path, root) for path in sorted((root / subfolder).rglob(RIR_LIST))
    }
    rows = list(rows)
    there = {row.path for row in rows}
    for folder, names in listed.items():
        missing = sorted(names - there)
        if missing:
            raise RecipeError(
                f"{root / folder / RIR_LIST}: {len(missing)} of its {len(names)} files are not there: "
                f"{', '.join(missing[:_NUM_SHOWN])}{', ...' if len(missing) > _NUM_SHOWN else ''}; expected them below {root}; "
                "complete the folder, or remove the list to take whatever is there"
            )
    return [row for row in rows if all(row.path in names for folder, names in listed.items() if _is_below(row.path, folder))]


def _is_below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(folder + "/")


def _listed(path: Path, root: Path) -> set[str]:
    """Return the files that a rir_list names, relative to the root."""
    names = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if words[-1] == "|" or words[-1].startswith("--"):
            raise RecipeError(f"{path}:{number}: expected '--rir-id ... --room-id ... <file>', found {line!r}; correct the line")
        # From the parent on, as published, or from the root on; what lies in the root may have been renamed.
        below = words[-1].partition("/")[2]
        names.add(below if below and not (root / words[-1]).is_file() else words[-1])
    return names
