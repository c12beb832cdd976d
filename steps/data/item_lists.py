"""Lists of what to cluster and of whom to identify: files of a corpus's own protocols, beside its trial lists.

`manifests/clustering/<name>.txt`: lines `<item id> <speaker> <utterance id> ...`; an item is one or
several utterances.
`manifests/identification/<name>.txt`: lines `<enrol|test> <speaker> <utterance id>`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.names import said_nearest

CLUSTERING, IDENTIFICATION = "clustering", "identification"  # folders of the manifests
ENROL, TEST = "enrol", "test"
_ITEM_LINE, _ROLE_LINE = "<item id> <speaker> <utterance id> ...", "<enrol|test> <speaker> <utterance id>"


@dataclass(frozen=True)
class Item:
    """What is clustered as one."""

    id: str
    speaker: str
    utterances: tuple[str, ...]


@dataclass(frozen=True)
class Role:
    """What an utterance is used for."""

    role: str  # "enrol" or "test"
    speaker: str
    utterance: str


def read_items(path: Path) -> list[Item]:
    """Return the items of a clustering list, in its order.

    Raises:
        RecipeError: missing or empty, a line of fewer than three words, an item or an utterance named twice, fewer than two
            speakers.
    """
    items: dict[str, Item] = {}
    lines: dict[str, int] = {}
    seen: dict[str, int] = {}
    for number, words in _lines(path, _ITEM_LINE):
        name, speaker, *utterances = words if len(words) > 2 else ("", "")
        problem = "" if name else "too few words"
        problem = problem or (f"item '{name}' is there already, in line {lines[name]}" if name in items else "")
        twice = next((each for each in utterances if each in seen or utterances.count(each) > 1), None)
        problem = problem or (f"utterance '{twice}' is there already, in line {seen.get(twice, number)}" if twice else "")
        if problem:
            raise RecipeError(
                f"{path}:{number}: expected '{_ITEM_LINE}', each item and each utterance once; {problem}; correct it"
            )
        items[name], lines[name] = Item(name, speaker, tuple(utterances)), number
        seen |= dict.fromkeys(utterances, number)
    if len({item.speaker for item in items.values()}) < 2:
        raise RecipeError(f"{path}: expected items of at least two speakers, found those of one; give another list")
    return list(items.values())


def read_roles(path: Path) -> list[Role]:
    """Return the lines of an identification list, in its order.

    Tested speakers who are not enrolled are visitors, whom a system should not take for anybody.

    Raises:
        RecipeError: missing or empty, a malformed line, an utterance named twice, fewer than two enrolled speakers, or no test
            of any of these.
    """
    roles: dict[str, Role] = {}
    for number, words in _lines(path, _ROLE_LINE):
        if len(words) != 3 or words[0] not in (ENROL, TEST) or words[2] in roles:
            is_twice = len(words) == 3 and words[2] in roles
            what = (
                f"'{words[2]}' is there already, in line {_line_of(path, words[2])}" if is_twice else f"found {' '.join(words)!r}"
            )
            raise RecipeError(f"{path}:{number}: expected '{_ROLE_LINE}', each utterance once; {what}; correct the line")
        roles[words[2]] = Role(*words)
    enrolled, tested = (speakers_of(roles.values(), role) for role in (ENROL, TEST))
    if len(enrolled) < 2 or not tested & enrolled:
        what = f"{len(enrolled)} enrolled and {len(tested)} tested speakers"
        strange = tested - enrolled
        what += f", of whom {len(strange)} are not enrolled, such as '{min(strange)}'" if strange else ""
        raise RecipeError(
            f"{path}: expected two enrolled speakers or more, and tests of some of these; found {what}; correct the list"
        )
    return list(roles.values())


def speakers_of(roles: Iterable[Role], role: str) -> set[str]:
    """Return the speakers who are enrolled, or tested."""
    return {each.speaker for each in roles if each.role == role}


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Write a line for each item, in their order."""
    with _opened(path) as file:
        file.writelines(f"{item.id} {item.speaker} {' '.join(item.utterances)}\n" for item in items)


def write_roles(path: Path, roles: Iterable[Role]) -> None:
    """Write a line for each utterance, in their order."""
    with _opened(path) as file:
        file.writelines(f"{each.role} {each.speaker} {each.utterance}\n" for each in roles)


def check_owners(owners: Iterable[tuple[str, str]], speakers: Mapping[str, str], where: str) -> None:
    """Raise a RecipeError if an utterance of (utterance, speaker) is not known, or is another's."""
    for utterance, speaker in owners:
        found = speakers.get(utterance)
        if found != speaker:
            what = f"is of speaker {found}"
            if found is None:
                what = f"is not among the utterances of the set{said_nearest(utterance, speakers)}"
            raise RecipeError(
                f"{where}: utterance '{utterance}' of speaker '{speaker}' {what}; expected utterances of the corpus with their "
                "speakers; correct the list"
            )


def owners_of_items(items: Iterable[Item]) -> Iterator[tuple[str, str]]:
    """Yield (utterance, speaker) of all items."""
    return ((utterance, item.speaker) for item in items for utterance in item.utterances)


def _opened(path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return atomic_write(path)


def _line_of(path: Path, utterance: str) -> int:
    """Return the first line of an identification list that names an utterance."""
    return next(number for number, words in _lines(path, _ROLE_LINE) if words[2:] == [utterance])


def _lines(path: Path, form: str) -> list[tuple[int, list[str]]]:
    """Return (number, words) of the lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such list; give the path of an existing file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as UTF-8 text ({error}); give another file") from error
    lines = [(number, line.split()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise RecipeError(f"{path}: is empty; expected lines '{form}'; give another file")
    return lines
