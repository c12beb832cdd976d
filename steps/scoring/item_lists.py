"""The embeddings that the corpus's lists of items and of speakers to identify are about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from steps.backend.items import Items
from steps.backend.windows import Windows
from steps.core.errors import RecipeError
from steps.data.archive import Archive, read_windows
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
)

SETS = ("test", "train", "dev")  # whose embeddings are read: the first that suffice
CLASS_SCORES, SPEAKERS = "class_scores", "speakers"  # what stage 5 writes beside them with embed.class_scores


def clustering_lists(
    manifests: Path, embeddings: Path, *, windows: bool, utt2spk: Mapping[str, str]
) -> Iterator[tuple[str, list[Item], Items]]:
    """Yield (name, entries, items [M]) of each list; an item's embedding is the mean of all windows of all its utterances.

    Args:
        manifests: the output of stage 1.
        embeddings: that of stage 5, with a folder for each set.
        windows: whether the back end compares windows, which the items then have besides.
        utt2spk: speaker of each utterance.

    Raises:
        RecipeError: a malformed list, another speaker than the corpus has, or an utterance without an embedding.
    """
    for path in sorted((manifests / CLUSTERING).glob("*.txt")):
        entries = read_items(path)
        check_owners(owners_of_items(entries), utt2spk, str(path))
        row, found = _embedded(embeddings, [name for entry in entries for name in entry.utterances], str(path))
        joined = found.joined([np.array([row[name] for name in entry.utterances]) for entry in entries])
        yield path.stem, entries, Items.single(joined.means(), joined if windows else None)


def identification_lists(
    manifests: Path, embeddings: Path, *, windows: bool, utt2spk: Mapping[str, str]
) -> Iterator[tuple[str, list[Role], Items]]:
    """Yield (name, lines, items [N], one a line) of each list; arguments and errors as `clustering_lists`."""
    for path in sorted((manifests / IDENTIFICATION).glob("*.txt")):
        roles = read_roles(path)
        check_owners(((each.utterance, each.speaker) for each in roles), utt2spk, str(path))
        row, found = _embedded(embeddings, [each.utterance for each in roles], str(path))
        joined = found.joined([np.array([row[each.utterance]]) for each in roles])
        yield path.stem, roles, Items.single(joined.means(), joined if windows else None)


def class_scores(embeddings: Path, roles: Sequence[Role], where: str) -> tuple[list[str], np.ndarray, list[str]] | None:
    """Return (enrolled speakers, scores of the training head [M, P], speakers [P]) of the tests of enrolled speakers in a list.

    None where stage 5 wrote no such scores, or the network was not trained on all enrolled speakers. Training speakers that the
    list does not enrol, such as copies at another speed, are no candidates.

    Raises:
        RecipeError: a tested utterance has no scores, or not one for each training speaker.
    """
    folders = [embeddings / CLASS_SCORES / each for each in SETS if (embeddings / CLASS_SCORES / each).is_dir()]
    if not folders:
        return None
    number = {name: place for place, name in enumerate((embeddings / SPEAKERS).read_text(encoding="utf-8").splitlines())}
    enrolled = sorted(speakers_of(roles, ENROL))
    if not number.keys() >= set(enrolled):
        return None
    archives = [Archive(folder) for folder in folders]
    rows, tests = [], [each for each in roles if each.role == TEST and each.speaker in enrolled]
    for name in (each.utterance for each in tests):
        found = next((archive[name] for archive in archives if name in archive), np.zeros(0))
        if found.shape != (len(number),):
            raise RecipeError(
                f"{where}: utterance '{name}': expected scores of {len(number)} speakers in {embeddings / CLASS_SCORES}, found "
                f"{found.size}; name its set in embed.class_scores and run stage 5 again"
            )
        rows.append(found[[number[speaker] for speaker in enrolled]])
    return enrolled, np.stack(rows, axis=1), [each.speaker for each in tests]


def _embedded(embeddings: Path, names: Iterable[str], where: str) -> tuple[dict[str, int], Windows]:
    """Return (row of each utterance, their windows): the test set's, and the others' where those are not enough."""
    wanted, row, found = set(names), {}, None
    for folder in (embeddings / each for each in SETS):
        if wanted <= row.keys() or not folder.is_dir():
            continue
        ids, rows_RD, start_N1 = read_windows(folder)
        more = Windows(rows_RD, start_N1)
        row |= {name: len(row) + index for index, name in enumerate(ids)}
        found = more if found is None else found.followed_by(more)
    missing = sorted(wanted - row.keys())
    if missing or found is None:
        raise RecipeError(
            f"{where}: {len(missing)} of its {len(wanted)} utterances have no embedding in {embeddings}, such as "
            f"'{missing[0] if missing else ''}'; run stages 2 to 5 again, or correct the list"
        )
    return row, found
