"""Examples: the same whoever makes them, of the length asked for, with the label of their speaker."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.core.errors import RecipeError
from steps.core.files import write_json
from steps.data.archive import write_ark, write_scp, write_wave_ark
from steps.data.manifests import Utterance, write_set
from steps.data.sampling import Batch, Example, epoch_batches
from steps.examples.training_set import TrainingSet, crop_samples
from steps.signal.frontend import extract
from steps.signal.settings import Augment, Fbank, Mfcc, SpecAugment, Waveform
from steps.signal.speed import change_speed

ROOT = Path(__file__).parents[2]
RATE = 8000  # Hz
PEOPLE = {"anna/0": "anna", "anna/1": "anna", "ben/0": "ben", "ben/1": "ben", "cy/0": "cy"}
NUM_SAMPLES = {name: 6000 + 500 * number for number, name in enumerate(PEOPLE)}
FBANK = Fbank(name="fbank", sampling_rate=RATE, num_mel_bins=10, normalise="utterance_mean")
ONLINE = {
    "mode": "online", "sampling_rate": RATE, "p_augment": 0.8, "p_noise": 1.0, "p_babble": 1.0, "p_reverb": 1.0,
    "p_codec": 1.0, "reverb_then_noise": 0.5,
}  # fmt: skip
SPEEDS = {"mode": "online", "sampling_rate": RATE, "speed_factors": (0.9, 1.1)}


def wave(name: str, num_samples: int) -> np.ndarray:
    rng = np.random.default_rng([ord(letter) for letter in name])
    return (3000 * rng.standard_normal(num_samples)).astype(np.int16)


def write_waves(folder, items) -> None:
    folder.mkdir(parents=True)
    write_scp(folder, write_wave_ark(folder / "sounds.ark", items, RATE))


def write_copies(folder, kinds=("noise", "babble"), of=PEOPLE) -> None:
    """Copies whose features are all one number: 100 for the first kind, 200 for the second."""
    names = {f"{kind}-{name}": (number, name) for number, kind in enumerate(kinds, 1) for name in of}
    (folder / "train").mkdir(parents=True)
    arrays = [(name, np.full((80, 10), 100.0 * number, dtype=np.float32)) for name, (number, _) in names.items()]
    write_scp(folder / "train", write_ark(folder / "train" / "feats.ark", arrays))
    lines = [f"{name} {PEOPLE[clean]}\n" for name, (_, clean) in names.items()]
    (folder / "train" / "utt2spk").write_text("".join(lines))
    write_json(folder / "mode.json", {"mode": "copies"})


@pytest.fixture
def folders(tmp_path) -> SimpleNamespace:
    """Manifests, features and a bank of five utterances of three people."""
    utterances = [
        Utterance(
            id=name, speaker=speaker, gender="", session="", corpus="", path=f"{name}.wav", sampling_rate=RATE,
            num_samples=NUM_SAMPLES[name],
        )
        for name, speaker in PEOPLE.items()
    ]  # fmt: skip
    write_set(tmp_path / "manifests" / "train", utterances)
    write_waves(tmp_path / "bank" / "speech", [(name, wave(name, NUM_SAMPLES[name])) for name in PEOPLE])
    write_waves(tmp_path / "bank" / "noise", [("n0", wave("n0", 3000)), ("n1", wave("n1", 9000))])
    write_waves(tmp_path / "bank" / "rir", [("r0", wave("r0", 200))])
    write_json(tmp_path / "bank" / "mode.json", {"mode": "online"})
    (tmp_path / "features" / "train").mkdir(parents=True)
    # Frame t of utterance u is the number 1000 u + t, so that a crop says where it is from.
    arrays = [
        (name, (1000.0 * number + np.arange(70 + number)[:, None] + np.zeros(10)).astype(np.float32))
        for number, name in enumerate(PEOPLE)
    ]
    write_scp(tmp_path / "features" / "train", write_ark(tmp_path / "features" / "train" / "feats.ark", arrays))
    (tmp_path / "none").mkdir()
    write_json(tmp_path / "none" / "mode.json", {"mode": "none"})
    return SimpleNamespace(
        manifests=tmp_path / "manifests", features=tmp_path / "features", bank=tmp_path / "bank", none=tmp_path / "none",
        copies=tmp_path / "copies",
    )  # fmt: skip


def opened(folders, augment=None, *, augmented=None, features=FBANK, spec=None, **train) -> TrainingSet:
    augment = augment or {}
    settings = SimpleNamespace(
        augment=Augment(**augment), features=features, specaugment=spec or SpecAugment(),
        train=SimpleNamespace(**{"seed": 1, "min_utterances": 1, "num_speakers": 0, "minutes": 0.0, "p_reverse": 0.0} | train),
    )  # fmt: skip
    augmented = augmented or {"online": folders.bank, "copies": folders.copies}.get(settings.augment.mode, folders.none)
    return TrainingSet.open(
        manifests=folders.manifests, features=folders.features, augmented=augmented, settings=settings, site={}
    )


def batches(data: TrainingSet, *, num=24, num_frames=30, epoch=1) -> list[Batch]:
    return epoch_batches(
        seed=1, epoch=epoch, labels=data.labels, sampling="utterance", examples_per_epoch=num, batch_size=4,
        min_frames=num_frames, max_frames=num_frames + 10,
    )  # fmt: skip


def single(utterance: int, num_frames: int = 30, draw: int = 0, epoch: int = 1) -> tuple[Example, Batch]:
    example = Example(utterance, draw)
    return example, Batch(epoch, 0, num_frames, (example,))


MASKS = SpecAugment(p=0.5, num_time_masks=1, max_time_frames=6, num_freq_masks=1, max_freq_bins=3)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("mode", ["none", "online"])
def test_three_workers_make_the_batches_of_one_and_of_none(folders, mode):
    data = opened(folders, ONLINE | SPEEDS if mode == "online" else {}, spec=MASKS)
    plan = batches(data)
    one, three = (list(data.loader(plan, workers)) for workers in (1, 3))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as workers have: the last bits depend on it
    here = [data.make_batch(batch) for batch in plan]
    torch.set_num_threads(threads)
    assert len(one) == len(three) == len(plan) == 6
    for batch, first, second, third in zip(plan, one, three, here, strict=True):
        assert first[0].shape == (4, batch.num_frames, 10)
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[0], third[0])
        assert torch.equal(first[1], second[1])


def test_an_example_does_not_depend_on_those_around_it(folders):
    data = opened(folders, ONLINE)
    plan = batches(data)
    last = plan[-1]
    feats_TF, label = data.make_example(last.examples[2], last)
    whole_BTF, labels_B = list(data.loader(plan, 1))[-1]
    np.testing.assert_array_equal(whole_BTF[2].numpy(), feats_TF)
    assert int(labels_B[2]) == label


def test_the_loader_leaves_torchs_generator_alone(folders):
    """A resumed epoch opens it once more than one that was not cut off."""
    data = opened(folders)
    before = torch.get_rng_state()
    list(data.loader(batches(data), 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_that_has_nothing_left_is_empty(folders):
    assert list(opened(folders).loader([], 1)) == []


def test_stored_crops_are_runs_of_frames_with_the_label_of_their_speaker(folders):
    data = opened(folders)
    assert data.speakers == ["anna", "ben", "cy"]
    starts = set()
    for draw in range(60):
        for utterance, name in enumerate(PEOPLE):
            feats_TF, label = data.make_example(*single(utterance, 66, draw))
            number, start = divmod(int(feats_TF[0, 0]), 1000)
            assert data.speakers[label] == PEOPLE[name]
            assert (number, name) in enumerate(PEOPLE)
            np.testing.assert_array_equal(feats_TF[:, 3], 1000 * number + start + np.arange(66))
            starts.add((number, start))
    # Utterance u has 70 + u frames: crops of 66 start at 0 to 4 + u, and each start comes about.
    assert starts == {(number, start) for number in range(5) for start in range(5 + number)}


def test_features_that_are_too_short_are_repeated(folders):
    feats_TF, _ = opened(folders).make_example(*single(1, 150))
    np.testing.assert_array_equal(feats_TF[:, 0], 1000 + np.arange(150) % 71)


def test_waves_that_are_too_short_are_repeated(folders):
    data = opened(folders, {**ONLINE, "p_augment": 1e-9}, features=Waveform(name="wave", sampling_rate=RATE))
    feats_TF, _ = data.make_example(*single(0, 15000))
    expected = np.tile(wave("anna/0", 6000), 3)[:15000] / 32768
    np.testing.assert_array_equal(feats_TF[:, 0], expected.astype(np.float32))


def test_an_unaugmented_crop_has_the_features_of_its_samples(folders):
    data = opened(folders, {**ONLINE, "p_augment": 1e-9})
    feats_TF, _ = data.make_example(*single(2, 87))
    whole_W = wave("ben/0", NUM_SAMPLES["ben/0"]).astype(np.float32) / 32768
    crops = [extract(whole_W[start : start + 87 * 80], RATE, FBANK) for start in range(7000 - 87 * 80 + 1)]
    assert sum(np.array_equal(crop_TF, feats_TF) for crop_TF in crops) == 1


@pytest.mark.parametrize(
    "features",
    [
        FBANK,
        Fbank(name="fbank", sampling_rate=RATE, num_mel_bins=10, snip_edges=True),
        Fbank(name="fbank", sampling_rate=RATE, num_mel_bins=10, snip_edges=True, frame_length=0.032, frame_shift=0.0125),
        Mfcc(name="mfcc", sampling_rate=RATE),
        Waveform(name="wave", sampling_rate=RATE),
        Waveform(name="wave", sampling_rate=RATE, decimate=3),
    ],
)
@pytest.mark.parametrize("num_frames", [4, 27, 50])
def test_crops_have_exactly_the_samples_that_give_their_frames(features, num_frames):
    num_samples = crop_samples(features, num_frames, RATE)
    assert features.num_frames(num_samples) == num_frames
    assert extract(np.random.default_rng(0).normal(size=num_samples), RATE, features).shape[0] == num_frames


@pytest.mark.parametrize("bank_rate", [16000, 8000, 11025, 44100])
def test_crops_from_another_rate_are_as_long(bank_rate):
    features = Fbank(name="fbank", sampling_rate=8000, num_mel_bins=10, resample=True)
    num_samples = crop_samples(features, 50, bank_rate)
    assert num_samples / bank_rate == pytest.approx(0.5, abs=1.01 / bank_rate)
    found = extract(np.random.default_rng(0).normal(size=num_samples), bank_rate, features)
    assert len(found) == 50


def test_a_bank_of_another_rate_gives_examples_of_the_length_asked_for(folders):
    features = Fbank(name="fbank", sampling_rate=4000, num_mel_bins=10, resample=True)
    feats_TF, _ = opened(folders, ONLINE, features=features).make_example(*single(3, 40))
    assert feats_TF.shape == (40, 10)


def test_changed_speeds_are_speakers_of_their_own(folders):
    data = opened(folders, SPEEDS | {"speed_as_new_speakers": True}, features=Waveform(name="wave", sampling_rate=RATE))
    people = ["anna", "ben", "cy"]
    assert data.speakers == people + [f"speed0.9-{name}" for name in people] + [f"speed1.1-{name}" for name in people]
    seen = set()
    for draw in range(40):
        feats_TF, label = data.make_example(*single(3, 400, draw))
        seen.add(data.speakers[label])
        assert len(feats_TF) == 400
        factor = {"ben": 1.0, "speed0.9-ben": 0.9, "speed1.1-ben": 1.1}[data.speakers[label]]
        assert _is_crop_of(feats_TF[:, 0], wave("ben/1", NUM_SAMPLES["ben/1"]) / 32768, factor)
    assert seen == {"ben", "speed0.9-ben", "speed1.1-ben"}


def _is_crop_of(crop_W: np.ndarray, whole_W: np.ndarray, factor: float) -> bool:
    """Whether the crop is somewhere in the whole played at that speed (its ends are filtered without their neighbours)."""
    inner_W = crop_W[150:250].astype(np.float64)
    # At 0.9 and 1.1 a crop may start between two samples of the resampled whole: try all starts of the period.
    for start in range(1 if factor == 1.0 else 11):
        played_W = change_speed(whole_W[start:].astype(np.float32), factor).astype(np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(played_W, 100)
        correlation = windows @ inner_W / (np.linalg.norm(windows, axis=1) * np.linalg.norm(inner_W))
        if correlation.max() > 0.9999:
            return True
    return False


def test_changed_speeds_keep_their_speaker_unless_told_otherwise(folders):
    data = opened(folders, SPEEDS)
    assert data.speakers == ["anna", "ben", "cy"]
    assert {data.make_example(*single(4, 20, draw))[1] for draw in range(20)} == {2}


def test_all_speeds_come_equally_often(folders):
    data = opened(folders, SPEEDS | {"speed_as_new_speakers": True})
    counts = np.bincount([data.make_example(*single(0, 5, draw))[1] // 3 for draw in range(300)])
    assert np.abs(counts - 100).max() < 41  # five standard deviations


def test_augmented_examples_differ_between_epochs_and_draws(folders):
    data = opened(folders, ONLINE)
    made = {data.make_example(*single(0, 40, draw, epoch))[0].tobytes() for draw in (0, 1) for epoch in (1, 2)}
    assert len(made) == 4
    other = opened(folders, ONLINE, seed=2)
    assert other.make_example(*single(0, 40))[0].tobytes() not in made


def test_copies_are_mixed_with_clean_utterances(folders):
    write_copies(folders.copies)
    data = opened(folders, {"mode": "copies", "copies": ("noise", "babble")})
    assert len(data.utterances) == 15
    assert data.speakers == ["anna", "ben", "cy"]
    kinds = {"noise": 0, "babble": 0, "clean": 0}
    for utterance, name in enumerate(data.utterances):
        feats_TF, label = data.make_example(*single(utterance, 30))
        kind, dash, clean = name.partition("-")
        assert data.speakers[label] == PEOPLE[clean if dash else name]
        if dash:
            assert (feats_TF == {"noise": 100, "babble": 200}[kind]).all()
        else:
            assert int(feats_TF[0, 0]) // 1000 == list(PEOPLE).index(name)
        kinds[kind if dash else "clean"] += 1
    assert kinds == {"noise": 5, "babble": 5, "clean": 5}


def test_speakers_with_few_utterances_are_left_out_and_counted(folders):
    data = opened(folders, min_utterances=2)
    assert data.speakers == ["anna", "ben"]
    assert data.utterances == ["anna/0", "anna/1", "ben/0", "ben/1"]
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert data.num_left_out == 1
    assert opened(folders).num_left_out == 0


def test_at_least_two_speakers_have_to_stay(folders):
    with pytest.raises(RecipeError, match="at least 2 speakers, found 0"):
        opened(folders, min_utterances=3)


def test_a_part_of_the_speakers_with_a_part_of_their_speech(folders):
    data = opened(folders, num_speakers=2, seed=4)
    assert len(data.speakers) == 2
    assert data.utterances == sorted(name for name in PEOPLE if PEOPLE[name] in data.speakers)
    assert [data.speakers[label] for label in data.labels] == [PEOPLE[name] for name in data.utterances]
    # Utterances are 0.75 to 1 s long; cy has one of 1 s, so that 1.2 s of each leave anna and ben.
    assert opened(folders, num_speakers=2, minutes=0.04).speakers == ["anna", "ben"]
    assert len(opened(folders, num_speakers=2, minutes=0.02).utterances) == 2
    assert opened(folders, num_speakers=3, seed=1).utterances == opened(folders).utterances


def test_a_part_that_there_is_not_is_an_error(folders):
    with pytest.raises(RecipeError, match=r"train.num_speakers: expected at most the 3 speakers that there are, found 4"):
        opened(folders, num_speakers=4)
    write_copies(folders.copies)
    with pytest.raises(RecipeError, match=r"train.minutes: expected 0 with augment.mode = 'copies'"):
        opened(folders, {"mode": "copies", "copies": ("noise", "babble")}, num_speakers=2, minutes=0.02)


def test_seconds_become_frames_or_samples(folders):
    assert opened(folders).frames_of(1.5) == 150
    wave_settings = Waveform(name="wave", sampling_rate=RATE, decimate=4)
    assert opened(folders, features=wave_settings).frames_of(1.5) == 3000


def test_a_bank_that_lacks_sounds_says_which_and_what_to_do(folders):
    with pytest.raises(RecipeError, match=r"bank: augment\.p_music = 1: expected sounds of the kind 'music'.*\[augment\]"):
        opened(folders, ONLINE | {"p_music": 1.0})


@pytest.mark.parametrize(
    ("augment", "where", "made"),
    [(ONLINE, "none", "none"), ({}, "bank", "online"), ({"mode": "copies", "copies": ("noise",)}, "bank", "online")],
)
def test_the_output_of_another_mode_is_refused(folders, augment, where, made):
    wanted = augment.get("mode", "none")
    with pytest.raises(RecipeError, match=rf"made with augment\.mode = '{made}', expected '{wanted}'.*run stage 3"):
        opened(folders, augment, augmented=getattr(folders, where))


def test_an_utterance_without_features_is_named(folders):
    ark = folders.features / "train" / "feats.scp"
    ark.write_text("".join(line for line in ark.read_text().splitlines(keepends=True) if not line.startswith("ben/1")))
    with pytest.raises(RecipeError, match=r"1 of 5 training utterances are not in .*feats\.scp, first 'ben/1'"):
        opened(folders)


def test_a_copy_named_like_an_utterance_is_refused(folders):
    write_copies(folders.copies, kinds=("noise",))
    extra = [
        Utterance(id=name, speaker="x", gender="", session="", corpus="", path="x.wav", sampling_rate=RATE, num_samples=8000)
        for name in (*PEOPLE, "noise-cy/0")
    ]
    write_set(folders.manifests / "train", extra)
    (folders.features / "train" / "feats.scp").unlink()
    arrays = [(each.id, np.zeros((50, 10), dtype=np.float32)) for each in extra]
    write_scp(folders.features / "train", write_ark(folders.features / "train" / "feats.ark", arrays))
    with pytest.raises(RecipeError, match="1 utterances have the id of an augmented copy, first 'noise-cy/0'"):
        opened(folders, {"mode": "copies", "copies": ("noise",)})


def test_an_example_may_run_backwards(folders):
    """Frame t of an utterance is the number 1000 u + t: a crop that falls by one a frame runs backwards."""
    slopes = {}
    for p in (0.0, 0.5, 1.0):
        data = opened(folders, p_reverse=p)
        made = [data.make_example(*single(0, draw=draw))[0] for draw in range(40)]
        slopes[p] = [set(np.diff(feats_TF[:, 0]).tolist()) for feats_TF in made]
    assert all(each == {1.0} for each in slopes[0.0])
    assert all(each == {-1.0} for each in slopes[1.0])
    assert 5 < sum(each == {-1.0} for each in slopes[0.5]) < 35


def test_a_process_ends_though_a_loader_was_left_open():
    """As after a traceback: what multiprocessing does at the exit does not end the workers."""
    text = """
from torch.utils.data import DataLoader
from steps.examples.training_set import one_thread
left_open = iter(DataLoader(list(range(100)), batch_size=None, num_workers=1, worker_init_fn=one_thread))
print(next(left_open))
"""
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")
