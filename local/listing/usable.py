"""What of a corpus's audio can be used: all that is wrong with it is collected, and the rest looked at as if it were repaired."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from local.listing import findings, shards, splits
from local.listing.findings import Finding
from local.listing.shards import BANKS, Listing, Opened
from steps.core.errors import RecipeError
from steps.core.faults import Faults
from steps.data.ids import id_faults
from steps.data.manifests import Utterance
from steps.data.names import is_text, printable

if TYPE_CHECKING:
    from local.listing.corpus import CorpusSettings

_NUM_SHOWN = 5


class FeatureRate(Protocol):
    """The settings of features, as far as stage 1 looks at them."""

    sampling_rate: int  # Hz, that they are made from
    resample: bool  # whether other rates are converted to it


@dataclass(frozen=True, kw_only=True)
class Usable:
    """The files of a corpus, and those that can be used."""

    opened: list[Opened]  # every file
    speech: list[Utterance]  # those that are good, of speakers with enough utterances
    problems: list[Finding]  # the others


def usable(
    settings: "CorpusSettings",
    listing: Listing,
    unit_folders: Mapping[str, Path],
    out: Path,
    features: FeatureRate | None,
    faults: Faults,
    *,
    any_number: bool = False,
) -> Usable:
    """Return what can be used; where there are faults, what could be if they were repaired as their messages say.

    Args:
        settings: of the corpus.
        listing: its files.
        unit_folders: the shards, in which they were opened.
        out: gets problems.tsv where files are refused.
        features: what they are made from, where that is known.
        faults: gets what is wrong.
        any_number: of utterances a speaker will do.
    """
    opened = shards.read_units(listing, unit_folders, decode=settings.check_audio == "decode")
    opened = findings.with_short_ones(opened, settings.min_duration, BANKS)
    opened = _well_named(opened, listing, faults)
    judged = [each.judged(listing[each.kind].channel) for each in opened]
    bad = findings.problems(judged)
    with faults.collected():
        limits = {"bad_audio": settings.bad_audio, "max_bad": settings.max_bad}
        findings.refuse_bad(judged, out, **limits, first=opened if judged != opened else None)
        opened = judged
    channel = listing["speech"].channel
    speech = [each.utterance(channel) for each in opened if each.kind == "speech" and not each.problem]
    bad += _judge_rates(settings, speech, features, faults)
    few = {} if any_number else splits.too_few(speech, settings.min_utterances)
    if few and settings.few_utterances == "fail":
        faults.add(_few_fault(settings, few, is_all=len(few) == len({item.speaker for item in speech})))
    what = f"its speaker has fewer than {settings.min_utterances} utterances"
    bad += [("speech", item.path, what) for item in speech if item.speaker in few]
    return Usable(opened=opened, speech=[item for item in speech if item.speaker not in few], problems=bad)


def listing_faults(listing: Listing) -> Iterable[RecipeError]:
    """Yield what is wrong with the ids of files."""
    for files in listing.values():
        yield from id_faults(((row.id, row.speaker, row.path) for row in files.rows), str(files.root))


def _well_named(opened: list[Opened], listing: Listing, faults: Faults) -> list[Opened]:
    """Return the files; where there are ids that cannot be used, as if blanks were replaced and each id there once."""
    found = list(listing_faults(listing))
    if not found:
        return opened
    faults.found += found
    by_id = {}
    for each in (each for each in opened if is_text(each.row.path)):
        row = replace(each.row, id=re.sub(r"\s", "_", each.row.id), speaker=re.sub(r"\s", "_", each.row.speaker))
        by_id.setdefault((each.kind, row.id), replace(each, row=row))
    return list(by_id.values())


def _judge_rates(
    settings: "CorpusSettings", speech: list[Utterance], features: FeatureRate | None, faults: Faults
) -> list[Finding]:
    """Keep a fault of the sampling rates; return the files of the wrong ones."""
    wanted = features.sampling_rate if features is not None and not features.resample else 0
    usual = wanted if any(each.sampling_rate == wanted for each in speech) else shards.usual_rate(speech)
    expected = (settings.sampling_rate or usual) if settings.mixed_sampling_rates == "fail" else 0
    fault = shards.rate_fault(speech, expected, wanted)
    if fault is None:
        return []
    faults.add(fault)
    right = wanted or expected
    wrong = [each for each in speech if each.sampling_rate != right]
    return [("speech", each.path, f"has a sampling rate of {each.sampling_rate} Hz, expected {right} Hz") for each in wrong]


def _few_fault(settings: "CorpusSettings", few: Mapping[str, int], *, is_all: bool) -> RecipeError:
    shown = ", ".join(f"{printable(speaker)} ({num})" for speaker, num in list(few.items())[:_NUM_SHOWN])
    who = f"all {len(few)}" if is_all else str(len(few))
    return RecipeError(
        f"{who} speakers have fewer than prepare.min_utterances = {settings.min_utterances} utterances: {shown}"
        f"{', ...' if len(few) > _NUM_SHOWN else ''}; add recordings, say which folder is the speaker "
        "(--set prepare.speaker_level=-2: the last but one), "
        + (
            "or lower prepare.min_utterances"
            if is_all
            else "lower prepare.min_utterances, or add --set prepare.few_utterances=exclude"
        ),
        repairs=[] if is_all else [("prepare.few_utterances", "exclude")],
    )
