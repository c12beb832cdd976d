"""VoxCeleb1's identification split: iden_split.txt, lines `<1|2|3> <speaker>/<video>/<number>.wav`.

1 is trained on (or enrols), 2 validates, 3 is tested, of all 1,251 speakers.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from local.listing.files import read_text, without_suffix
from steps.core.errors import RecipeError
from steps.data.item_lists import IDENTIFICATION, Role, check_owners, write_roles
from steps.data.manifests import Utterance

NAME = "vox1_identification"  # of the preparation that is trained on part 1, and of its lists
SETS = {"1": "train", "2": "dev", "3": "test"}
DOCUMENTED = {"1": 138_361, "2": 6_904, "3": 8_251}  # utterances; from hearsay, but their sum is that of VoxCeleb1
_NUM_SHOWN = 5


@lru_cache(maxsize=4)
def read_split(path: Path, mtime_ns: int) -> Mapping[str, str]:
    """Return utterance id -> "1", "2" or "3"; the time of the file is an argument so that a changed one is read again.

    Raises:
        RecipeError: a malformed line, an utterance named twice, or no utterance in part 1 or part 3.
    """
    parts: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        name = without_suffix(words[-1].removeprefix("./")) if words else ""
        if not words:
            continue
        if len(words) != 2 or words[0] not in SETS or name.count("/") != 2 or name in parts:
            what = f"'{name}' is there already" if name in parts else f"found {line!r}"
            raise RecipeError(
                f"{path}:{number}: expected '<1|2|3> id1xxxx/<video>/00001.wav', each utterance once; {what}; give the file that "
                "VoxCeleb's site offers"
            )
        parts[name] = words[0]
    if not {"1", "3"} <= set(parts.values()):
        raise RecipeError(f"{path}: expected utterances of part 1 and of part 3, found {sorted(set(parts.values()))}")
    return parts


def check_there(path: Path, parts: Mapping[str, str], there: Collection[str]) -> None:
    """Raise a RecipeError if the split names an utterance that is not there."""
    missing = sorted(parts.keys() - set(there))
    if missing:
        raise RecipeError(
            f"{path}: {len(missing)} of its {len(parts)} utterances are not there: {', '.join(missing[:_NUM_SHOWN])}; expected "
            "all of VoxCeleb1, dev and test, as a figure belongs to the whole list; complete it"
        )


def check_apart(sets: Mapping[str, Iterable[Utterance]]) -> None:
    """Raise a RecipeError if an utterance is in two sets; the speakers are the same ones here."""
    counts = Counter(utterance.id for utterances in sets.values() for utterance in utterances)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise RecipeError(f"identification: {len(twice)} utterances are in two sets, first '{twice[0]}'; correct the split")


def write_list(out: Path, parts: Mapping[str, str], sets: Mapping[str, Iterable[Utterance]]) -> None:
    """Write the identification list: part 1 enrols, part 3 is tested. Raises RecipeError for an utterance that is in no set."""
    role_of = {"1": "enrol", "3": "test"}
    roles = [Role(role_of[part], name.partition("/")[0], name) for name, part in sorted(parts.items()) if part in role_of]
    speakers = {utterance.id: utterance.speaker for utterances in sets.values() for utterance in utterances}
    check_owners(((each.utterance, each.speaker) for each in roles), speakers, "prepare.identification")
    write_roles(out / IDENTIFICATION / f"{NAME}.txt", roles)


def remark(parts: Mapping[str, str]) -> tuple[bool, str]:
    """Return (as documented?, line) of the sizes of the parts."""
    found = Counter(parts.values())
    speakers = {name.partition("/")[0] for name in parts}
    text = ", ".join(f"{found[part]:,} (documented: {DOCUMENTED[part]:,})" for part in SETS)
    return dict(found) == DOCUMENTED, f"identification split: {text} utterances of {len(speakers):,} speakers"
