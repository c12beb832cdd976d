"""Splits that the data give, in a column or in folders: used where they are complete, never drawn over in silence."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from local.listing import notes
from local.listing.files import SETS, Row
from steps.core.errors import RecipeError

AUTO = "auto"
_DRAW = "--set prepare.split=made (speakers are drawn, whatever is given) or --set prepare.split=test (all is test data)"
_NUM_SHOWN = 5


def settled(rows: Sequence[Row], where: str) -> list[Row]:
    """Return the rows with the split that is used: the given one of all of them, or none.

    Training data alone is a list that test speakers are drawn from, which is said.

    Args:
        rows: of which some, all or none have a split.
        where: what gives the splits, for messages.

    Raises:
        RecipeError: some rows have none, a speaker is in two sets, or there is no test or no training set.
    """
    found = {row.split for row in rows} - {""}
    if not found:
        return list(rows)
    without = [row for row in rows if not row.split]
    if without:
        raise RecipeError(
            f"{where}: {len(without)} of {len(rows)} utterances have no split, first {without[0].where}; expected one of "
            f"{', '.join(SETS)} for each, or for none; complete it, or add {_DRAW}"
        )
    if found == {"train"}:
        notes.say(
            f"{where}: all is training data: test speakers are drawn from it, as with prepare.split = made", is_expected=False
        )
        return [replace(row, split="") for row in rows]
    if not {"train", "test"} <= found:
        raise RecipeError(
            f"{where}: the split has {', '.join(sorted(found))} only; expected train and test (dev may be); "
            f"complete it, or add {_DRAW}"
        )
    _check_speakers(rows, where)
    notes.say(f"split: as {where} says: {_counts(rows)}")
    return list(rows)


def _check_speakers(rows: Sequence[Row], where: str) -> None:
    first: dict[str, Row] = {}
    shared: dict[str, str] = {}
    for row in rows:
        other = first.setdefault(row.speaker, row)
        if other.split != row.split:
            shared.setdefault(row.speaker, f"'{row.speaker}' ({other.split}: {other.where}, {row.split}: {row.where})")
    if shared:
        raise RecipeError(
            f"{where}: {len(shared)} speakers are in two sets, first {', '.join(list(shared.values())[:_NUM_SHOWN])}; expected "
            f"each speaker in one, or a system would be tested on those it was trained on; correct the split, or add {_DRAW}"
        )


def _counts(rows: Sequence[Row]) -> str:
    num = Counter(row.split for row in rows)
    speakers = defaultdict(set)
    for row in rows:
        speakers[row.split].add(row.speaker)
    return "; ".join(f"{name} {num[name]} utterances of {len(speakers[name])} speakers" for name in SETS if num[name])
