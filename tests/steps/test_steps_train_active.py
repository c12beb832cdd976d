"""Active learning in stage 4: what is taken in, what the log says of it, and that an interruption changes nothing."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from steps.core import config
from steps.core.errors import RecipeError
from steps.core.rng import generator
from steps.data.sampling import crop_start
from steps.examples.training_set import TrainingSet, frames_of, seconds_of
from steps.monitor.active import ActivePool
from steps.nnet import checkpoint
from steps.nnet.models import build_head, build_model
from steps.nnet.training import Training
from steps.train import STAGE

ACTIVE = (
    "train.active=one_minus_max", "train.active_share=0.4", "train.active_add=2", "train.active_speakers=3",
    "train.active_per_speaker=1", "train.epochs=4", "train.batch_size=3",
)  # fmt: skip
SECONDS = 0.01  # of a row of features
FILES = ("model.safetensors", "head.safetensors", "speakers", "settings.toml")


@pytest.fixture(scope="module")
def corpus(stages, tmp_path_factory):
    """Four speakers with five utterances each, and two for the dev EER: more to choose from than in the other tests."""
    top = tmp_path_factory.mktemp("active")
    manifests = stages.write_corpus(top / "manifests", {"train": (4, 5), "dev": (2, 2)}, {})
    features = stages.run("extract", top / "features", *stages.FBANK, manifests=manifests)
    none = stages.run("augment", top / "none", *stages.FBANK, *stages.NONE, manifests=manifests)
    return {"manifests": manifests, "features": features, "augmented": none}


def settings_of(stages, *more):
    return (*stages.FBANK, *stages.NONE, *stages.TRAIN, *ACTIVE, *more)


def train(stages, corpus, out, *more):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.monitor.active.SCORING_BATCH", 4)
        return stages.run("train", out, *settings_of(stages, *more), **corpus)


def records(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def pools_of(patch) -> list[np.ndarray]:
    """Filled, in training, with the pool before each growth and after it."""
    grow, found = ActivePool.grow, []

    def watched(self, training, epoch):
        found.append(self.in_pool_N.copy())
        added = grow(self, training, epoch)
        found.append(self.in_pool_N.copy())
        return added

    patch.setattr(ActivePool, "grow", watched)
    return found


@pytest.fixture(scope="module")
def whole(stages, corpus, tmp_path_factory):
    """A run of active learning, and its pools."""
    out = tmp_path_factory.mktemp("whole") / "model"
    with pytest.MonkeyPatch.context() as patch:
        pools = pools_of(patch)
        train(stages, corpus, out)
    return SimpleNamespace(folder=out, pools=pools)


def test_the_pool_begins_with_a_share_and_grows_after_each_epoch_but_the_last(whole):
    labels_N = np.repeat(np.arange(4), 5)
    assert [int(pool_N.sum()) for pool_N in whole.pools] == [8, 10, 10, 12, 12, 14]
    assert np.bincount(labels_N[whole.pools[0]]).tolist() == [2, 2, 2, 2]
    for before_N, after_N in zip(whole.pools[::2], whole.pools[1::2], strict=True):
        assert not (before_N & ~after_N).any()
        assert max(Counter(labels_N[after_N & ~before_N].tolist()).values()) == 1  # active_per_speaker


def test_the_log_counts_the_pool_and_the_audio_learnt_from(whole, stages, corpus):
    found = records(whole.folder)
    assert [record["pool_utterances"] for record in found] == [8, 10, 12, 14]
    assert [record["num_examples"] for record in found] == [6, 9, 12, 12]  # whole batches of 3
    data = opened(stages, corpus)[0]
    pools = [*whole.pools[::2], whole.pools[-1]]
    for record, pool_N in zip(found, pools, strict=True):
        rows = sum(data.features.num_rows(data.utterances[n]) for n in range(20) if pool_N[n])
        assert record["pool_hours"] == pytest.approx(rows * SECONDS / 3600)
    # Of the last of 2, 3, 4 and 4 updates; the margin has grown after two epochs, however long they are.
    assert [record["margin"] for record in found] == pytest.approx([0.05, 0.2 * 5 / 6, 0.2, 0.2])
    seconds = [record["seconds_seen"] for record in found]
    for number, seen in zip((6, 15, 27, 39), seconds, strict=True):
        assert 0.3 * number - 1e-9 <= seen <= 0.4 * number + 1e-9


def test_only_the_pool_is_trained_on_in_batches_of_the_drawn_lengths(stages, corpus, tmp_path):
    from steps.monitor.batches import EpochBatches

    seen = []
    call = EpochBatches.__call__

    def watched(self, training):
        batches = call(self, training)
        seen.append((self.pool.in_pool_N.copy(), batches))
        return batches

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochBatches, "__call__", watched)
        folder = train(stages, corpus, tmp_path / "model", "train.sampling=speaker")
    total = 0
    for record, (pool_N, batches) in zip(records(folder), seen, strict=True):
        assert {example.utterance for batch in batches for example in batch.examples} <= set(np.flatnonzero(pool_N).tolist())
        total += sum(batch.num_frames * len(batch.examples) for batch in batches)
        assert record["seconds_seen"] == pytest.approx(total * SECONDS)


def stop_in_training(patch, num_updates: int) -> None:
    begun, done = Training.train_batch, 0

    def train_batch(self, feats_BTF, labels_B):
        nonlocal done
        if done == num_updates:
            raise KeyboardInterrupt
        done += 1
        begun(self, feats_BTF, labels_B)

    patch.setattr(Training, "train_batch", train_batch)


def stop_in_saving(patch, num_saved: int) -> None:
    """As the pool has grown, but no checkpoint says so yet."""
    save, done = checkpoint.save, 0

    def cut(path, state):
        nonlocal done
        if done == num_saved:
            raise KeyboardInterrupt
        done += 1
        save(path, state)

    patch.setattr(checkpoint, "save", cut)


# Updates: 2, 3, 4 and 4 an epoch; a checkpoint after each of them, and one after the pool has grown.
@pytest.mark.parametrize(("stop", "number"), [(stop_in_training, 2), (stop_in_training, 4), (stop_in_saving, 2)])
def test_an_interrupted_run_goes_on_to_the_same_bytes(stages, corpus, whole, tmp_path, stop, number):
    with pytest.MonkeyPatch.context() as patch:
        stop(patch, number)
        with pytest.raises(KeyboardInterrupt):
            train(stages, corpus, tmp_path / "model")
    found = train(stages, corpus, tmp_path / "model")
    assert records(found) == records(whole.folder)
    for name in FILES:
        assert (found / name).read_bytes() == (whole.folder / name).read_bytes(), name


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_number_of_workers_changes_nothing(stages, corpus, whole, tmp_path):
    found = train(stages, corpus, tmp_path / "model", "train.workers=3")
    assert records(found) == records(whole.folder)
    assert (found / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()


def opened(stages, corpus, *more):
    """Training set and a fresh run, in single precision."""
    words = settings_of(stages, "train.precision=float32", *more)
    settings, _ = config.load_settings(STAGE.sections, [], words)
    data = TrainingSet.open(**corpus, settings=settings, site={})
    torch.manual_seed(5)
    model = build_model(settings.model, settings.features.num_bins)
    for norm in (module for module in model.modules() if isinstance(module, torch.nn.BatchNorm1d)):
        norm.running_mean.normal_()  # of a network that has learnt: its outputs depend on the mode
    head = build_head(settings.head, model.classifier_dim, len(data.speakers))
    return data, Training(settings.train, model, head, steps_per_epoch=2, device=torch.device("cpu"))


def uncertainty_by_hand(data, training, n: int, num_frames: int, *, criterion: str, probabilities: bool) -> float:
    """Of the crop that epoch 2 draws for one utterance, alone in its batch."""
    name = data.utterances[n]
    feats_TF = data.features[name]
    start = crop_start(generator(1, "example", 2, -1 - n, name), len(feats_TF), num_frames)
    with torch.inference_mode():
        model = training.model.eval()
        x_D = model.classifier_input(model(torch.from_numpy(feats_TF[None, start : start + num_frames].copy())))[0].numpy()
    weight_SD = training.head.weight_SD.detach().numpy()
    if probabilities:
        e_S = np.exp(weight_SD @ x_D + training.head.bias_S.detach().numpy())
        outputs_S = e_S / e_S.sum()
    else:
        outputs_S = np.array([w @ x_D / np.linalg.norm(w) / np.linalg.norm(x_D) for w in weight_SD])
    return 1.0 - (outputs_S.max() if criterion == "one_minus_max" else outputs_S[data.labels[n]])


@pytest.mark.parametrize("criterion", ["one_minus_max", "one_minus_target"])
@pytest.mark.parametrize("head", ["aam", "softmax"])
def test_what_is_taken_in_is_what_a_loop_finds_least_sure(stages, corpus, criterion, head):
    more = (
        f"train.active={criterion}",
        f"head.type={head}",
        "train.active_add=5",
        "train.active_speakers=0",
        "train.active_per_speaker=2",
    )
    margins = ("train.margin_end_epoch=0",) if head == "softmax" else ()
    data, training = opened(stages, corpus, *more, *margins)
    pool = ActivePool(training.settings, data, num_frames=35)
    before_N = pool.in_pool_N.copy()
    left = np.flatnonzero(~before_N).tolist()
    training.model.train()
    expected = {n: uncertainty_by_hand(data, training, n, 35, criterion=criterion, probabilities=head == "softmax") for n in left}
    training.model.train()
    np.testing.assert_allclose(pool.uncertainties(training, 2, np.array(left)), list(expected.values()), atol=1e-5)
    assert pool.grow(training, 2) == 5
    chosen, taken = [], Counter()
    for n in sorted(left, key=lambda n: -expected[n]):
        if len(chosen) < 5 and taken[data.labels[n]] < 2:
            chosen.append(n)
            taken[data.labels[n]] += 1
    assert np.flatnonzero(pool.in_pool_N & ~before_N).tolist() == sorted(chosen)


def test_the_random_control_takes_each_utterance_equally_often_and_asks_no_network(stages, corpus):
    from scipy.stats import chisquare

    data, training = opened(
        stages, corpus, "train.active=random", "train.active_add=3", "train.active_speakers=0", "train.active_per_speaker=0"
    )
    pool = ActivePool(training.settings, data, num_frames=35)
    begin_N = pool.in_pool_N.copy()
    times_N = np.zeros(20)
    for epoch in range(1, 1201):
        pool.in_pool_N = begin_N.copy()
        assert pool.grow(None, epoch) == 3
        times_N += pool.in_pool_N & ~begin_N
    assert times_N[begin_N].sum() == 0
    # Three of twelve without putting back vary less than independent draws: by the factor of the finite population.
    assert chisquare(times_N[~begin_N]).statistic * 11 / 9 < 31.3  # 0.1 % of a chi-square with 11 degrees
    assert chisquare(times_N[~begin_N]).statistic > 1.5


def test_a_pool_that_holds_everything_stays_as_it_is(stages, corpus):
    data, training = opened(stages, corpus)
    pool = ActivePool(training.settings, data, num_frames=35)
    pool.in_pool_N[:] = True
    assert pool.grow(training, 1) == 0
    with pytest.raises(ValueError, match="pool of 3 utterances, expected 20 as in this training set"):
        pool.load_state_dict({"in_pool_N": torch.ones(3, dtype=torch.bool)})


def test_outputs_that_are_no_numbers_are_said_with_a_remedy(stages, corpus, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ActivePool, "uncertainties", lambda self, training, epoch, tried_K: np.full(len(tried_K), np.nan))
        with pytest.raises(RecipeError, match=r"after epoch 1 the head's outputs are not numbers .*lower train\.learning_rate"):
            train(stages, corpus, tmp_path / "model")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("train.sampling=groups", "train.group_size=3"), "active: expected 'none' with sampling = 'groups'"),
        (("train.sampling=whole",), "active: expected 'none' with sampling = 'whole'"),
        (("head.type=pairwise_kl",), "head.type = 'pairwise_kl': expected a head with an output for each speaker"),
        (("augment.mode=copies", "augment.copies=['noise']"), "copies of an utterance would count as utterances"),
        (("train.active=none",), "active_share, active_add, active_speakers, active_per_speaker: expected the default"),
        (("train.active_add=0",), "active_add: expected at least 1 with active = 'one_minus_max', found 0"),
        (("train.active_per_speaker=2",), "active_per_speaker: expected fewer than active_add = 2"),
        (("train.active_share=1.0",), "active_share: expected between 0 and 1, found 1.0"),
        (("train.active_speakers=-1",), "active_speakers: expected at least 0, found -1"),
        (("train.active=entropy",), "active: expected one of none, one_minus_max, one_minus_target, random"),
        (("train.epochs=1", "train.average=1"), "epochs: expected at least 2"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(stages, corpus, tmp_path, more, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        train(stages, corpus, tmp_path / "model", *more)


def test_schedules_give_each_epoch_the_same_part_however_long_it_is(stages, corpus):
    _, training = opened(stages, corpus, "train.margin_start_epoch=0", "train.margin_end_epoch=4")
    rates, margins, updates = [], [], []
    for num_updates in (2, 5, 10, 4):
        training.steps_per_epoch = num_updates
        for _ in range(num_updates):
            training.train_batch(torch.randn(4, 20, 12), torch.arange(4))
            rates.append(training.optimizer.param_groups[0]["lr"])
            margins.append(training.head.margin)
            updates.append(training.head.update)
        training.end_epoch(None)
    assert updates == list(range(21))
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01)
    assert [margins[n] for n in (0, 2, 7, 17)] == pytest.approx([0.0, 0.05, 0.1, 0.15])
    assert margins[3] == pytest.approx(0.06)
    _, other = opened(stages, corpus)
    other.load_state_dict(training.state_dict())
    assert (other.update, other.frames_seen) == (21, 21 * 80)


def test_a_checkpoint_from_before_there_were_pools_goes_on(stages, corpus):
    _, training = opened(stages, corpus)
    state = training.state_dict() | {"epoch": 3, "step": 1}
    del state["updates_before"], state["frames_seen"]
    training.load_state_dict(state)
    assert training.update == 2 * 2 + 1


@pytest.mark.parametrize(
    "features",
    [
        SimpleNamespace(type="fbank", frame_shift=0.01),
        SimpleNamespace(type="waveform", sampling_rate=16000, decimate=4),
    ],
)
def test_seconds_are_the_reverse_of_rows(features):
    assert seconds_of(features, frames_of(features, 2.5)) == pytest.approx(2.5)
