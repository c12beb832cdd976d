"""Claims about damaged inputs: readers end in a value or a RecipeError; see fuzz.py, which runs many more examples."""

import gzip
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steps.core.errors import RecipeError
from steps.data import columns, names
from tests.data import fuzz, fuzz_readers
from tests.data.fuzz import Reader, damaged, try_one

ROOT = Path(__file__).parents[2]
NUM_EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400"))
AUDIO = ("wav", "wav8", "wav_float", "wavex", "adpcm", "gsm", "rf64", "flac", "sphere", "ogg", "opus")  # mp3 chats on stderr


@pytest.fixture(scope="module")
def readers(tmp_path_factory) -> dict[str, Reader]:
    found = fuzz_readers.readers(tmp_path_factory.mktemp("made"))
    return {name: Reader(**each) for name, each in found.items() if name not in (*AUDIO, "mp3")}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("examples")


def test_good_inputs_are_read(readers, place, monkeypatch):
    monkeypatch.setattr(fuzz, "damaged", lambda content, rng, is_text: content)
    assert {name: try_one(reader, place / name, random.Random(1)) for name, reader in readers.items()} == dict.fromkeys(
        readers, "value"
    )


@settings(max_examples=NUM_EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files_are_read_or_refused(readers, place, data):
    name = data.draw(st.sampled_from(sorted(readers)))
    try_one(readers[name], place / name, data.draw(st.randoms(use_true_random=False)))


def test_damaged_audio_is_read_or_refused_in_little_memory(tmp_path):
    """In a process of its own: one that dies, or asks for more memory than it may, is found out."""
    chosen = [word for name in AUDIO for word in ("--reader", name)]
    command = [sys.executable, "-m", "tests.data.fuzz", "--examples", str(NUM_EXAMPLES), "--out", str(tmp_path), *chosen]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.endswith("no defect\n")


def _recurse(path: Path) -> object:
    return _recurse(path)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda path: {}["x"], "KeyError"),
        (lambda path: (path / "a").read_text().encode("ascii", "strict") and 1 // 0, "ZeroDivisionError"),
        (_recurse, "RecursionError"),
        (lambda path: bytearray(1 << 50), "MemoryError"),
        (lambda path: time.sleep(5), "TooSlowError took more than 0.1 s"),
    ],
)
def test_what_is_neither_a_value_nor_a_recipe_error_is_shown(tmp_path, monkeypatch, read, words):
    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    monkeypatch.setattr(fuzz, "damaged", lambda content, rng, is_text: content)
    outcomes, defects = fuzz.fuzz({"bad": Reader({"a": b"x"}, read)}, 2, 1, tmp_path)
    assert outcomes == {"bad: DEFECT": 2}
    assert words in next(iter(defects))
    kept = next(iter(defects.values()))
    assert (kept / "a").read_bytes() == b"x"
    assert "Traceback" in (kept / "TRACEBACK").read_text()


def test_refusals_and_what_a_stage_explains_are_no_defects(tmp_path):
    def refuse(path: Path) -> None:
        raise RecipeError("no")

    def too_long(path: Path) -> None:
        (path / ("x" * 300)).read_bytes()

    for read in (refuse, too_long):
        assert try_one(Reader({"a": b"x"}, read), tmp_path, random.Random(1)) == "refused"


def test_damage_is_drawn_from_the_generator_alone_and_does_something():
    content = fuzz_readers.TRIALS
    first = [damaged(content, random.Random(n), is_text=True) for n in range(200)]
    assert first == [damaged(content, random.Random(n), is_text=True) for n in range(200)]
    assert sum(each != content for each in first) > 180
    assert len(set(first)) > 150


KNOWN = {  # what was found by fuzzing, and once ended in a traceback
    "utt2spk, no UTF-8": ("utt2spk", "utt2spk", b"s0/u0 \xff\n", "not UTF-8"),
    "scp, no UTF-8": ("feats_scp", "feats.scp", b"s0/u0 feats.ark:\xff\n", "not UTF-8"),
    "scp, superscript offset": ("feats_scp", "feats.scp", "s0/u0 feats.ark:²\n".encode(), "expected '<id> <ark>:<offset>'"),
    "scp, offset beyond eight bytes": ("feats_scp", "feats.scp", b"s0/u0 feats.ark:" + b"9" * 30, "expected '<id> <ark>"),
    "scp, zero byte": ("embeddings_scp", "embeddings.scp", b"s0/u0 embeddings.ark\0:6\n", "expected '<id> <ark>"),
    "scp, a folder": ("feats_scp", "feats.scp", b"s0/u0 .:6\n", "Is a directory"),
    "ark, petabytes": ("feats_ark", "feats.ark", b"s0/u0 \0BFM " + 2 * b"\4\xff\xff\xff\x7f" + b"\0" * 900, "ends within"),
    "ark, negative": ("feats_ark", "feats.ark", b"s0/u0 \0BFM \4\xfe\xff\xff\xff\4\3\0\0\0" + b"\0" * 900, "ends within"),
    "ark, long vector": ("embeddings_ark", "embeddings.ark", b"s0/u0 \0BFV \4\xff\xff\xff\x7f" + b"\0" * 900, "ends within"),
    "roots, no table": ("roots", "roots.json", b"[1]", "expected set -> name of a root"),
    "roots, a number": ("roots", "roots.json", b'{"train": 1.5}', "expected set -> name of a root"),
    "json, nested": ("json", "roots.json", b"[" * 100_000, "not valid JSON"),
    "json, digits": ("json", "roots.json", b"9" * 5000, "not valid JSON"),
    "toml, nested": ("settings", "a.toml", b"a = " + b"[" * 100_000, "not valid TOML"),
    "toml, digits": ("settings", "a.toml", b"[train]\nepochs = " + b"9" * 5000, "not valid TOML"),
    "toml, nested sweep": ("sweep", "sweep.toml", b"a = " + b"[" * 100_000, "not valid TOML"),
}  # fmt: skip


@pytest.mark.parametrize("case", KNOWN)
def test_defects_that_were_found_stay_repaired(readers, tmp_path, monkeypatch, case):
    name, file, content, words = KNOWN[case]
    for each, good in readers[name].files.items():
        (tmp_path / each).write_bytes(content if each == file else good)
    with pytest.raises(RecipeError, match=words):
        readers[name].read(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("recordings", b'"sources"', b'"source"'),
        ("recordings", b'"sampling_rate": 16000', b'"sampling_rate": 0'),
        ("recordings", b'"id": "s0/u0"', b'"id": 7'),
        ("supervisions", b'"start": 0.0', b'"start": NaN'),
        ("supervisions", b'"speaker": "s0"', b'"speaker": null'),
        ("supervisions", b'"custom"', b'"other"'),
    ],
)
def test_damaged_manifests_are_refused_with_their_folder(readers, tmp_path, file, old, new):
    manifests = readers["manifests"]
    (tmp_path / "train").mkdir()
    for name, text in manifests.files.items():
        damaged_text = text.replace(old, new) if file in name else text
        assert (damaged_text != text) == (file in name)
        (tmp_path / name).write_bytes(gzip.compress(damaged_text))
    with pytest.raises(RecipeError, match=str(tmp_path / "train")):
        manifests.read(tmp_path)


def test_ids_are_no_longer_than_readers_of_lists_take():
    assert names.MAX_BYTES == columns.MAX_FIELD
