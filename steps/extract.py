"""Stage 2: audio becomes features.

Reads manifests (and the audio below the roots of [site]).
Writes for every speech set <set>/feats.<shard>.ark (Kaldi), <set>/feats.scp with names relative to its folder, and
<set>/features.jsonl.gz (lhotse); with features.storage = "none" only <set>/utt2num_frames, how many
there would be, and <set>/utt2checksum, of which bytes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from steps.core.errors import RecipeError
from steps.core.stage import Input, Job, Stage
from steps.signal.settings import FEATURES

if TYPE_CHECKING:
    import numpy as np

    from steps.data.manifests import Utterance

SPEECH_SETS = ("train", "dev", "test")
SHARD_SIZE = 100  # utterances; fixes the files, and so the bytes, whatever the number of jobs


def units(job: Job) -> list[str]:
    """Names `<set>.<shard>` of runs of utterances in the order of their ids."""
    from steps.data.manifests import has_set, read_set

    manifests, names = job.input("manifests"), []
    for set_name in SPEECH_SETS:
        if has_set(manifests, set_name):
            num_shards = -(-len(read_set(manifests, set_name)) // SHARD_SIZE)
            names += [f"{set_name}.{shard:05d}" for shard in range(num_shards)]
    if not names:
        raise RecipeError(f"{manifests}: holds none of the sets {', '.join(SPEECH_SETS)}; run stage 1 (prepare) again")
    return names


def work(job: Job, unit: str) -> None:
    """The features of one shard of utterances, or their lengths."""
    from steps.data.archive import write_ark, write_scp
    from steps.data.manifests import audio_root, read_set
    from steps.examples.recordings import check_content, features_of, write_facts

    set_name, _, shard = unit.rpartition(".")
    manifests, first = job.input("manifests"), int(shard) * SHARD_SIZE
    utterances = read_set(manifests, set_name)[first : first + SHARD_SIZE]
    root, features = audio_root(set_name, manifests, job.site), job.settings.features
    if features.storage == "none":
        write_facts(job.out, set_name, utterances, root, manifests, features)
        return

    def made(each: "Utterance") -> "np.ndarray":
        check_content(each, root, manifests, set_name)
        return features_of(each, root, features)

    items = ((each.id, made(each)) for each in utterances)
    write_scp(job.out, write_ark(job.out / f"feats.{shard}.ark", items, features.storage))


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """One scp and one lhotse manifest per set; the arks stay as they are."""
    _say_rates(job)
    from steps.data.feature_manifest import write_feature_manifest
    from steps.data.shards import merge_lines, merge_shards
    from steps.examples.recordings import CHECKSUMS, NUM_FRAMES

    if job.settings.features.storage == "none":
        for name in (NUM_FRAMES, CHECKSUMS):
            merge_lines(units, job.out, name)
        return
    for set_name in merge_shards(units, job.out):
        write_feature_manifest(job.out / set_name, job.input("manifests") / set_name, job.settings.features)


def recover(job: Job, unit: str, old: Path, wrong: Mapping[str, str]) -> bool:
    """The features of a shard, if they are stored."""
    from steps.data.shards import recover_shard

    if job.settings.features.storage == "none":
        return False
    return recover_shard(unit, old, wrong, job.out, ark="feats") is not None


def _say_rates(job: Job) -> None:
    """A warning about files at a lower rate than the features'."""
    from steps.data.manifests import has_set, read_set
    from steps.data.set_summary import summarise_set
    from steps.results.data_remarks import rate_remarks

    manifests = job.input("manifests")
    sets = {name: summarise_set(read_set(manifests, name)) for name in SPEECH_SETS if has_set(manifests, name)}
    for name, text in rate_remarks(sets, job.settings.features.sampling_rate):
        job.log.warning("set %s: %s", name, text)


STAGE = Stage(
    name="extract",
    version=1,
    sections={"features": FEATURES},
    inputs=(Input(name="manifests", help="the output of stage 1"),),
    outputs=("*/*",),
    work=work,
    units=units,
    merge=merge,
    recover=recover,
)

if __name__ == "__main__":
    STAGE.main()
