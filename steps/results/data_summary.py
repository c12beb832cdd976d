"""summary.json of stage 1: what was understood of the data, in numbers and remarks, read from the written manifests."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steps.core.files import read_json
from steps.data.enrolment import read_models
from steps.data.folder_remarks import folder_remarks, is_tree
from steps.data.list_sides import list_sides
from steps.data.list_summary import summarise_list, without_labels
from steps.data.listening import Listener, spread_rows
from steps.data.manifests import Utterances, audio_root, has_set, read_roots, read_set
from steps.data.name_remarks import name_remarks
from steps.data.same_content import content_codes, read_groups
from steps.data.score_files import TrialIndex, read_trial_index
from steps.data.set_summary import summarise_set
from steps.results.data_remarks import SPEECH_SETS, equal_remarks, few_remarks, list_remarks, set_remarks
from steps.results.list_design import list_design

FILE = "summary.json"
PROBLEMS = "problems.tsv"
NUM_REASONS = 5
NUM_HEARD = 20  # utterances of a set, for its band


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a corpus was read: what the advice of remarks depends on."""

    levels: bool = False  # a level of folders says who speaks, and another one may be chosen
    has_corpora: bool = False  # speakers are named after sub-corpora, or a level says the session
    makes_lists: bool = False  # settings make the lists, and can make others


def read_summary(manifests: Path) -> dict[str, Any] | None:
    """Return what `summarise` found; None where an older stage 1 made the manifests."""
    return read_json(manifests / FILE) if (manifests / FILE).is_file() else None


def summarise(manifests: Path, site: Mapping[str, str], reading: Reading) -> dict[str, Any]:
    """Return {"sets": {name: numbers}, "lists": {name: numbers}, "remarks": [[kind, name, text]]} of a folder of manifests.

    Numbers of a set: `summarise_set`, and of speech `band` (Hz, median) of `heard` utterances. Numbers of a list:
    `summarise_list`, its `set`, and `design` (`list_design`). The calibration list is called "calibration/dev".
    """
    names = [*SPEECH_SETS, *sorted(set(read_roots(manifests)) - set(SPEECH_SETS))]
    sets = {name: read_set(manifests, name) for name in names if has_set(manifests, name)}
    listeners = {name: _listener(manifests, site, name, sets[name]) for name in SPEECH_SETS if name in sets}
    found: dict[str, Any] = {"sets": {}, "lists": {}, "remarks": []}
    for name, utterances in sets.items():
        found["sets"][name] = summarise_set(utterances) | (_band(listeners[name], utterances) if name in listeners else {})
    for name, path, set_name in (each for each in _lists(manifests) if each[-1] in sets):
        found["lists"][name] = _of_list(name, path, set_name, sets[set_name], listeners[set_name], read_groups(manifests))
    speech = {name: sets[name] for name in listeners}
    said = [["speech", "left out", text] for text in _left_out(manifests)]
    said += [["speech", "recordings", text] for text in equal_remarks(_equal(read_groups(manifests), speech))]
    found["remarks"] = said + _remarks(found, speech, listeners, reading)
    return found


def _left_out(manifests: Path) -> list[str]:
    """How many files are in no set, and why; a line, or none."""
    path = manifests / PROBLEMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    reasons: dict[str, Counter[str]] = defaultdict(Counter)  # without figures -> with them
    for line in lines:
        what = re.split(r":| \(|, ", line.split("\t")[2], maxsplit=1)[0]
        reasons[re.sub(r"(?<![\w-])\d[\d.,]*", "N", what)][what] += 1
    counts = Counter({next(iter(each)) if len(each) == 1 else what: each.total() for what, each in reasons.items()})
    shown = ", ".join(f"{num:,} x {what}" for what, num in counts.most_common(NUM_REASONS))
    more = ", ..." if len(reasons) > NUM_REASONS else ""
    return [f"{len(lines):,} files are in no set: {shown}{more}; see {path.name}"] if lines else []


def _lists(manifests: Path) -> list[tuple[str, Path, str]]:
    """(name, file, set) of each trial list."""
    lists = [(path.stem, path, "test") for path in sorted((manifests / "trials").glob("*.txt"))]
    return lists + [(f"calibration/{path.stem}", path, "dev") for path in sorted((manifests / "calibration").glob("dev.txt"))]


def _of_list(
    name: str, path: Path, set_name: str, utterances: Utterances, listener: Listener, equal: list[list[str]]
) -> dict[str, Any]:
    listed, enrolment = read_trial_index(path), path.parent.parent / "enrolment" / path.name
    has_labels = listed.is_target is not None
    labels = listed.is_target if has_labels else np.zeros(len(listed.enrol_P), dtype=bool)
    trials = TrialIndex(listed.ids, listed.enrol_P, listed.test_P, labels)
    models = read_models(enrolment) if set_name == "test" and enrolment.is_file() else {}
    sides = list_sides(trials, models, utterances)
    numbers = summarise_list(trials, sides, utterances, content_codes(equal, utterances))
    if not has_labels:
        return {"set": set_name, **without_labels(numbers), "design": {"factors": {}, "drift": {}}}
    return {"set": set_name, **numbers, "design": list_design(name, sides, utterances, listener)}


def _listener(manifests: Path, site: Mapping[str, str], name: str, utterances: Utterances) -> Listener:
    return Listener(utterances, audio_root(name, manifests, site))


def _equal(groups: list[list[str]], speech: Mapping[str, Utterances]) -> list[list[tuple[str, str, str]]]:
    """(id, speaker, set) of the utterances of each group; those that are in no set are left out."""
    return [
        [
            (name, utterances.speakers[row], set_name)
            for name in group
            for set_name, utterances in speech.items()
            if (row := utterances.ids.find(name)) >= 0
        ]
        for group in groups
    ]


def _band(listener: Listener, utterances: Utterances) -> dict[str, Any]:
    heard = listener.hear(spread_rows(len(utterances), NUM_HEARD)).values()
    return {"band": round(float(np.median([each.band for each in heard]))), "heard": len(heard)} if heard else {}


def _remarks(
    found: Mapping[str, Any], speech: Mapping[str, Utterances], listeners: Mapping[str, Listener], reading: Reading
) -> list[list[str]]:
    remarks = []
    if reading.levels and all(map(is_tree, speech.values())):
        remarks += [["speakers", "folders", text] for text in folder_remarks(speech.values(), has_corpora=reading.has_corpora)]
    names = name_remarks({name: utterances.speakers for name, utterances in speech.items()})
    remarks += [["speakers", "names", text] for text in names]
    for name, listener in listeners.items():
        if listener.problem:
            remarks.append(["set", name, f"band and levels are not measured: {listener.problem}"])
    remarks += [["set", name, text] for name, text in set_remarks(found["sets"])]
    for name, numbers in found["lists"].items():
        is_reported = numbers["set"] == "test" and not any(name.startswith(f"{other}-") for other in found["lists"])
        said = list_remarks(numbers, is_made=reading.makes_lists) if is_reported else few_remarks(numbers)
        remarks += [["trials", name, text] for text in said]
    return remarks
