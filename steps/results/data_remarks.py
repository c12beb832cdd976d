"""What is to be said of the numbers of sets and trial lists, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steps.data.list_summary import FEW
from steps.data.listening import NARROW, WIDE_RATE
from steps.results.list_design import has_drift

FACTORS = {
    "duration_alike": "how alike the durations are", "duration": "how long both sides are",
    "level_alike": "how alike the levels are", "level": "how loud both sides are", "recording": "being of one file",
    "session": "being of one session", "corpus": "being of one sub-corpus", "gender": "being of one gender",
}  # fmt: skip
_ADVICE = {  # what makes other lists, where lists are made
    "session": "prepare.cross_session=true",
    "corpus": "prepare.within_corpus=true",
    "gender": "'prepare.made_trials=[\"same_gender\"]'",
}
SPEECH_SETS = ("train", "dev", "test")
_DRIFTS = {"speakers": "from speaker to speaker", "corpora": "from sub-corpus to sub-corpus"}


def set_remarks(sets: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return (set, remark) of half-empty bands, and of sets that differ in what they hold."""
    narrow = {name: found for name, found in sets.items() if found.get("band") and _is_narrow(found)}
    remarks = [
        (
            name,
            f"its files have {_rates(found)} but nothing above {found['band'] / 1000:.1f} kHz (median of {found['heard']} "
            "utterances heard): a telephone's band, brought to that rate; a model of the whole band loses half of what it hears",
        )
        for name, found in narrow.items()
    ]
    heard = {name: found["band"] for name, found in sets.items() if found.get("band") and name in ("train", "test")}
    if len(heard) == 2 and min(heard.values()) < NARROW < max(heard.values()):
        low, high = sorted(heard, key=heard.__getitem__)
        text = f"holds nothing above {heard[low] / 1000:.1f} kHz, the set {high} holds up to {heard[high] / 1000:.1f} kHz"
        remarks.append((low, f"{text}: other channels are tested than are trained on"))
    return remarks


def equal_remarks(groups: Sequence[Sequence[tuple[str, str, str]]]) -> list[str]:
    """Return what is to be said of recordings that are equal: under one speaker, under several, and in several sets.

    Args:
        groups: of equal utterances, each as (id, speaker, set).
    """
    groups = [group for group in groups if len(group) > 1]
    others = [group for group in groups if len({speaker for _, speaker, _ in group}) > 1]
    apart = [group for group in groups if len({name for *_, name in group}) > 1]
    remarks = []
    if len(groups) > len(others):
        alone = next(group for group in groups if group not in others)
        num = sum(map(len, groups)) - sum(map(len, others))
        remarks.append(f"{num:,} recordings are equal to another of the same speaker ({_shown(alone)}): they count twice")
    if others:
        num = sum(map(len, others))
        text = "a wrong label, or one recording given to two people"
        remarks.append(f"{num:,} recordings are equal to one of ANOTHER speaker ({_shown(others[0])}): {text}")
    if apart:
        names = " and ".join(sorted({name for group in apart for *_, name in group}))
        remarks.append(f"{sum(map(len, apart)):,} recordings are equal across the sets {names} ({_shown(apart[0])})")
    return remarks


def _shown(group: Sequence[tuple[str, str, str]]) -> str:
    return " = ".join(name for name, *_ in group[:2]) + (" ..." if len(group) > 2 else "")


def rate_remarks(sets: Mapping[str, Mapping[str, Any]], sampling_rate: int) -> list[tuple[str, str]]:
    """Return (set, remark) of files at a lower rate than a model takes: they are brought up, and the upper band stays empty.

    Args:
        sets: numbers of each set, of which those of speech are looked at.
        sampling_rate: of the model's features, in Hz.
    """
    return [
        (name, _low(found, sampling_rate))
        for name, found in sets.items()
        if name in SPEECH_SETS and min(map(int, found["rates"])) < sampling_rate
    ]


def _low(found: Mapping[str, Any], sampling_rate: int) -> str:
    low = {int(rate): num for rate, num in found["rates"].items() if int(rate) < sampling_rate}
    files = f"{sum(low.values()):,} of {found['utterances']:,} files have {' and '.join(map(str, low))} Hz"
    return (
        f"{files}, the features are made at {sampling_rate} Hz: nothing above {max(low) / 2000:g} kHz is there to hear, as of a "
        f"telephone; a model of {max(low)} Hz (features.sampling_rate, augment.sampling_rate) loses nothing by that"
    )


def list_remarks(found: Mapping[str, Any], *, is_made: bool) -> list[str]:
    """Return what is to be said of a trial list, given its numbers (`summarise_list`, `list_design`).

    Args:
        found: the numbers.
        is_made: whether settings made the list, which can then make another.
    """
    return [*_pair_remarks(found), *_side_remarks(found), *few_remarks(found), *_design_remarks(found, is_made)]


def few_remarks(found: Mapping[str, Any]) -> list[str]:
    """Return that a list has too few speakers or target trials for an interval, if so."""
    if found["unlabelled"]:
        return []
    few = [f"{found[what]} {name}" for what, name in (("target", "target trials"), ("speakers", "speakers")) if found[what] < FEW]
    return [f"only {' and '.join(few)}: too few to tell (an interval needs {FEW} of both)"] if few else []


def _is_narrow(found: Mapping[str, Any]) -> bool:
    return found["band"] < NARROW and min(map(int, found["rates"])) >= WIDE_RATE


def _rates(found: Mapping[str, Any]) -> str:
    return " and ".join(f"{rate} Hz" for rate in found["rates"])


def _pair_remarks(found: Mapping[str, Any]) -> list[str]:
    num = found["target"] + found["nontarget"] + found["unlabelled"]
    remarks = []
    if found["with_itself"]:
        remarks.append(
            f"{found['with_itself']:,} of {num:,} trials compare an utterance with itself: any system gets these right"
        )
    if found["doubled"]:
        remarks.append(f"{found['doubled']:,} of {num:,} trials are there a second time, and count twice")
    if found["mirrored"]:
        remarks.append(f"{found['mirrored']:,} pairs are mirrored, there as 'a b' and as 'b a': most systems score both alike")
    if found["missing"]:
        remarks.append(f"{found['missing']:,} of {num:,} trials have no recordings, and are not among the counts of genders")
    return remarks


def _side_remarks(found: Mapping[str, Any]) -> list[str]:
    num = found["target"] + found["nontarget"] + found["unlabelled"]
    remarks = []
    if found["enrolled_and_tested"]:
        remarks.append(
            f"{found['enrolled_and_tested']:,} of {num:,} trials test a model with an utterance that it was enrolled with, which "
            "makes the error rates too low"
        )
    if found["tests_that_enrol"]:
        remarks.append(f"{found['tests_that_enrol']:,} of {found['tested']:,} test utterances are also enrolled, in some model")
    sessions = found["target_sessions"]
    if sessions["same"]:
        of = f"{sessions['same']:,} of {sum(sessions.values()):,} target trials"
        remarks.append(f"{of} lie within a session, whose channel and day help to find the speaker")
    if found["one_file"]:
        remarks.append(f"{found['one_file']:,} of {num:,} trials compare two parts of one file")
    if found["equal_content"]:
        remarks.append(f"{found['equal_content']:,} of {num:,} trials compare recordings that are equal to the last bit")
    if found["speakers_in_one_trial"] and not found["unlabelled"]:  # without labels nobody need say who speaks
        of = f"{found['speakers_in_one_trial']:,} of {found['speakers_enrolled']:,}"
        remarks.append(f"{of} enrolled speakers are in one trial only")
    return remarks


def _design_remarks(found: Mapping[str, Any], is_made: bool) -> list[str]:
    design = found["design"]
    told = {factor: each["eer"] for factor, each in design["factors"].items() if each["tells"]}
    remarks = []
    if told:
        what = "; ".join(f"{FACTORS[factor]} {100 * eer:.1f} %{_why(factor, found)}" for factor, eer in told.items())
        others = dict.fromkeys(_ADVICE[factor] for factor in told if is_made and factor in _ADVICE)
        advice = f"; for another list: --set {' or '.join(others)}" if others else ""
        remarks.append(f"what is not the voice tells trials apart (EER of each alone; 50 % = not at all): {what}{advice}")
    for what in ("speakers", "corpora"):
        if what in design["drift"] and has_drift(design["drift"][what]):
            low, high = (100 * share for share in design["drift"][what])
            remarks.append(f"the share of target trials goes from {low:.1f} to {high:.1f} % {_DRIFTS[what]}: some count more")
    return remarks


def _why(factor: str, found: Mapping[str, Any]) -> str:
    if factor == "gender":
        kinds = found["nontarget_genders"]
        known = sum(num for kind, num in kinds.items() if kind)
        return f" ({100 * kinds.get('f-m', 0) / known:.0f} % of the non-target trials are of a woman and a man)"
    if factor == "corpus":
        return f" ({found['across_corpora']:,} trials go across sub-corpora)"
    return ""
