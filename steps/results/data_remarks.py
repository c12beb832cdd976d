"""What is to be said of the numbers of sets and trial lists, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.data.list_summary import FEW
from steps.data.listening import NARROW, WIDE_RATE
from steps.results.list_design import has_drift, is_told

FACTORS = {
    "duration_alike": "how alike the durations of both sides are",
    "duration": "how long both sides are",
    "level_alike": "how alike the levels of both sides are",
    "level": "how loud both sides are",
    "recording": "whether both sides are of one file",
    "session": "whether both sides are of one session",
    "corpus": "whether both sides are of one sub-corpus",
    "gender": "whether both sides are of one gender",
}
_ADVICE = {  # what makes other lists, where lists are made
    "recording": "prepare.cross_session=true",
    "session": "prepare.cross_session=true",
    "corpus": "prepare.within_corpus=true",
    "gender": '\'prepare.made_trials=["same_gender"]\'',
}
_DRIFTS = {"along": "from tenth to tenth of the list", "speakers": "from speaker to speaker", "corpora": "from sub-corpus to sub-corpus"}


def set_remarks(sets: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return (set, remark) of half-empty bands, and of sets that differ in what they hold."""
    narrow = {name: found for name, found in sets.items() if found.get("band") and _is_narrow(found)}
    remarks = [
        (
            name,
            f"its files have {_rates(found)} but nothing above {found['band'] / 1000:.1f} kHz (median of {found['heard']} utterances "
            "heard): a telephone's band, brought to that rate; a model of the whole band loses half of what it hears",
        )
        for name, found in narrow.items()
    ]
    heard = {name: found["band"] for name, found in sets.items() if found.get("band") and name in ("train", "test")}
    if len(heard) == 2 and min(heard.values()) < NARROW < max(heard.values()):
        low, high = sorted(heard, key=heard.__getitem__)
        text = f"holds nothing above {heard[low] / 1000:.1f} kHz, the set {high} holds up to {heard[high] / 1000:.1f} kHz"
        remarks.append((low, f"{text}: other channels are tested than are trained on"))
    return remarks


def list_remarks(found: Mapping[str, Any], *, is_made: bool) -> list[str]:
    """Return what is to be said of a trial list, given its numbers (`summarise_list`, `list_design`).

    Args:
        found: the numbers.
        is_made: whether settings made the list, which can then make another.
    """
    remarks = [*_pair_remarks(found), *_side_remarks(found)]
    if found["target"] < FEW or found["speakers"] < FEW:
        few = f"{found['target']:,} target trials of {found['speakers']} speakers"
        remarks.append(f"{few}, fewer than {FEW}: too few to tell, as intervals over so few speakers or trials are too narrow")
    design = found.get("design", {"factors": {}, "drift": {}})
    remarks += [_told(factor, each, found, is_made) for factor, each in design["factors"].items() if is_told(each)]
    for what, shares in design["drift"].items():
        if has_drift(shares):
            low, high = (f"{100 * share:.2g} %" for share in shares)
            remarks.append(f"the share of target trials goes from {low} to {high} {_DRIFTS[what]}: parts of it are no smaller list")
    return remarks


def _is_narrow(found: Mapping[str, Any]) -> bool:
    return found["band"] < NARROW and min(map(int, found["rates"])) >= WIDE_RATE


def _rates(found: Mapping[str, Any]) -> str:
    return " and ".join(f"{rate} Hz" for rate in found["rates"])


def _pair_remarks(found: Mapping[str, Any]) -> list[str]:
    num = found["target"] + found["nontarget"]
    remarks = []
    if found["with_itself"]:
        remarks.append(f"{found['with_itself']:,} of {num:,} trials compare an utterance with itself, which any system gets right")
    if found["doubled"]:
        remarks.append(f"{found['doubled']:,} of {num:,} trials are there a second time, and count twice")
    if found["mirrored"]:
        remarks.append(f"{found['mirrored']:,} pairs are mirrored, there as 'a b' and as 'b a': most systems score both alike")
    if found["missing"]:
        remarks.append(f"{found['missing']:,} of {num:,} trials have no recordings, and are not among the counts of genders")
    return remarks


def _side_remarks(found: Mapping[str, Any]) -> list[str]:
    num = found["target"] + found["nontarget"]
    remarks = []
    if found["enrolled_and_tested"]:
        remarks.append(
            f"{found['enrolled_and_tested']:,} of {num:,} trials test a model with an utterance that it was enrolled with, which "
            "makes the error rates too low"
        )
    if found["models"] and found["tests_that_enrol"]:
        remarks.append(f"{found['tests_that_enrol']:,} of {found['tested']:,} test utterances are also enrolled, in some model")
    if found["equal_content"]:
        remarks.append(f"{found['equal_content']:,} of {num:,} trials compare recordings that are equal to the last bit")
    if found["speakers_in_one_trial"]:
        of = f"{found['speakers_in_one_trial']:,} of {found['speakers_enrolled']:,}"
        remarks.append(f"{of} enrolled speakers are in one trial only")
    return remarks


def _told(factor: str, each: Mapping[str, Any], found: Mapping[str, Any], is_made: bool) -> str:
    text = f"{FACTORS[factor]} tells target from non-target trials at an EER of {100 * each['eer']:.1f} % (50 % = not at all)"
    text += _why(factor, found)
    return text + (f"; another list: --set {_ADVICE[factor]}" if is_made and factor in _ADVICE else "")


def _why(factor: str, found: Mapping[str, Any]) -> str:
    if factor == "gender":
        kinds = found["nontarget_genders"]
        known = sum(num for kind, num in kinds.items() if kind)
        return f": {kinds.get('f-m', 0) / known:.0%} of the non-target trials are of a woman and a man"
    if factor == "session":
        kinds = found["target_sessions"]
        return f": {kinds['same'] / (kinds['same'] + kinds['other']):.0%} of the target trials lie within a session"
    if factor == "corpus":
        return f": {found['across_corpora']:,} trials go across sub-corpora"
    return ""
