"""Stage 3: bank and copies do not depend on the number of jobs; what the table says was done can be measured."""

import re

import numpy as np
import pytest
import soundfile

from steps import augment
from steps.core.errors import RecipeError
from steps.core.files import read_json
from steps.data.archive import Archive
from steps.data.manifests import read_set, read_utt2spk
from steps.examples.bank import ArchiveBank


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


def test_a_share_of_the_copies_is_drawn_and_leaves_those_that_are_made_as_they_were(stages, tmp_path):
    settings = (*stages.FBANK, *stages.COPIES, "augment.speed_factors=[0.9]")
    every, some = (
        stages.run("augment", tmp_path / str(share), *settings, f"augment.copies_share={share}", manifests=stages.manifests)
        for share in (1.0, 0.4)
    )
    tables = [(out / "train" / "augmentation.tsv").read_text().splitlines() for out in (every, some)]
    assert set(tables[1]) < set(tables[0])
    kinds = [[line.partition("-")[0] for line in table] for table in tables]
    assert kinds[0].count("speed0.9") == kinds[1].count("speed0.9") == 18  # all of them
    assert 10 <= len(tables[1]) - 18 <= 34  # 0.4 of 54; three standard deviations are 11
    assert {"noise", "babble", "reverb"} <= set(kinds[1])
    clean, archives = Archive(stages.features / "train"), [Archive(out / "train") for out in (every, some)]
    assert all(np.array_equal(archives[1][name], archives[0][name]) for name in archives[1])
    assert set(archives[1]) == {line.partition("\t")[0] for line in tables[1]} == set(read_utt2spk(some / "train" / "utt2spk"))
    assert len(clean) == 18
    none = ("augment.copies=['noise']", "augment.copies_share=0.000001")
    with pytest.raises(RecipeError, match="no copy was drawn"):
        stages.run("augment", tmp_path / "none", *stages.FBANK, *stages.COPIES, *none, manifests=stages.manifests)


def test_shares_and_speech_for_babble_are_those_of_the_manifests(stages, tmp_path):
    corpus = stages.write_corpus(tmp_path / "corpus", {"train": (2, 2)}, {"noise": 2, "rir": 3, "babble": 2})
    rooms = sorted(item.id for item in read_set(corpus, "rir"))
    (corpus / "rir" / "shares").write_text(f"{rooms[0]} 1e-12\n{rooms[1]} 1\n{rooms[2]} 1e-12\n")
    bank = stages.run("augment", tmp_path / "bank", *stages.FBANK, *stages.ONLINE, manifests=corpus)
    assert sorted(path.name for path in bank.iterdir() if path.is_dir()) == ["babble", "noise", "rir", "speech"]
    found = ArchiveBank(bank)
    np.testing.assert_allclose(found.cumulative_shares("rir"), [0, 1, 1], atol=1e-9)
    assert found.cumulative_shares("noise") is None
    assert (found.num("babble"), found.num("speech")) == (2, 4)
    more = ("augment.copies=['reverb', 'babble']",)
    copies = stages.run("augment", tmp_path / "copies", *stages.FBANK, *stages.COPIES, *more, manifests=corpus)
    words = [line.split("\t") for line in (copies / "train" / "augmentation.tsv").read_text().splitlines()]
    assert {what for name, what in words if name.startswith("reverb")} == {"reverb[1]"}
    indices = {index for name, what in words if name.startswith("babble") for index in re.findall(r"babble\[(\d)\]", what)}
    assert indices == {"0", "1"}  # of the two sounds in "babble"; there are four of speech
    (corpus / "rir" / "shares").write_text(f"{rooms[0]} 1\n")
    with pytest.raises(RecipeError, match=r"rir/shares: expected a share over 0 of each of the 3 sounds"):
        stages.run("augment", tmp_path / "bad", *stages.FBANK, *stages.COPIES, *more, manifests=corpus)


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
