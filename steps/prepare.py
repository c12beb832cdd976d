"""Stage 1: a corpus becomes manifests and trial lists.

Reads the corpus that `prepare.type` names, below the roots of [site] (`./run.sh --data DIR` sets site.corpus).
Writes <set>/recordings.jsonl.gz and supervisions.jsonl.gz (lhotse) for the sets train, dev, test (and noise, music, rir,
babble where there are any; beside them shares, where their sounds are not equally likely), trials/<trial list>.txt,
calibration/dev.txt (trials of held-out training speakers), utt2spk, roots.json, problems.tsv where audio was left out and
remarks.tsv where something is odd; audio_content.tsv and opened/ (of which bytes all this was made; not of "toy");
clustering/<list>.txt and identification/<list>.txt where the corpus has such lists; summary.json, what was understood of all
that, which is also said on the log.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from local import audiomnist, cnceleb, folder, librispeech, speechocean762, timit, toy, vctk, voxceleb
from local.listing import findings
from local.listing.corpus import CorpusSettings
from local.listing.files import NO_LEVEL
from steps.core.config import IfGiven
from steps.core.errors import RecipeError
from steps.core.faults import command_with
from steps.core.stage import Job, Stage
from steps.data.audio_content import CONTENT
from steps.data.manifests import read_rates
from steps.signal.settings import FEATURES

SPEECH_SETS = ("train", "dev", "test")

# Each corpus is one module with Settings, inventory, list_units, prepare_unit and merge; `prepare.type` chooses it. Where
# `merge` checks each piece of a shard against the corpus as it now is, UNIT_SETTINGS names the settings that a shard depends on.
CORPORA = {
    "toy": toy,
    "folder": folder,
    "voxceleb": voxceleb,
    "librispeech": librispeech,
    "timit": timit,
    "cnceleb": cnceleb,
    "vctk": vctk,
    "speechocean762": speechocean762,
    "audiomnist": audiomnist,
}


def observe(settings: SimpleNamespace, site: dict[str, str]) -> dict[str, str]:
    """A hash of the corpus's list of files: a file added, removed or resized makes the manifests out of date."""
    return {"corpus": CORPORA[settings.prepare.type].inventory(settings.prepare, site)}


def goes_on(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether shards of an unfinished run serve: after a repair of audio or lists, or a change of what only `merge` reads."""
    before, after = old["settings"]["prepare"], new["settings"]["prepare"]
    names = getattr(CORPORA[after["type"]], "UNIT_SETTINGS", ())
    same = all(before.get(name) == after.get(name) for name in ("type", *names))
    return bool(names) and same and old["version"] == new["version"]


def narrow(tables: dict[str, Any]) -> dict[str, Any]:
    """Where nothing gives a split, "auto" is "made", as it was called before; where something does, the corpus's hash says it."""
    prepare = tables["prepare"]
    return {"prepare": prepare | {"split": "made"} if prepare.get("split") == "auto" else prepare}


def units(job: Job) -> list[str]:
    """Shards of the corpus, fixed by its files and settings alone."""
    return CORPORA[job.settings.prepare.type].list_units(job.settings.prepare, job.site)


def work(job: Job, unit: str) -> None:
    """Read (or make) the audio of one shard."""
    CORPORA[job.settings.prepare.type].prepare_unit(job.settings.prepare, job.site, unit, job.out)


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """Manifests and trials from all shards, and what was understood."""
    CORPORA[job.settings.prepare.type].merge(job.settings.prepare, job.site, dict(units), job.out, job.settings.features)
    say(job)


def finish(job: Job) -> None:
    """Refuse manifests whose sampling rates the features of this system cannot take, also where another system made them."""
    features = job.settings.features
    if features is None or features.resample:
        return
    for name, counts in read_rates(job.out).items():
        odd = sorted(counts.keys() - {features.sampling_rate}) if name in SPEECH_SETS else []
        if odd:
            raise RecipeError(
                f"{job.out / name}: {counts[odd[0]]} recordings have {odd[0]} Hz; expected features.sampling_rate = "
                f"{features.sampling_rate} Hz; convert them, or add --set features.resample=true:\n"
                f"    {command_with([('features.resample', True)])}",
                repairs=[("features.resample", True)],
            )


def outdated(job: Job) -> str:
    """Which audio has other content than finished manifests were made of; that of "toy" lies among them."""
    compare = getattr(CORPORA[job.settings.prepare.type], "changed", None)
    return compare(job.settings.prepare, job.site, job.out, read_all=job.verify) if compare else ""


def lost(job: Job) -> dict[str, str]:
    """What finished manifests should know of their files and do not."""
    known = getattr(CORPORA[job.settings.prepare.type], "lost", None)
    return known(job.settings.prepare, job.site, job.out) if known else {}


def recover(job: Job, unit: str, old: Path, wrong: Mapping[str, str]) -> bool:
    """What is known of the files of one shard; those that have changed are opened again in `merge`."""
    known = getattr(CORPORA[job.settings.prepare.type], "recover", None)
    return known is not None and known(job.settings.prepare, job.site, unit, old, job.out)


def say(job: Job) -> None:
    """Write summary.json of the manifests in `job.out`, add its remarks to remarks.tsv, and say both on the log."""
    from steps.core.files import write_json
    from steps.results.data_summary import FILE, Reading, summarise
    from steps.tables.data import data_tables, remark_lines
    from steps.tables.table import to_text

    s = job.settings.prepare
    reading = Reading(
        levels=isinstance(s, folder.Settings) and not s.table,
        has_corpora=isinstance(s, folder.Settings) and max(s.corpus_level, s.session_level) != NO_LEVEL,
        makes_lists=isinstance(s, CorpusSettings) and not s.trials and not s.HAS_TRIALS,
    )
    summary = summarise(job.out, job.site, reading)
    write_json(job.out / FILE, summary)
    findings.add(job.out / findings.REMARKS, [tuple(remark) for remark in summary["remarks"]])
    job.log.info("what was understood (also in %s):\n\n%s", FILE, "\n".join(map(to_text, data_tables(summary))))
    if summary["remarks"]:
        job.log.warning("remarks (also in %s):\n\n%s\n", findings.REMARKS, "\n".join(remark_lines(summary)))


STAGE = Stage(
    name="prepare",
    version=1,
    # What the features are made from decides nothing here: audio of another rate is refused before hours of work.
    sections={"prepare": {name: module.Settings for name, module in CORPORA.items()}, "features": IfGiven(FEATURES)},
    narrow=narrow,
    outputs=("*/*.jsonl.gz", "trials/*.txt", "utt2spk", "roots.json"),
    optional=(CONTENT, "calibration/*.txt", "enrolment/*.txt", "clustering/*.txt", "identification/*.txt", "*/shares", "audio"),
    work=work,
    units=units,
    merge=merge,
    observe=observe,
    goes_on=goes_on,
    outdated=outdated,
    lost=lost,
    recover=recover,
    finish=finish,
)

if __name__ == "__main__":
    STAGE.main()
