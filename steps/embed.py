"""Stage 5: features become embeddings.

Reads features (all sets) and a model; with features.storage = "none" manifests, and the audio below the roots of [site].
Writes <set>/embeddings.<batch group>.ark (Kaldi) and embeddings.scp: a vector per utterance, or with `embed.window` a
matrix with one row per window; model.json, what is known of the network; and pair_head.json of a siamese one.
With `embed.class_scores` also class_scores/<set>/class_scores.<batch group>.ark and class_scores.scp, what the training head says
of an utterance: a number for each training speaker, in the order of the file speakers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from steps.core import config, files
from steps.core.config import field
from steps.core.errors import RecipeError
from steps.core.stage import Input, Job, Stage
from steps.nnet.settings import HEAD_SETTINGS, MODEL_SETTINGS
from steps.signal.cutting import CUTS, cutting, repeated
from steps.signal.settings import FEATURES

if TYPE_CHECKING:
    import numpy as np
    import torch

    from steps.data.archive import Archive
    from steps.examples.recordings import Features
    from steps.nnet.networks.base import EmbeddingNetwork

BATCHES_PER_UNIT = 16
CLASS_SCORES = "class_scores"  # folder beside those of the sets


@dataclass(frozen=True, kw_only=True)
class Embed:
    """How utterances go through the network."""

    window: float = 0.0  # s, length of a window; 0: the whole utterance at once
    hop: float = 0.0  # s, from one window to the next; 0: half a window
    # where windows lie: "last", the last one ends with the utterance, and a short one is one window; "tiled", none but those
    # of the hop, and a short utterance is repeated, up to four windows; "even", num_windows of them; "centre", one, in the middle
    # of the utterance, a short one being repeated up to the window's length (see signal/cutting.py)
    cut: str = "last"
    num_windows: int = 0  # of cut = "even"; ten in Chung et al. 2018
    append_reversed: bool = False  # the features, then the same backwards in time, as one recording (Xie et al. 2019)
    # sets whose utterances are also identified by the training head, as in Nagrani 2017; the mean over windows. It takes one that
    # has an output for each speaker: softmax and margins
    class_scores: tuple[str, ...] = ()
    precision: str = "float32"  # "float32", "bf16" or "auto" (bf16 where the hardware has it for this network)
    device: str = "auto"  # "auto" (the first GPU, if any), "cpu" or "cuda"
    threads: int = field(1, decides=True)  # of each process

    def __post_init__(self) -> None:
        if self.window < 0 or self.hop < 0 or (self.hop > 0 and self.window == 0):
            raise ValueError(f"window, hop: expected window > 0 where hop > 0, found {self.window}, {self.hop}")
        self._check_cut()
        if self.precision not in ("float32", "bf16", "auto") or self.device not in ("auto", "cpu", "cuda"):
            raise ValueError(f"precision, device: found {self.precision!r}, {self.device!r}; see the comments in steps/embed.py")
        if self.threads < 1:
            raise ValueError(f"threads: expected at least 1, found {self.threads}")

    def _check_cut(self) -> None:
        if self.cut not in CUTS:
            raise ValueError(f"cut: expected one of {', '.join(CUTS)}, found {self.cut!r}")
        if self.cut != "last" and self.window == 0:
            raise ValueError(f"cut: expected embed.window above 0 with {self.cut!r}, found 0, the whole utterance")
        if (self.num_windows > 0) != (self.cut == "even") or self.num_windows < 0:
            raise ValueError(
                f"num_windows: expected at least 1 with cut = 'even' and 0 with others, found {self.num_windows}, {self.cut!r}"
            )
        if self.cut == "even" and self.hop > 0:
            raise ValueError(f"hop: expected none with cut = 'even', where num_windows says how far apart, found {self.hop}")
        if self.cut == "centre" and self.hop > 0:
            raise ValueError(f"hop: expected none with cut = 'centre', which is one window, found {self.hop}")


def units(job: Job) -> list[str]:
    """Names `<set>.<group>` of groups of batches, batches being fixed by the lengths of the whole set."""
    names, features = [], job.settings.features
    if (features.storage == "none") != (job.inputs["manifests"] is not None):
        raise RecipeError(
            f"features.storage = {features.storage!r}: expected --manifests (the output of stage 1) exactly with "
            "'none', where features are made of the recordings"
        )
    from steps.examples.recordings import name_of_list

    lists = f"*/{name_of_list(features)}"
    for folder in sorted(path.parent for path in job.input("features").glob(lists)):
        num_units = -(-len(_opened(folder, job)[1]) // BATCHES_PER_UNIT)
        names += [f"{folder.name}.{group:05d}" for group in range(num_units)]
    if not names:
        raise RecipeError(f"{job.input('features')}: holds no features ({lists}); give the output of stage 2 (extract)")
    sets = {name.rpartition(".")[0] for name in names}
    strange = sorted(set(job.settings.embed.class_scores) - sets)
    if strange:
        raise RecipeError(f"embed.class_scores: no features of the set '{strange[0]}'; there are: {', '.join(sorted(sets))}")
    return names


def work(job: Job, unit: str) -> None:
    """The embeddings of one group of batches."""
    import numpy as np
    import torch

    from steps.data.archive import write_ark, write_scp
    from steps.examples.training_set import frames_of
    from steps.nnet.checkpoint import load_model
    from steps.nnet.inference import BATCH_SECONDS, embed, length_batches
    from steps.nnet.models import build_model, network_precision
    from steps.nnet.precision import autocast_for, chosen_device

    s = job.settings.embed
    torch.set_num_threads(s.threads)
    set_name, _, group = unit.rpartition(".")
    try:
        device = chosen_device(s.device)
    except ValueError as error:
        raise RecipeError(f"embed.{error}; add --set embed.device=cpu") from None
    try:
        precision = network_precision(job.settings.model, device, s.precision)
    except ValueError as error:
        raise RecipeError(f"embed.{error}; add --set embed.precision=float32, or auto") from None
    try:
        model = build_model(job.settings.model, job.settings.features.num_bins)
        load_model(job.input("model") / "model.safetensors", model)
    except ValueError as error:
        raise RecipeError(f"{error}; use the settings.toml beside the model") from None
    model.to(device)
    archive, batches = _opened(job.input("features") / set_name, job)
    ids, first = archive.ids, int(group) * BATCHES_PER_UNIT
    batches = batches[first : first + BATCHES_PER_UNIT]

    def autocast():
        return autocast_for(device, precision)

    def load(index: int) -> np.ndarray:
        feats_TF = archive.load(ids[index])
        return np.concatenate([feats_TF, feats_TF[::-1]]) if s.append_reversed else feats_TF

    if s.window:
        found = {}
        for index in (index for batch in batches for index in batch):
            windows, which = cut_windows(load(index), job)
            parts = length_batches([len(each) for each in windows], frames_of(job.settings.features, BATCH_SECONDS))
            made = dict(embed(model, parts, windows.__getitem__, device=device, autocast=autocast))
            found[ids[index]] = np.stack([made[number] for number in which])
    else:
        made = embed(model, batches, load, device=device, autocast=autocast)
        found = {ids[index]: row for index, row in made}
    write_scp(job.out, write_ark(job.out / f"embeddings.{group}.ark", sorted(found.items())), name="embeddings.scp")
    if set_name in s.class_scores:
        of_classes = _class_scores(job, model, found, device)
        folder = job.out / CLASS_SCORES
        folder.mkdir()
        write_scp(folder, write_ark(folder / f"{CLASS_SCORES}.{group}.ark", of_classes), name=f"{CLASS_SCORES}.scp")


def _class_scores(
    job: Job, model: "EmbeddingNetwork", found: "Mapping[str, np.ndarray]", device: "torch.device"
) -> list[tuple[str, "np.ndarray"]]:
    """(utterance, mean of its windows' scores [S]) in double precision, from the embeddings that are written."""
    import torch

    from steps.nnet.checkpoint import load_model
    from steps.nnet.heads.outputs import class_scores
    from steps.nnet.models import build_head

    folder = job.input("model")
    layers = config.load_layers([folder / "settings.toml"])
    if "head" not in layers.tables:
        raise RecipeError(
            f"{folder / 'settings.toml'}: has no [head], which embed.class_scores needs; add that of the system that was "
            "trained, or train it again (stage 4)"
        )
    num_speakers = len((folder / "speakers").read_text(encoding="utf-8").splitlines())
    try:
        head = build_head(config.build("head", HEAD_SETTINGS, layers), model.classifier_dim, num_speakers)
        load_model(folder / "head.safetensors", head)
        model, head = model.double(), head.double().to(device).eval()
        with torch.inference_mode():
            scored = []
            for name in sorted(found):
                rows_WD = torch.from_numpy(found[name]).reshape(-1, model.embedding_dim).double().to(device)
                scored.append((name, class_scores(head, model.classifier_input(rows_WD)).mean(dim=0).cpu().numpy()))
            return scored
    except (ValueError, FileNotFoundError) as error:
        raise RecipeError(f"embed.class_scores: {error}; leave it out, or take a system that was trained to classify") from None


def cut_windows(feats_TF: "np.ndarray", job: Job) -> tuple[list["np.ndarray"], list[int]]:
    """The different windows of an utterance, and which of them each of its windows is."""
    s, features = job.settings.embed, job.settings.features
    shift = features.frame_shift if features.type != "waveform" else features.decimate / features.sampling_rate
    length, hop = max(1, round(s.window / shift)), max(1, round((s.hop or s.window / 2) / shift))
    how = cutting(s.cut, len(feats_TF), length, hop=hop, num_windows=s.num_windows)
    feats_TF = repeated(feats_TF, how.num_frames)
    different = sorted(set(how.starts))
    windows = [feats_TF[start : start + how.length] for start in different]
    return windows, [different.index(start) for start in how.starts]


def _opened(folder: Path, job: Job) -> "tuple[Archive | Features, list[list[int]]]":
    """The features of a set, and its batches."""
    from steps.examples.recordings import name_of_list

    features, site = job.settings.features, tuple(sorted(job.site.items()))
    changed = (folder / name_of_list(features)).stat().st_mtime_ns
    return _opened_once(folder, changed, features, 1 + job.settings.embed.append_reversed, job.inputs["manifests"], site)


# A process does many units of a set; to read the lengths of a million utterances takes longer than most units.
@lru_cache(maxsize=4)
def _opened_once(
    folder: Path,
    changed: int,
    features: object,
    times: int,
    manifests: Path | None,
    site: tuple[tuple[str, str], ...],
) -> "tuple[Archive | Features, list[list[int]]]":
    from steps.examples.recordings import open_features
    from steps.examples.training_set import frames_of
    from steps.nnet.inference import BATCH_SECONDS, length_batches

    archive = open_features(folder, features, manifests=manifests, site=dict(site))
    lengths = [shape[0] * times for shape in archive.shapes()]
    return archive, length_batches(lengths, frames_of(features, BATCH_SECONDS))


def merge(job: Job, units: Mapping[str, Path]) -> None:
    """One scp per set, and what is known of the network."""
    from steps.data.shards import merge_shards

    merge_shards(units, job.out, name="embeddings.scp")
    classified = {unit: folder / CLASS_SCORES for unit, folder in units.items() if (folder / CLASS_SCORES).is_dir()}
    if classified:
        merge_shards(classified, job.out / CLASS_SCORES, name=f"{CLASS_SCORES}.scp")
        with files.atomic_write(job.out / "speakers") as file:
            file.write((job.input("model") / "speakers").read_text(encoding="utf-8"))
    if (job.input("model") / "pair_head.json").is_file():
        files.write_json(job.out / "pair_head.json", files.read_json(job.input("model") / "pair_head.json"))
    source = job.input("model") / "training.json"
    known = files.read_json(source) if source.is_file() else {}
    said = {"embed": config.deciding(job.settings.embed), "sampling_rate": job.settings.features.sampling_rate}
    files.write_json(job.out / "model.json", known | said)


def recover(job: Job, unit: str, old: Path, wrong: Mapping[str, str]) -> bool:
    """The embeddings of one group of batches."""
    from steps.data.shards import recover_shard

    if recover_shard(unit, old, wrong, job.out, ark="embeddings", name="embeddings.scp") is None:
        return False
    if unit.rpartition(".")[0] not in job.settings.embed.class_scores:
        return True
    of_classes = {name.removeprefix(f"{CLASS_SCORES}/") for name in wrong if name.startswith(f"{CLASS_SCORES}/")}
    folder = job.out / CLASS_SCORES
    folder.mkdir()
    return recover_shard(unit, old / CLASS_SCORES, of_classes, folder, ark=CLASS_SCORES, name=f"{CLASS_SCORES}.scp") is not None


STAGE = Stage(
    name="embed",
    version=1,
    sections={"features": FEATURES, "model": MODEL_SETTINGS, "embed": Embed},
    inputs=(
        Input(name="features", help="the output of stage 2"),
        Input(name="model", from_elsewhere=True, help="the output of stage 4, or a model from elsewhere"),
        Input(name="manifests", required=False, help="the output of stage 1, exactly with features.storage = 'none'"),
    ),
    outputs=("*/*.ark", "*/*.scp"),
    optional=("pair_head.json", "speakers", f"{CLASS_SCORES}/*/*"),
    work=work,
    units=units,
    merge=merge,
    recover=recover,
    threads=lambda settings: settings.embed.threads,
)

if __name__ == "__main__":
    STAGE.main()
