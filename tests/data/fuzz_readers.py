"""Good examples of what is read from disk, and who reads it; `fuzz.py` damages them."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from local import cnceleb, vctk
from local.celebrities import identification, metadata
from local.librispeech import read_readers
from local.listing import banks, files, kaldi, tables
from steps.core import config, launchers
from steps.core.files import read_json
from steps.core.stamp import read_stamp
from steps.core.sweeps import read_sweep
from steps.data import archive, audio, audio_aac, audio_headers, ids, manifests
from steps.data.enrolment import model_speakers, read_models
from steps.data.item_lists import read_items, read_roles
from steps.data.score_files import read_score_index, read_trial_index
from steps.data.trials import read_trials
from tests.data import containers

RATE = 16000
UTTERANCES = {f"s{speaker}/u{number}": f"s{speaker}" for speaker in range(3) for number in range(4)}
ROWS = [
    files.Row(id=name, path=f"{name}.wav", speaker=speaker, gender="f") for name, speaker in UTTERANCES.items()
]  # fmt: skip

TRIALS = b"1 s0/u0 s0/u1\n0 s0/u0 s1/u0\n1 s1/u2 s1/u3\n0 s2/u0 s1/u3\n0 s2/u1 s0/u3\n"
KALDI_TRIALS = b"s0/u0 s0/u1 target\ns0/u0 s1/u0 nontarget\ns1/u2 s1/u3 target\n"
SCORES = b"s0/u0 s0/u1 0.51234567\ns0/u0 s1/u0 -1.25e-07\ns1/u2 s1/u3 12\ns2/u0 s1/u3 -0.000123456789\n"
UTT2SPK = "".join(f"{name} {speaker}\n" for name, speaker in UTTERANCES.items()).encode()
TABLE = 'path,speaker,session,gender,split,corpus,id\n"s0/u0.wav",anna,morning,f,train,a,"x, y"\ns0/é.wav,ben,,m,test,,\n'
TSV = TABLE.replace(", ", "").replace(",", "\t")
PARTS = "path;spk_id;start;duration;channel\na.wav;x;0.5;1.25;A\na.wav;y;0;;B\n"
NEMO = b'{"audio_filepath": "a.wav", "offset": 0.5, "duration": 1.5, "label": "x"}\n{"audio_filepath": "b.wav", "label": "y"}\n'
RECORDING = (
    b'{"id": "r0", "sources": [{"type": "file", "channels": [0, 1], "source": "a.wav"}], "sampling_rate": 8000, '
    b'"num_samples": 16000, "duration": 2.0, "channel_ids": [0, 1]}'
)
SUPERVISIONS = (
    b'{"id": "u0", "recording_id": "r0", "start": 0.5, "duration": 1.0, "channel": 1, "speaker": "x", "gender": "f"}\n'
    b'{"id": "u1", "recording_id": "r0", "start": 0.0, "duration": 2.0, "channel": 0, "speaker": "y"}\n'
)
CUTS = (
    b'{"id": "c0", "start": 0.25, "duration": 1.5, "channel": 1, "type": "MonoCut", "supervisions": [{"id": "u0", '
    b'"recording_id": "r0", "start": 0.5, "duration": 1.0, "channel": 1, "speaker": "x"}], "recording": ' + RECORDING + b"}\n"
)
SPEAKERS = "speaker\tcorpus\tgender\tsplit\ns0\t\tf\ttrain\ns1\t\tf\ttest\ns2\t\t\t\n"
SETTINGS = b"""
base = ["base.toml"]
[prepare]
type = "folder"
made_trials = ["balanced", "all_pairs"]
max_bad = 0.01
seed = 1
[features]
type = "fbank"
name = "fbank80"
sampling_rate = 16000
high_freq = 7600.0
window = "hamming"
normalise = "utterance_mean"
num_mel_bins = 80
[train]
epochs = 3
batch_size = 64
learning_rate = 2e-3
final_learning_rate = 1e-5
[site]
noise = "../noise"
"""
SWEEP = b"""
[sweep]
title = "A sweep"
system = "xvector"
form = "matrix"
across = ["dims"]
set = { "train.epochs" = 3 }
[[axis]]
name = "dims"
setting = "model.embedding_dim"
values = [64, 128]
scaled = { "train.batch_size" = 2 }
[[axis]]
name = "point"
[[axis.point]]
name = "plain"
config = ["../a.toml"]
set = { "score.backend" = "cosine" }
"""
LAUNCH = b"""
[launch]
type = "slurm"
retries = 1
poll_seconds = 15.0
prologue = ["module purge"]
[launch.cpu]
memory = "4G"
cpus = 2
options = ["--nice"]
"""
READERS_TXT = """;ID |SEX| SUBSET |MINUTES| NAME
14 | F | train-clean-360 | 25.03 | Kristin | LeMoine
61 | M | test-clean | 8 | Paul"""
VOX_META = """VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet
id10001\tA.J._Buckley\tm\tIreland\tdev
id10270\tEartha_Kitt\tf\tUSA\ttest
"""
VOX2_META = "\ufeffVoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set\r\nid00012 ,n000012 ,m ,dev \r\nid04170 ,n4 ,f ,test \r\n"
RIR_LIST = "--rir-id a1 --room-id r1 RIRS/s0/u0.wav\n--rir-id a2 --room-id r1 --probability 0.5 RIRS/s0/u1.wav\n"


def readers(folder: Path, *, with_aac: bool = False) -> dict[str, dict[str, Any]]:
    """Return the arguments of a `fuzz.Reader` by name; `folder` is written to, for what needs programs to make."""
    return (
        _lists()
        | _tables()
        | _settings()
        | _manifests()
        | _arks(folder)
        | _audio(folder, with_aac=with_aac)
        | _containers(folder)
    )


def _one(name: str, content: bytes | str, read: Callable[[Path], object], **options: Any) -> dict[str, Any]:
    """A reader of one file."""
    content = content.encode() if isinstance(content, str) else content
    return {"files": {name: content}, "read": lambda folder: read(folder / name)} | options


def _lists() -> dict[str, dict[str, Any]]:
    enrolment, split = b"m0 s0/u0 s0/u1\nm1 s1/u0\n", b"1 id10001/abc/00001.wav\n3 id10001/abc/00002.wav\n2 id10002/x/1.wav\n"
    joined = b"id1-enroll id1/a.wav id1/b.wav\nid2-enroll id2/a.wav\n"
    return {
        "trials": _one("t.txt", TRIALS, lambda path: (read_trials(path), read_trial_index(path))),
        "kaldi_trials": _one("t.txt", KALDI_TRIALS, read_trials),
        "blind_trials": _one("t.txt", b"- a/1 b/1\n- a/2 c/1\n", read_trials),
        "csv_trials": _one("t.csv", b'enrol,test,label\na/1,"b/1",0\na/1,a/2,1\n', read_trials),
        "nist_trials": _one("t.tsv", b"modelid\tsegmentid\tside\ttargettype\nm\ts.sph\ta\ttarget\n", read_trials),
        "espnet_trials": _one("trial.label", b"a/1*a/2 1\na/1*b/1 0\n", read_trials),
        "nist_models": _one("m.tsv", b"modelid\tsegmentid\tside\nm\ts1\ta\nm\ts2\ta\n", read_models),
        "scores": _one("s.txt", SCORES, read_score_index),
        "utt2spk": _one("utt2spk", UTT2SPK, manifests.read_utt2spk),
        "enrolment": _one("e.txt", enrolment, lambda path: model_speakers(read_models(path), UTTERANCES, "e.txt")),
        "clustering": _one("c.txt", b"a s0 s0/u0 s0/u1\nb s0 s0/u2\nc s1 s1/u0\n", read_items),
        "identification": _one("i.txt", b"enrol s0 s0/u0\nenrol s1 s1/u0\ntest s0 s0/u1\n", read_roles),
        "iden_split": _one("iden_split.txt", split, lambda path: identification.read_split.__wrapped__(path, 0)),
        "rir_list": _one("RIRS/rir_list", RIR_LIST, lambda path: banks.only_listed(path.parent, "", ROWS, "rir_list")),
        "cnceleb_models": _one("eval/lists/enroll.map", joined, lambda path: cnceleb._models(path.parents[2])),
        "cnceleb_trials": _one(
            "trials.lst", b"id1-enroll test/id1-a.wav 1\nid1-enroll test/id2-a.wav 0\n",
            lambda path: cnceleb._read_trials(path, {"id1-enroll": "enroll/id1-enroll"}),
        ),
    }  # fmt: skip


def _tables() -> dict[str, dict[str, Any]]:
    scp = "".join(f"{name} {name}.wav\n" for name in UTTERANCES).encode()
    return {
        "table": _one("t.csv", TABLE, lambda path: _checked(tables.rows_of_table(path.parent, path, "_"))),
        "table_tsv": _one("t.tsv", TSV, lambda path: _checked(tables.rows_of_table(path.parent, path, ""))),
        "speakers": _one("s.tsv", SPEAKERS, lambda path: tables.with_metadata(ROWS, path, "_")),
        "kaldi": {
            "files": {"wav.scp": scp, "utt2spk": UTT2SPK, "spk2gender": b"s0 f\ns1 m\ns2 f\n"},
            "read": lambda folder: _checked(kaldi.rows_of_kaldi(folder, folder)),
        },
        "kaldi_segments": {
            "files": {
                "wav.scp": b"r0 r0.wav\nr1 r0.wav\n", "segments": b"u0 r0 0.5 1.25\nu1 r1 0 -1\n", "spk2utt": b"s0 u0\ns1 u1\n",
                "reco2file_and_channel": b"r0 r0 A\nr1 r0 B\n", "utt2gender": b"u0 f\n", "utt2sess": b"u0 x\n",
            },
            "read": lambda folder: _checked(kaldi.rows_of_kaldi(folder, folder, "_")),
        },
        "table_parts": _one("t.csv", PARTS, lambda path: _checked(tables.rows_of_table(path.parent, path, "_"))),
        "nemo": _one("t.json", NEMO, lambda path: _checked(tables.rows_of_table(path.parent, path, "_"))),
        "lhotse_cuts": _one("cuts.jsonl", CUTS, lambda path: _checked(tables.rows_of_table(path.parent, path, "_"))),
        "lhotse_supervisions": {
            "files": {"supervisions.jsonl": SUPERVISIONS, "recordings.jsonl": RECORDING + b"\n"},
            "read": lambda folder: _checked(tables.rows_of_table(folder, folder / "supervisions.jsonl", "_")),
        },
        "vox1_meta": _one("vox1_meta.csv", VOX_META, lambda path: metadata.read_speakers(path, "voxceleb1 id")),
        "vox2_meta": _one("vox2_meta.csv", VOX2_META, lambda path: metadata.read_speakers(path, "voxceleb2 id")),
        "speakers_txt": _one("SPEAKERS.TXT", READERS_TXT, lambda path: read_readers(path.parent)),
        "vctk_info": _one(
            "speaker-info.txt", b"ID  AGE  GENDER  ACCENTS\n225  23  F    English\ns5 24 M\n",
            lambda path: vctk.read_speaker_info(path.parent),
        ),
    }  # fmt: skip


def _checked(rows: list[files.Row]) -> None:
    """What is done with rows before any file is opened."""
    ids.check_ids(((row.id, row.speaker, row.path) for row in rows), "here")


def _settings() -> dict[str, dict[str, Any]]:
    return {
        "settings": {
            "files": {"a.toml": SETTINGS, "base.toml": b'[recipe]\nsystems = ["a"]\n[features]\nlow_freq = 30.0\n'},
            "read": lambda folder: _read_settings(folder / "a.toml"),
        },
        "assignment": _one("set", b"train.epochs=5", lambda path: config.load_layers((), [path.read_text(errors="replace")])),
        "sweep": _one("sweep.toml", SWEEP, read_sweep),
        "launch": _one("mine.toml", LAUNCH, _read_launcher),
        "json": _one("roots.json", b'{"train": "corpus", "test": "", "x": [1.5, null, true]}', read_json),
        "stamp": _one(
            "stamp.json",
            b'{"fingerprint": "ab", "plan": {"stage": "x"}, "content": "c", "outputs": {"x.txt": "d"}}',
            lambda path: read_stamp(path.parent),
        ),
    }


def _read_settings(path: Path) -> None:
    """The sections that stage 1 and 2 and the training have, from layers that are read with strict rules."""
    from local import folder
    from steps.nnet.train_settings import Train
    from steps.signal.settings import FEATURES

    layers = config.load_layers([path])
    config.site_roots(layers)
    for section, kind in {"prepare": {"folder": folder.Settings}, "features": FEATURES, "train": Train}.items():
        config.build(section, kind, layers)


def _read_launcher(path: Path) -> object:
    before, launchers.FOLDER = launchers.FOLDER, path.parent
    try:
        return launchers.read_launcher("mine")
    finally:
        launchers.FOLDER = before


def _manifests() -> dict[str, dict[str, Any]]:
    common = {"gender": "f", "session": "", "corpus": "", "sampling_rate": RATE, "num_samples": 4000}
    utterances = [manifests.Utterance(id=name, speaker=who, path=f"{name}.wav", **common) for name, who in UTTERANCES.items()]
    lines = {
        f"train/{name}": "".join(_json_line(make(each)) for each in utterances).encode()
        for name, make in (("recordings.jsonl.gz", manifests._recording), ("supervisions.jsonl.gz", manifests._supervision))
    }
    return {
        "manifests": {
            "files": lines,
            "read": lambda folder: [(each.duration, each.start_sample) for each in manifests.read_set(folder, "train")],
            "zipped": tuple(lines),
        },
        "rates": _one(manifests.RATES, b'{"train": {"16000": 3, "8000": 1}}', lambda path: manifests.read_rates(path.parent)),
        "roots": _one("roots.json", b'{"train": "corpus", "test": ""}', lambda path: _read_roots(path.parent)),
    }


def _json_line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _read_roots(folder: Path) -> object:
    fields = {"gender": "", "session": "", "corpus": "", "sampling_rate": RATE, "num_samples": 1}
    utterance = manifests.Utterance(id="a", speaker="b", path="a.wav", **fields)
    return manifests.audio_root("train", folder, {"corpus": "/x"}) / utterance.path


def _arks(folder: Path) -> dict[str, dict[str, Any]]:
    made, rng = folder / "made", np.random.default_rng(0)
    made.mkdir(parents=True, exist_ok=True)
    archive.write_embeddings(made, sorted(UTTERANCES), rng.standard_normal((len(UTTERANCES), 6)))
    matrices = [(name, rng.standard_normal((4, 3)).astype(np.float32)) for name in sorted(UTTERANCES)]
    archive.write_scp(made, archive.write_ark(made / "feats.ark", matrices))
    for storage in ("two_byte", "speech_feature"):
        long = [(name, rng.standard_normal((12, 3))) for name in sorted(UTTERANCES)]
        archive.write_scp(made, archive.write_ark(made / f"{storage}.ark", long, storage), f"{storage}.scp")
    waves = [(name, rng.integers(-100, 100, 50).astype(np.int16)) for name in sorted(UTTERANCES)]
    archive.write_scp(made, archive.write_wave_ark(made / "waves.ark", waves, RATE), "waves.scp")
    archive.save_arrays(made / "backend.safetensors", {"mean": np.zeros(3), "n": np.arange(4)})

    def content(*names: str) -> dict[str, bytes]:
        return {name: (made / name).read_bytes() for name in names}

    def load(scp: str) -> Callable[[Path], object]:
        return lambda place: [(found.load(name), found.shape(name)) for found in [archive.Archive(place, scp)] for name in found]

    def embeddings(place: Path) -> object:
        return archive.read_embeddings(place), archive.read_windows(place)

    def arrays(place: Path) -> object:
        return archive.load_arrays(place / "backend.safetensors")

    def both(scp: str, ark: str, read: Callable[[Path], object], kind: str) -> dict[str, dict[str, Any]]:
        found = content(scp, ark)
        return {
            f"{kind}_scp": {"files": {scp: found[scp]}, "read": lambda place: (_put(place / ark, found[ark]), read(place))},
            f"{kind}_ark": {
                "files": {ark: found[ark]}, "read": lambda place: (_put(place / scp, found[scp]), read(place)), "is_text": False,
            },
        }  # fmt: skip

    return (
        both("embeddings.scp", "embeddings.ark", embeddings, "embeddings")
        | both("feats.scp", "feats.ark", load("feats.scp"), "feats")
        | both("two_byte.scp", "two_byte.ark", load("two_byte.scp"), "two_byte")
        | both("speech_feature.scp", "speech_feature.ark", load("speech_feature.scp"), "speech_feature")
        | both("waves.scp", "waves.ark", load("waves.scp"), "waves")
        | {"safetensors": {"files": content("backend.safetensors"), "read": arrays, "is_text": False}}
    )


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _audio(folder: Path, *, with_aac: bool) -> dict[str, dict[str, Any]]:
    time_W = np.arange(RATE // 4) / RATE
    samples_W = 0.4 * np.sin(2 * np.pi * 300 * time_W)
    forms = {
        "wav": ("WAV", "PCM_16"), "wav8": ("WAV", "PCM_U8"), "wav_float": ("WAV", "FLOAT"), "wavex": ("WAVEX", "PCM_24"),
        "adpcm": ("WAV", "IMA_ADPCM"), "gsm": ("WAV", "GSM610"), "rf64": ("RF64", "PCM_16"), "flac": ("FLAC", "PCM_16"),
        "sphere": ("NIST", "PCM_16"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"),
    }  # fmt: skip
    found = {}
    for name, (form, subtype) in forms.items():
        packed = io.BytesIO()
        soundfile.write(packed, samples_W, 8000 if name == "gsm" else RATE, format=form, subtype=subtype)
        suffix = name if name in ("flac", "ogg", "opus", "mp3") else "wav"
        found[name] = _one(f"a.{suffix}", packed.getvalue(), _read_audio, is_text=False)
    if with_aac:
        import torch
        from torchcodec.encoders import AudioEncoder

        path = folder / "made.m4a"
        AudioEncoder(torch.from_numpy(samples_W.astype(np.float32))[None], sample_rate=RATE).to_file(str(path))
        found["m4a"] = _one("a.m4a", path.read_bytes(), _read_audio, is_text=False)
    return found


def _containers(folder: Path) -> dict[str, dict[str, Any]]:
    """What is read of containers before anything is decoded; those with MPEG frames are not opened by libsndfile, which chats."""
    samples_W = np.random.default_rng(0).uniform(-0.3, 0.3, RATE // 8)
    packed = {}
    for name, form in {"w64": "W64", "aiff": "AIFF", "au": "AU", "caf": "CAF", "mp3_frames": "MP3"}.items():
        soundfile.write(folder / "made.x", samples_W, RATE, format=form)
        packed[name] = (folder / "made.x").read_bytes()
    soundfile.write(folder / "made.x", samples_W, RATE, format="OGG", subtype="OPUS")
    packed["ogg_pages"] = 2 * (folder / "made.x").read_bytes()
    soundfile.write(folder / "made.x", samples_W, RATE, format="FLAC")
    packed["flac_joined"] = b"ID3\4\0\0\0\0\0\5abcde" + 2 * (folder / "made.x").read_bytes() + b"TAG" + bytes(125)
    found = {name: _one("a.bin", content, audio_headers.check_length, is_text=False) for name, content in packed.items()}
    boxes = containers.mp4(
        containers.sound(4000, edits=containers.edit(3000, 900)), behind=containers.fragment(2, 3, lengths=True)
    )
    for name, content in {"mp4_boxes": boxes, "adts_frames": containers.adts(9)}.items():
        found[name] = _one("a.bin", content, lambda path: audio_aac.check_length(path, 4000, RATE), is_text=False)
    return found


def _read_audio(path: Path) -> object:
    """What stage 1 and stage 2 do with a file; the second only with one that the first found good."""
    audio.inspect_audio(path, decode=False)
    info, problem, _ = audio.inspect_audio(path, channel=0)
    if not problem:
        samples_W, _ = audio.read_audio(path, start_sample=1, num_samples=info.num_samples - 1)
        assert len(samples_W) == info.num_samples - 1
    return audio.read_audio(path)
