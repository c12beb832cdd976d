"""What stage 2 made, as lhotse describes it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steps.core.errors import RecipeError
from steps.data.archive import FEATS_SCP, Archive
from steps.data.manifests import read_set, write_jsonl

FEATURES = "features.jsonl.gz"


def write_feature_manifest(folder: Path, set_folder: Path, settings: Any) -> None:
    """Write a lhotse FeatureSet, `features.jsonl.gz`, of the features in `folder`, with paths relative to it.

    lhotse reads it after `FeatureSet.from_file(...).with_path_prefix(folder)`. Its own reader of Kaldi arks needs the
    package kaldi_native_io; `steps.data.lhotse_reader` brings another for those who do not have it. A matrix from which
    frames were dropped (VAD) has the duration of the frames that are left.

    Args:
        folder: with `feats.scp` and its arks.
        set_folder: the manifests of the set.
        settings: of the features: `type` and `sampling_rate`, and `frame_shift` (s) or, for a waveform, `decimate`.

    Raises:
        RecipeError: an utterance that is not in the set.
    """
    archive = Archive(folder, FEATS_SCP)
    known = read_set(set_folder.parent, set_folder.name)
    missing = [utterance_id for utterance_id in archive if utterance_id not in known.ids]
    if missing:
        raise RecipeError(
            f"{archive.path}: {len(missing)} of {len(archive)} utterances are not in {set_folder}, first "
            f"'{missing[0]}'; run stages 1 and 2 again"
        )
    write_jsonl(folder / FEATURES, _records(archive, known, settings))


def _records(archive: Archive, known: Any, settings: Any) -> Iterator[dict[str, Any]]:
    shift = settings.frame_shift if hasattr(settings, "frame_shift") else settings.decimate / settings.sampling_rate
    rows = zip(archive.ids, archive.places(), archive.shapes(), strict=True)
    for utterance_id, (ark, offset), (num_frames, num_features) in rows:
        utterance = known[known.ids.find(utterance_id)]
        yield {
            "type": settings.type,
            "num_frames": num_frames,
            "num_features": num_features,
            "frame_shift": shift,
            "sampling_rate": settings.sampling_rate,
            "start": utterance.start,
            "duration": round(num_frames * shift, 9),
            "storage_type": "kaldiio",
            "storage_path": f"{ark}:{offset}",
            "storage_key": "",
            "recording_id": utterance_id,
            "channels": utterance.channel,
        }
