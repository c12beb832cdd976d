"""Stage 2: audio becomes features.

Reads manifests (and the audio below the roots of [site]).
Writes for every speech set <set>/feats.<shard>.ark (Kaldi), <set>/feats.scp with names relative to its folder, and
<set>/features.jsonl.gz (lhotse).
"""

from collections.abc import Mapping
from pathlib import Path

from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.core.stage import Input, Job, Stage
from steps.signal.settings import FEATURES

SPEECH_SETS = ("train", "dev", "test")
SHARD_SIZE = 100  # utterances; fixes the files, and so the bytes, whatever the number of jobs
DITHER_SEED = 1  # of features.dither, the only randomness here


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
    """The features of one shard of utterances."""
    import numpy as np

    from steps.data.archive import write_ark, write_scp
    from steps.data.audio import read_audio
    from steps.data.manifests import audio_root, read_set
    from steps.signal.frontend import extract

    set_name, _, shard = unit.rpartition(".")
    manifests, first = job.input("manifests"), int(shard) * SHARD_SIZE
    utterances = read_set(manifests, set_name)[first : first + SHARD_SIZE]

    root, features = audio_root(set_name, manifests, job.site), job.settings.features

    def items():
        for utterance in utterances:
            path = root / utterance.path
            samples, rate = read_audio(
                path, start_sample=utterance.start_sample, num_samples=utterance.num_samples, channel=utterance.channel
            )
            rng = generator(DITHER_SEED, "extract", utterance.id) if features.is_random else None
            try:
                feats_TF = extract(samples, rate, features, rng=rng)
            except ValueError as error:
                raise RecipeError(f"{path}: utterance '{utterance.id}': {error}") from None
            if not np.isfinite(feats_TF).all():
                raise RecipeError(
                    f"{path}: utterance '{utterance.id}': its features are NaN or infinite; expected samples in +-1, found some "
                    f"up to {abs(samples).max():.3g}; convert the file, or remove it and run stage 1 again"
                )
            yield utterance.id, feats_TF

    storage = getattr(features, "storage", "float32")  # a waveform has no choice
    write_scp(job.out, write_ark(job.out / f"feats.{shard}.ark", items(), storage))


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """One scp and one lhotse manifest per set; the arks stay as they are."""
    from steps.data.feature_manifest import write_feature_manifest
    from steps.data.shards import merge_shards

    for set_name in merge_shards(units, job.out):
        write_feature_manifest(job.out / set_name, job.input("manifests") / set_name, job.settings.features)


STAGE = Stage(
    name="extract",
    version=1,
    sections={"features": FEATURES},
    inputs=(Input(name="manifests", help="the output of stage 1"),),
    outputs=("*/*.ark", "*/*.scp", "*/features.jsonl.gz"),
    work=work,
    units=units,
    merge=merge,
)

if __name__ == "__main__":
    STAGE.main()
