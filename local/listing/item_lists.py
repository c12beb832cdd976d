"""Lists of items to cluster and of speakers to identify: given files brought to a corpus's utterance ids, and written."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from local.listing.lists import check_spellings, resolver
from steps.data.item_lists import (
    CLUSTERING,
    ENROL,
    IDENTIFICATION,
    TEST,
    Item,
    Role,
    check_owners,
    owners_of_items,
    read_items,
    read_roles,
    speakers_of,
    write_items,
    write_roles,
)
from steps.data.manifests import Utterance

_LOG = logging.getLogger("prepare")


def given_items(path: Path, resolve: Callable[[str], str]) -> list[Item]:
    """Return the items of a clustering list, with the ids of the utterances. Raises RecipeError for one of two names."""
    items = read_items(path)
    check_spellings((name for item in items for name in item.utterances), resolve, str(path))
    return [Item(item.id, item.speaker, tuple(map(resolve, item.utterances))) for item in items]


def given_roles(path: Path, resolve: Callable[[str], str]) -> list[Role]:
    """Return the lines of an identification list, with the ids of the utterances. Raises RecipeError for one of two names."""
    roles = read_roles(path)
    check_spellings((each.utterance for each in roles), resolve, str(path))
    return [Role(each.role, each.speaker, resolve(each.utterance)) for each in roles]


def write_given(
    out: Path,
    sets: Mapping[str, Iterable[Utterance]],
    given: Mapping[str, Mapping[str, Path]],
    *,
    prefix: str,
    replace_spaces: str,
    roots: Iterable[Path] = (),
) -> None:
    """Write the given lists, {"clustering" or "identification": {name: file}}; utterances are named as in trial lists.

    Speakers of a clustering list who are trained on bring a warning.

    Raises:
        RecipeError: a malformed list, an utterance that is in no set, or another speaker than the corpus says.
    """
    speakers = {utterance.id: utterance.speaker for found in sets.values() for utterance in found}
    trained_on = {utterance.speaker for utterance in sets.get("train", ())}
    resolve = resolver(speakers, prefix, replace_spaces, roots)
    for name, path in given.get(CLUSTERING, {}).items():
        items = given_items(path, resolve)
        check_owners(owners_of_items(items), speakers, str(path))
        heard = {item.speaker for item in items} & trained_on
        if heard:
            _LOG.warning("%s: %d of its speakers are trained on, so that its figures say little", path, len(heard))
        write_items(out / CLUSTERING / f"{name}.txt", items)
    for name, path in given.get(IDENTIFICATION, {}).items():
        roles = given_roles(path, resolve)
        check_owners(((each.utterance, each.speaker) for each in roles), speakers, str(path))
        visitors = speakers_of(roles, TEST) - speakers_of(roles, ENROL)
        if visitors:
            num = sum(each.role == TEST and each.speaker in visitors for each in roles)
            _LOG.info("%s: %d of its tests are of %d speakers who are not enrolled: an open set", path, num, len(visitors))
        write_roles(out / IDENTIFICATION / f"{name}.txt", roles)


def write_own(out: Path, lists: Mapping[str, Iterable[Item]]) -> None:
    """Write the clustering lists that a corpus itself brings."""
    for name, items in lists.items():
        write_items(out / CLUSTERING / f"{name}.txt", items)
