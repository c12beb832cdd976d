"""Compressed audio becomes FLAC once: VoxCeleb2's m4a, say, which every stage that reads it would decode again.

    python -m steps.transcode --set site.corpus=DATA/vox2/dev/aac --out DATA/vox2/dev/flac --jobs 16

Reads every .m4a, .aac, .mp4, .mp3, .ogg and .opus below site.corpus.
Writes each as <out>/<the same path>.flac (mono, 16 bits, sampling rate as it is), flac.tsv (path, samples, Hz, bytes of the
source) and problems.tsv of what could not be read. Nothing is deleted. recipes/voxceleb reads flac/ beside aac/, an utterance
that is in both from flac/: what could not be transcoded is met there again.
"""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from local.listing.files import audio_files
from local.listing.findings import PROBLEMS, write
from local.listing.shards import BAD_AUDIO, site_root
from steps.core.errors import RecipeError
from steps.core.files import atomic_write, place
from steps.core.stage import Job, Stage

SHARD_SIZE = 500  # files; fixes the units, whatever the number of jobs
COMPRESSED = (".m4a", ".aac", ".mp4", ".mp3", ".ogg", ".opus")

_RECORDS = "files.jsonl"  # of a unit, and of all: a line per source
_NUM_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is done with files that cannot be read."""

    bad_audio: str = "fail"  # "fail" or "exclude": what is done with them
    max_bad: float = 0.01  # share of the files; more of them are an error even if excluded

    def __post_init__(self) -> None:
        if self.bad_audio not in BAD_AUDIO:
            raise ValueError(f"bad_audio: expected one of {', '.join(BAD_AUDIO)}, found '{self.bad_audio}'")
        if not 0 <= self.max_bad <= 1:
            raise ValueError(f"max_bad: expected 0 to 1, found {self.max_bad}")


class Record(NamedTuple):
    """What became of a source."""

    path: str  # below site.corpus
    state: str  # size, times and inode
    content: str  # begin of its SHA-256
    problem: str  # "" where it is good
    num_samples: int = 0
    sampling_rate: int = 0  # Hz
    num_bytes: int = 0  # of the source
    flac_bytes: int = 0  # of what was made of it


def sources(site: Mapping[str, str]) -> list[str]:
    """Paths of the compressed files below site.corpus, sorted.

    Raises:
        RecipeError: there is none, or two would become one FLAC.
    """
    root = site_root(site, "corpus")
    found = [path for path in audio_files(root) if os.path.splitext(path)[1].lower() in COMPRESSED]
    if not found:
        raise RecipeError(f"{root}: no compressed audio ({', '.join(COMPRESSED)}) below it; correct site.corpus")
    targets: dict[str, str] = {}
    for path in found:
        other = targets.setdefault(_target(path), path)
        if other != path:
            raise RecipeError(f"{root}: {other} and {path} would both become {_target(path)}; expected one; move one away")
    return found


def observe(settings: SimpleNamespace, site: dict[str, str]) -> dict[str, str]:
    """A hash of the list of sources and their sizes."""
    root, digest, found = site_root(site, "corpus"), hashlib.sha256(), sources(site)
    for path in found:
        digest.update(f"{path}\t{(root / path).stat().st_size}\n".encode())
    return {"corpus": f"{len(found)} files, sha256 {digest.hexdigest()[:16]}"}


def goes_on(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether finished units serve: always, as `merge` compares each source with what it was, and does again what is another."""
    return old["version"] == new["version"]


def units(job: Job) -> list[str]:
    """Names of the shards of the sorted list of sources."""
    root = site_root(job.site, "corpus").resolve()
    if job.out.resolve().is_relative_to(root):
        raise RecipeError(f"--out {job.out}: lies in site.corpus = {root}, so that it would be read; choose a folder beside it")
    return [f"flac.{number:05d}" for number in range(-(-len(sources(job.site)) // SHARD_SIZE))]


def work(job: Job, unit: str) -> None:
    """Transcode the files of one shard; write what became of each as files.jsonl."""
    root, first = site_root(job.site, "corpus"), int(unit.rpartition(".")[2]) * SHARD_SIZE
    records = [transcode(root, path, job.out) for path in sources(job.site)[first : first + SHARD_SIZE]]
    _write_records(job.out, records)


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """Put all files in one folder; those that were bad or are others by now are transcoded anew."""
    from steps.data.audio_content import state_of

    root = site_root(job.site, "corpus")
    known = {record.path: (record, folder) for folder in units.values() for record in _read_records(folder)}
    records = []
    for path in sources(job.site):
        record, folder = known.get(path, (None, None))
        if record is None or record.problem or record.state != state_of(root / path):
            record = transcode(root, path, job.out)
        else:
            place(folder / _target(path), job.out / _target(path))
        records.append(record)
    bad = [("flac", record.path, record.problem) for record in records if record.problem]
    write(job.out / PROBLEMS, bad)
    _refuse(job.settings.transcode, job.out, bad, len(records))
    _write_records(job.out, records)
    with atomic_write(job.out / "flac.tsv") as file:
        good = sorted((_target(each.path), each) for each in records if not each.problem)
        file.writelines(f"{name}\t{each.num_samples}\t{each.sampling_rate}\t{each.num_bytes}\n" for name, each in good)


def transcode(root: Path, path: str, out: Path) -> Record:
    """Write one source as FLAC, where it can be read as a whole; what became of it."""
    import numpy as np
    import soundfile

    from steps.data.audio import MONO, inspect_audio, read_audio
    from steps.data.audio_content import content_of, state_of

    state = state_of(root / path)  # taken first: what is changed while it is open counts as changed
    known = Record(path, state, content_of(root / path), "")
    inspection = inspect_audio(root / path, channel=MONO)
    if inspection.problem:
        return known._replace(problem=inspection.problem)
    samples_W, sampling_rate = read_audio(root / path, channel=MONO)
    target = out / _target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Decoders of lossy formats give what lies a little beyond full scale; 16 bits cannot, so it is clipped.
    integers_W = np.clip(np.rint(samples_W * 32768.0), -32768, 32767).astype(np.int16)
    encoded = io.BytesIO()  # written by Python, which says if a disk is full; libsndfile does not say why it failed
    soundfile.write(encoded, integers_W, sampling_rate, format="FLAC", subtype="PCM_16")
    target.write_bytes(encoded.getbuffer())
    sizes = {"num_bytes": (root / path).stat().st_size, "flac_bytes": target.stat().st_size}
    return known._replace(num_samples=len(integers_W), sampling_rate=sampling_rate, **sizes)


def outdated(job: Job) -> str:
    """Which FLAC files are gone or have another size, and which sources have other content; "" if all is as it was left."""
    from steps.data.audio_content import content_of, state_of

    root, lost, changed = site_root(job.site, "corpus"), [], []
    for record in _read_records(job.out) if (job.out / _RECORDS).is_file() else ():
        if not record.problem and not _is_whole(job.out, record):
            lost.append(_target(record.path))
        is_other = job.verify or record.state != state_of(root / record.path)
        if is_other and content_of(root / record.path) != record.content:
            changed.append(record.path)
    parts = (("FLAC files are gone or have another size", lost), ("sources have other content", changed))
    return "; ".join(f"{len(names)} {what}, first {names[0]}" for what, names in parts if names)


def recover(job: Job, unit: str, old: Path, wrong: Mapping[str, str]) -> bool:
    """The files of a shard that are whole; `merge` makes the others of it."""
    first, kept = int(unit.rpartition(".")[2]) * SHARD_SIZE, []
    for record in _read_records(old)[first : first + SHARD_SIZE] if (old / _RECORDS).is_file() else ():
        if not record.problem and _is_whole(old, record):
            place(old / _target(record.path), job.out / _target(record.path))
            kept.append(record)
    _write_records(job.out, kept)
    return bool(kept)


def _is_whole(out: Path, record: Record) -> bool:
    path = out / _target(record.path)
    return path.is_file() and path.stat().st_size == record.flac_bytes


def _write_records(folder: Path, records: list[Record]) -> None:
    with atomic_write(folder / _RECORDS) as file:
        file.writelines(json.dumps(record._asdict()) + "\n" for record in records)


def _read_records(folder: Path) -> list[Record]:
    with open(folder / _RECORDS, encoding="utf-8") as file:
        tables = map(json.loads, file)
        return [Record(**table) for table in tables if "content" in table]  # without: of a run before contents were recorded


def _refuse(settings: Settings, out: Path, bad: list[tuple[str, str, str]], num: int) -> None:
    """Raise a RecipeError for bad files, unless they are few and may be left out; all files, if they are bad, may not."""
    if not bad or (settings.bad_audio == "exclude" and len(bad) <= settings.max_bad * num and len(bad) < num):
        return
    shown = "; ".join(f"{path} {problem}" for _, path, problem in bad[:_NUM_SHOWN])
    raise RecipeError(
        f"{len(bad)} of {num} files cannot be transcoded: {shown}{'; ...' if len(bad) > _NUM_SHOWN else ''}; the whole list is "
        f"in {out / PROBLEMS}; repair or remove them and give the same command again (what is done stays), or add "
        "--set transcode.bad_audio=exclude --set transcode.max_bad=SHARE"
    )


def _target(path: str) -> str:
    return os.path.splitext(path)[0] + ".flac"


STAGE = Stage(
    name="transcode",
    version=1,
    sections={"transcode": Settings},
    outputs=("flac.tsv",),  # the FLAC files themselves are too many to be hashed
    optional=(PROBLEMS,),
    work=work,
    units=units,
    merge=merge,
    observe=observe,
    goes_on=goes_on,
    outdated=outdated,
    recover=recover,
)

if __name__ == "__main__":
    STAGE.main()
