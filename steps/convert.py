"""A voicemap network in Keras' HDF5 format becomes a model folder; no stage itself.

`python -m steps.convert --model FILE.hdf5 --out DIR [--rate 4000] [--force]` writes what stage 4 leaves of a trained network, as
far as the file knows it: model.safetensors, settings.toml (features and network), training.json, and pair_head.json if the
network is a siamese one. `./run.sh --model DIR` then runs it on a recipe's corpus. A classifier's output layer is left out: the
file does not name its speakers.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from steps.core import config, files
from steps.core.errors import RecipeError
from steps.core.failures import reported
from steps.core.intact import damage
from steps.core.lock import locked
from steps.core.log import configure
from steps.core.stamp import fingerprint, read_stamp, write_stamp
from steps.signal.settings import Waveform

RECORDED_RATE = 16000  # Hz, of the corpora
HASHED = ("model.safetensors", "settings.toml", "pair_head.json")


def convert(model: Path, out: Path, rate: int, *, force: bool = False) -> bool:
    """Make the folder `out` of a file; returns False where it has been made of the same file already.

    What was made of another file is set aside with `force`. Raises RecipeError for a file that cannot be read, a rate that does
    not divide 16 kHz, or without `force` another thing at `out`.
    """
    if not model.is_file():
        raise RecipeError(f"--model {model}: no such file; expected a Keras model (.hdf5)")
    if rate < 1 or RECORDED_RATE % rate:
        raise RecipeError(
            f"--rate {rate}: expected the Hz that the network was trained at, {RECORDED_RATE} divided by a whole number"
        )
    plan = {
        "stage": "convert", "version": 1, "settings": {"convert": {"rate": rate}},
        "inputs": {"model": files.content_hash(model)},
    }  # fmt: skip
    with locked(out):
        stamp = read_stamp(out)
        same = stamp is not None and stamp["fingerprint"] == fingerprint(plan)
        if same and not damage(out, stamp):
            return False
        if stamp is not None and not same and not force:
            raise RecipeError(
                f"{out}: was made of another file than {model}, or at another rate than {rate} Hz; give the file another name, "
                "choose another --exp (or --out), or add --force to set the old one aside"
            )
        _make(model, out, rate, plan)
    return True


def _make(model: Path, out: Path, rate: int, plan: dict[str, Any]) -> None:
    import shutil

    began = time.monotonic()
    settings, state, head = _read(model)
    draft = out.with_name(out.name + ".partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    _write_network(draft, settings, state, model.name)
    features = Waveform(
        name=f"waveform{rate / 1000:g}k_stride",
        sampling_rate=RECORDED_RATE,
        decimate=RECORDED_RATE // rate,
        decimate_filter="stride",
    )
    with files.atomic_write(draft / "settings.toml") as file:
        file.write(config.to_toml({"features": config.deciding(features), "model": config.deciding(settings)}))
    if head is not None and head["type"] != "softmax":
        files.write_json(draft / "pair_head.json", head)
    write_stamp(draft, plan, files.tree_hashes(draft, HASHED), time.monotonic() - began)
    files.fsync_tree(draft)
    if out.exists():
        out.rename(out.with_name(f"{out.name}.old-{time.time_ns()}"))
    draft.rename(out)
    files.fsync(out.parent)


def _read(model: Path) -> tuple[Any, dict[str, Any], dict[str, Any] | None]:
    try:
        from steps.nnet.keras import read_keras
    except ModuleNotFoundError as error:
        if error.name != "h5py":
            raise
        raise RecipeError("reading a Keras model needs the package h5py: pip install h5py") from None
    try:
        return read_keras(model)
    except ValueError as error:
        raise RecipeError(str(error)) from None


def _write_network(folder: Path, settings: Any, state: dict[str, Any], source: str) -> None:
    from steps.nnet import checkpoint
    from steps.nnet.models import build_model, num_parameters

    network = build_model(settings, num_bins=1)
    network.load_state_dict(state)
    checkpoint.save_model(folder / "model.safetensors", network)
    files.write_json(folder / "training.json", {"num_parameters": num_parameters(network), "how": f"converted from {source}"})


def main() -> None:
    """Convert and exit: 0 done or up to date, 2 the user can repair it."""
    parser = argparse.ArgumentParser(prog="python -m steps.convert", allow_abbrev=False)
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="a voicemap network saved by Keras (.hdf5)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--rate", type=int, default=4000, help="Hz that the network was trained at (default 4000)")
    parser.add_argument("--force", action="store_true", help="set aside what was made of another file of that name")
    options = parser.parse_args()
    log = configure("convert")
    with reported(log):
        made = convert(options.model, options.out, options.rate, force=options.force)
    log.info("%s: %s", "done" if made else "up to date", options.out)


if __name__ == "__main__":
    main()
