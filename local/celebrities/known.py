"""What is known about VoxCeleb's sets and trial lists, to compare a copy on disk with."""

from collections.abc import Mapping
from dataclasses import dataclass

TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10270, 10310))  # of VoxCeleb1


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numbers of what a set or a list holds; None where the number is not known for sure."""

    speakers: int
    utterances: int | None
    trials: int | None = None


# Speakers and utterances with audio. The metadata names 120 test speakers of VoxCeleb2; two of them have none.
SETS = {
    "vox1_dev": Counts(speakers=1211, utterances=148_642),
    "vox1_test": Counts(speakers=40, utterances=4_874),
    "vox2_dev": Counts(speakers=5994, utterances=1_092_009),
}

# File -> name of the list here. "Cleaned" lists leave out the pairs with a wrong label or a doubled recording.
LIST_NAMES = {
    "veri_test.txt": "vox1_o",
    "veri_test2.txt": "vox1_o_cleaned",
    "list_test_all.txt": "vox1_e",
    "list_test_all2.txt": "vox1_e_cleaned",
    "list_test_hard.txt": "vox1_h",
    "list_test_hard2.txt": "vox1_h_cleaned",
}

# The O lists were counted; trials and speakers of the others are documented, their utterances only from hearsay.
LISTS = {
    "vox1_o": Counts(speakers=40, utterances=4_715, trials=37_720),
    "vox1_o_cleaned": Counts(speakers=40, utterances=4_708, trials=37_611),
    "vox1_e": Counts(speakers=1251, utterances=None, trials=581_480),
    "vox1_e_cleaned": Counts(speakers=1251, utterances=None, trials=579_818),
    "vox1_h": Counts(speakers=1190, utterances=None, trials=552_536),
    "vox1_h_cleaned": Counts(speakers=1190, utterances=None, trials=550_894),
}


def compare(found: Counts, known: Counts | None) -> tuple[bool, str]:
    """Return whether all counts are as known, and the counts in words, with the known one behind each that differs."""
    parts, is_equal = [], True
    for measure, number in _numbers(found).items():
        expected = _numbers(known).get(measure) if known else None
        part = f"{number:,} {measure}"
        if expected is not None and expected != number:
            is_equal = False
            part += f" (documented: {expected:,})"
        parts.append(part)
    return is_equal, ", ".join(parts)


def _numbers(counts: Counts) -> Mapping[str, int]:
    values = {"trials": counts.trials, "utterances": counts.utterances, "speakers": counts.speakers}
    return {measure: number for measure, number in values.items() if number is not None}
