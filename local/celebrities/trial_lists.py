"""VoxCeleb's trial lists on disk: which are there, whether they are the published ones, and whom they name."""

from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path

from local.celebrities import first_release, known
from local.celebrities.comparison import list_problem
from local.listing import lists
from local.listing.files import without_suffix
from steps.core.errors import RecipeError
from steps.data.manifests import Utterance
from steps.data.trials import Trials, read_trials

_NUM_SHOWN = 5


def find(wanted: str, places: list[Path]) -> dict[str, Path]:
    """Return name -> trial list: those asked for, or the published ones that are there.

    Args:
        wanted: files, ';' between them; "" = the published ones.
        places: folders in which they may lie.

    Raises:
        RecipeError: no list, a file that is not there, or two files of one list.
    """
    names = known.LIST_NAMES | known.OTHER_FILES
    files = lists.find_lists("trials", wanted or ";".join(_published(places)), places)
    if not files:
        raise RecipeError(
            f"no trial list: looked for {', '.join(names)} in {', '.join(map(str, places))}; expected at least one; "
            "put the lists that VoxCeleb's site offers there, or name others: --set prepare.trials=FILE"
        )
    found: dict[str, Path] = {}
    for path in files.values():
        name = names.get(path.name, path.stem)
        if found.setdefault(name, path) != path:
            raise RecipeError(f"{found[name]} and {path} would both be the list '{name}'; expected one; rename the other")
    return found


def _published(places: list[Path]) -> list[str]:
    """One file of each published list that is there, that of VoxCeleb's site before others."""
    found: dict[str, str] = {}
    for file, name in (known.LIST_NAMES | known.OTHER_FILES).items():
        if any((place / file).is_file() for place in places):
            found.setdefault(name, file)
    return list(found.values())


def named(path: Path, people: Mapping[str, str]) -> frozenset[str]:
    """Return the ids of the utterances in a list.

    Args:
        path: of the list.
        people: of `first_release.people`, for names of the first release.

    Raises:
        RecipeError: a malformed list, or people whom the metadata do not know.
    """
    names = _names(path, path.stat().st_mtime_ns)
    first_release.check_people(path, names, people)
    return frozenset(without_suffix(first_release.renamed(name, people)) for name in names)


@lru_cache(maxsize=32)
def _names(path: Path, mtime_ns: int) -> frozenset[str]:
    """Return the names in a list; its time is an argument so that a changed list is read again."""
    trials = read_trials(path)
    return frozenset(name.removeprefix("./") for name in {*trials.enrol_ids, *trials.test_ids})


def check_published(path: Path, name: str, ids: frozenset[str], people: Mapping[str, str]) -> None:
    """Raise a RecipeError if a list is not the one that was published by its name."""
    problem = list_problem(name, path, ids, people)
    if problem:
        raise RecipeError(
            f"{path}: is not the published list: {problem}; expected the file that VoxCeleb's site offers, as figures on "
            "another one cannot be compared; give that one, rename yours, or add --set prepare.other_lists=warn"
        )


def check_there(path: Path, ids: frozenset[str], there: Iterable[str], root: Path) -> None:
    """Raise a RecipeError if a list names an utterance that is not below the root."""
    missing = sorted(ids.difference(there))
    if missing:
        shown = ", ".join(f"'{utterance}'" for utterance in missing[:_NUM_SHOWN])
        raise RecipeError(
            f"{path}: {len(missing)} of its {len(ids)} utterances are not there: {shown}"
            f"{', ...' if len(missing) > _NUM_SHOWN else ''}; expected all of them below "
            f"{root}, as a figure belongs to a whole list; complete VoxCeleb1 (E and H need dev "
            "and test), or choose the lists with prepare.trials"
        )


def read(path: Path, utterances: Iterable[Utterance], people: Mapping[str, str]) -> Trials:
    """Return the trials of a list, with the ids of the utterances. Raises RecipeError as `lists.given_trials`."""
    rename = partial(first_release.renamed, known=people)
    return lists.given_trials(path, utterances, {}, prefix="", replace_spaces="", rename=rename)
