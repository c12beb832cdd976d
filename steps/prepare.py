"""Stage 1: a corpus becomes manifests and trial lists.

Reads the corpus that `prepare.type` names, below the roots of [site] (`./run.sh --data DIR` sets site.corpus).
Writes <set>/recordings.jsonl.gz and supervisions.jsonl.gz (lhotse) for the sets train, dev, test (and noise, music, rir,
babble where there are any; beside them shares, where their sounds are not equally likely), trials/<trial list>.txt,
calibration/dev.txt (trials of held-out training speakers), utt2spk, roots.json, problems.tsv where audio was left out and
remarks.tsv where something is odd; clustering/<list>.txt and identification/<list>.txt where the corpus has such lists;
summary.json, what was understood of all that, which is also said on the log.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from local import audiomnist, cnceleb, folder, librispeech, speechocean762, timit, toy, vctk, voxceleb
from local.listing import findings
from local.listing.corpus import CorpusSettings
from local.listing.files import NO_LEVEL
from steps.core.stage import Job, Stage

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


def units(job: Job) -> list[str]:
    """Shards of the corpus, fixed by its files and settings alone."""
    return CORPORA[job.settings.prepare.type].list_units(job.settings.prepare, job.site)


def work(job: Job, unit: str) -> None:
    """Read (or make) the audio of one shard."""
    CORPORA[job.settings.prepare.type].prepare_unit(job.settings.prepare, job.site, unit, job.out)


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """Manifests and trials from all shards, and what was understood."""
    CORPORA[job.settings.prepare.type].merge(job.settings.prepare, job.site, dict(units), job.out)
    say(job)


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
    sections={"prepare": {name: module.Settings for name, module in CORPORA.items()}},
    outputs=("*/*.jsonl.gz", "trials/*.txt", "utt2spk", "roots.json"),
    optional=("calibration/*.txt", "enrolment/*.txt", "clustering/*.txt", "identification/*.txt", "*/shares", "audio"),
    work=work,
    units=units,
    merge=merge,
    observe=observe,
    goes_on=goes_on,
)

if __name__ == "__main__":
    STAGE.main()
