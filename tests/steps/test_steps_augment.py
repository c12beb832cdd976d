"""Stage 3: bank and copies do not depend on the number of jobs; what the table says was done can be measured."""

import re

import numpy as np
import pytest
import soundfile

from steps import augment
from steps.core.errors import RecipeError
from steps.core.files import read_json
from steps.data.archive import Archive
from steps.data.manifests import read_utt2spk


def audio(stages, set_name: str, name: str) -> np.ndarray:
    return soundfile.read(stages.manifests / "audio" / set_name / f"{name}.wav", dtype="float32")[0]


def test_three_jobs_make_the_bank_of_one(stages, tmp_path):
    settings = (*stages.FBANK, *stages.ONLINE)
    three = stages.run("augment", tmp_path / "bank", *settings, manifests=stages.manifests, jobs=3)
    assert stages.content(three) == stages.content(stages.bank)
    assert len(list((three / "speech").glob("*.ark"))) == 4  # 18 utterances in shards of 5
    assert read_json(three / "mode.json") == {"mode": "online"}


def test_the_bank_holds_the_samples_of_the_files(stages):
    for kind, set_name in (("speech", "train"), ("noise", "noise"), ("music", "music"), ("rir", "rir")):
        archive = Archive(stages.bank / kind)
        assert len(archive) == {"speech": 18, "noise": 4, "music": 2, "rir": 3}[kind]
        for name in archive:
            # The files are of 16 bits, so nothing is lost.
            np.testing.assert_array_equal(archive[name], np.rint(audio(stages, set_name, name) * 32768))


def test_three_jobs_make_the_copies_of_one(stages, tmp_path):
    settings = (*stages.FBANK, *stages.COPIES, "augment.speed_factors=[0.9]")
    one, three = (
        stages.run("augment", tmp_path / str(jobs), *settings, manifests=stages.manifests, jobs=jobs) for jobs in (1, 3)
    )
    assert stages.content(one) == stages.content(three)
    assert (one / "train" / "augmentation.tsv").read_bytes() == (three / "train" / "augmentation.tsv").read_bytes()
    other = stages.run("augment", tmp_path / "seed", *settings, "augment.seed=2", manifests=stages.manifests)
    assert stages.content(other) != stages.content(one)


def test_copies_keep_the_frames_that_are_speech_in_the_clean_utterance(stages, tmp_path):
    settings = (*stages.FBANK, "features.vad=energy", "features.vad_mean_scale=0.6")
    features = stages.run("extract", tmp_path / "features", *settings, manifests=stages.manifests)
    copies = stages.run("augment", tmp_path / "copies", *settings, *stages.COPIES, manifests=stages.manifests)
    clean, archive = Archive(features / "train"), Archive(copies / "train")
    assert len(archive) == 3 * len(clean)
    assert all(archive.num_rows(copy) == clean.num_rows(copy.partition("-")[2]) for copy in archive)
    # Without VAD there are more, so the claim is not empty.
    assert all(clean.num_rows(name) < Archive(stages.features / "train").num_rows(name) for name in clean)


def test_the_snr_in_the_table_is_the_snr_of_the_copy(stages, tmp_path):
    settings = ("features.type=waveform", "features.name=wave", f"features.sampling_rate={stages.RATE}")
    more = ("augment.mode=copies", f"augment.sampling_rate={stages.RATE}", "augment.copies=['music']")
    copies = stages.run("augment", tmp_path / "copies", *settings, *more, manifests=stages.manifests)
    archive, snrs = Archive(copies / "train"), set()
    for line in (copies / "train" / "augmentation.tsv").read_text().splitlines():
        name, words = line.split("\t")
        kind, snr_db = re.fullmatch(r"(music)\[[01]\]@([\d.]+)dB", words).groups()
        clean_W = audio(stages, "train", name.removeprefix(f"{kind}-")).astype(np.float64)
        noise_W = archive[name][:, 0] - clean_W
        found = 10 * np.log10((clean_W**2).mean() / (noise_W**2).mean())
        assert found == pytest.approx(float(snr_db), abs=0.05)  # the table has one decimal, the archive float32
        snrs.add(float(snr_db))
    assert snrs <= {15.0, 10.0, 8.0, 5.0}
    assert len(snrs) > 1


def test_copies_are_of_the_speaker_and_changed_speeds_of_new_ones_if_so_wanted(stages, tmp_path):
    settings = (*stages.FBANK, *stages.COPIES, "augment.copies=['reverb']", "augment.speed_factors=[0.9, 1.1]")
    for new in (False, True):
        out = tmp_path / str(new)
        flag = f"augment.speed_as_new_speakers={str(new).lower()}"
        stages.run("augment", out, *settings, flag, manifests=stages.manifests)
        speakers = read_utt2spk(out / "train" / "utt2spk")
        assert speakers["reverb-train3/u1"] == "train3"
        assert speakers["speed0.9-train3/u1"] == ("speed0.9-train3" if new else "train3")
        assert speakers["speed1.1-train3/u1"] == ("speed1.1-train3" if new else "train3")
        assert len(speakers) == 3 * 18


def test_mode_none_leaves_a_word_that_says_so(stages):
    assert read_json(stages.none / "mode.json") == {"mode": "none"}
    assert not list(stages.none.glob("*/*"))


@pytest.mark.parametrize("mode", ["online", "copies"])
def test_sounds_that_the_corpus_lacks_are_missed_before_any_work(stages, tmp_path, mode):
    poor = stages.write_corpus(tmp_path / "poor", {"train": (2, 2)}, {"rir": 1})
    settings = {"online": stages.ONLINE, "copies": stages.COPIES}[mode]
    asked = {"online": r"augment\.p_noise = 1", "copies": r"augment\.copies has 'noise'"}[mode]
    with pytest.raises(RecipeError, match=rf"poor: {asked}: expected sounds of the kind 'noise'.*take it out of \[augment\]"):
        stages.run("augment", tmp_path / "out", *stages.FBANK, *settings, manifests=poor)


def test_a_corpus_without_training_set_is_refused(stages, tmp_path):
    poor = stages.write_corpus(tmp_path / "poor", {"test": (2, 2)}, {"noise": 1, "rir": 1})
    with pytest.raises(RecipeError, match=r"no set 'train' to augment"):
        stages.run("augment", tmp_path / "out", *stages.FBANK, *stages.COPIES, manifests=poor)


def test_a_copy_without_speech_is_named(stages, tmp_path):
    settings = (*stages.FBANK, *stages.COPIES, "features.vad=energy", "features.vad_threshold=100.0")
    with pytest.raises(RecipeError, match="copy 'noise-train0/u0': energy VAD: expected speech"):
        stages.run("augment", tmp_path / "out", *settings, manifests=stages.manifests)


def test_a_sound_of_another_rate_is_as_long_as_the_bank_says(stages, tmp_path):
    """Babble reads lengths from the manifests, without opening files: they must be those after conversion."""
    settings = ("augment.mode=copies", "augment.sampling_rate=12000", "augment.copies=['babble']")
    lengths = []

    def keep(job):
        bank = augment.CorpusBank(job)
        lengths.extend((bank.length(kind, 0), len(bank.get(kind, 0, 0, 10**6))) for kind in ("speech", "noise", "rir"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, "_check_sounds", keep)
        more = ("features.sampling_rate=12000", "features.resample=true")
        stages.run("augment", tmp_path / "out", *stages.FBANK, *more, *settings, manifests=stages.manifests)
    assert len(lengths) == 3
    assert all(said == found for said, found in lengths)
