"""Stage 2: the same archive whatever the number of jobs, for features and for plain samples."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.core.errors import RecipeError
from steps.data.archive import Archive
from steps.signal.frontend import extract
from steps.signal.settings import Fbank


def test_three_jobs_write_what_one_writes(stages, tmp_path):
    three = stages.run("extract", tmp_path / "features", *stages.FBANK, manifests=stages.manifests, jobs=3)
    assert stages.content(three) == stages.content(stages.features)
    assert len(list((three / "train").glob("*.ark"))) == 4  # 18 utterances in shards of 5


def test_the_archive_holds_the_features_of_each_file(stages):
    settings = Fbank(name="fbank", sampling_rate=stages.RATE, num_mel_bins=12, normalise="utterance_mean")
    for set_name in ("train", "dev", "test"):
        archive = Archive(stages.features / set_name)
        for name in archive:
            samples, _ = soundfile.read(stages.manifests / "audio" / set_name / f"{name}.wav", dtype="float32")
            np.testing.assert_array_equal(archive[name], extract(samples, stages.RATE, settings))


@pytest.mark.parametrize(("decimate", "rows"), [(1, lambda n: n), (3, lambda n: -(-n // 3))])
def test_waveforms_pass_through(stages, tmp_path, decimate, rows):
    settings = ("features.type=waveform", "features.name=wave", f"features.sampling_rate={stages.RATE}")
    more = (f"features.decimate={decimate}", "features.decimate_filter=stride")
    out = stages.run("extract", tmp_path / "wave", *settings, *more, manifests=stages.manifests, jobs=2)
    archive = Archive(out / "train")
    name = archive.ids[4]
    samples, _ = soundfile.read(stages.manifests / "audio" / "train" / f"{name}.wav", dtype="float32")
    assert archive.shape(name) == (rows(len(samples)), 1)
    np.testing.assert_array_equal(archive[name][:, 0], samples[::decimate])
    with gzip.open(out / "train" / "features.jsonl.gz", "rt") as file:
        record = next(each for each in map(json.loads, file) if each["recording_id"] == name)
    assert record["num_frames"] == rows(len(samples))
    assert record["duration"] == pytest.approx(len(samples) / stages.RATE, abs=decimate / stages.RATE)


def test_dither_belongs_to_the_utterance(stages, tmp_path):
    settings = (*stages.FBANK, "features.dither=1.0")
    one, three = (
        stages.run("extract", tmp_path / str(jobs), *settings, manifests=stages.manifests, jobs=jobs) for jobs in (1, 3)
    )
    assert stages.content(one) == stages.content(three) != stages.content(stages.features)


@pytest.mark.parametrize(("storage", "most"), [("two_byte", 0.51), ("speech_feature", 0.30)])
def test_compressed_features_are_near_and_small(stages, tmp_path, storage, most):
    more = (*stages.FBANK, f"features.storage={storage}")
    one, two = (stages.run("extract", tmp_path / str(jobs), *more, manifests=stages.manifests, jobs=jobs) for jobs in (1, 2))
    assert stages.content(one) == stages.content(two) != stages.content(stages.features)
    found, exact = Archive(one / "train"), Archive(stages.features / "train")
    assert found.ids == exact.ids
    for name in exact:
        span = np.ptp(exact[name])
        np.testing.assert_allclose(found[name], exact[name], atol=span / {"two_byte": 65535, "speech_feature": 100}[storage])
    size = {folder: sum(path.stat().st_size for path in folder.rglob("*.ark")) for folder in (one, stages.features)}
    assert size[one] < most * size[stages.features]
    described = [gzip.decompress((folder / "train" / "features.jsonl.gz").read_bytes()) for folder in (one, stages.features)]
    frames = [[json.loads(line)["num_frames"] for line in text.splitlines()] for text in described]
    assert frames[0] == frames[1]


def test_a_wrong_sampling_rate_names_file_and_setting(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"train0/u0\.wav.*expected 16000 Hz, found 8000 Hz; .*--set features\.resample=true"):
        stages.run("extract", tmp_path / "x", *stages.FBANK, "features.sampling_rate=16000", manifests=stages.manifests)


def test_samples_so_large_that_their_features_are_infinite_name_their_file(stages, tmp_path):
    manifests = Path(shutil.copytree(stages.manifests, tmp_path / "manifests"))
    path = manifests / "audio" / "test" / "test1" / "u2.wav"
    samples_W, rate = soundfile.read(path)
    soundfile.write(path, 1e25 * samples_W, rate, subtype="FLOAT")
    stages.restamp(manifests)
    with pytest.raises(
        RecipeError, match=r"test1/u2.wav: .*its features are NaN or infinite; expected samples in \+-1, found some up"
    ):
        stages.run("extract", tmp_path / "x", *stages.FBANK, manifests=manifests)
