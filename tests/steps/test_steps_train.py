"""Stage 4: a run that is killed anywhere and started again ends in the bytes of one that was not."""

import json
import logging
import re
import shutil
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from steps.core.errors import RecipeError
from steps.core.files import read_json
from steps.data.archive import Archive
from steps.data.trials import read_trials
from steps.nnet import checkpoint
from steps.nnet.models import build_model
from steps.nnet.settings import XVector
from steps.nnet.training import Training

FILES = ("model.safetensors", "head.safetensors", "speakers", "settings.toml")
RUN_KEYS = ("seconds",)  # of a record in log.jsonl


def records(model) -> list[dict]:
    lines = (model / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in RUN_KEYS} for line in lines]


def assert_same_model(found, expected) -> None:
    for name in FILES:
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    assert records(found) == records(expected)


def train(stages, out, *settings: str, features=None, augmented=None, manifests=None):
    return stages.run(
        "train", out, *settings, manifests=manifests or stages.manifests, features=features or stages.features,
        augmented=augmented or stages.none,
    )  # fmt: skip


def interrupt_after(patch, num_updates: int) -> None:
    """Ctrl-C as update number `num_updates` + 1 begins."""
    whole, done = Training.train_batch, 0

    def train_batch(self, feats_BTF, labels_B):
        nonlocal done
        if done == num_updates:
            raise KeyboardInterrupt
        done += 1
        whole(self, feats_BTF, labels_B)

    patch.setattr(Training, "train_batch", train_batch)


# 18 utterances in batches of 4: 4 updates an epoch, 3 epochs.
@pytest.mark.parametrize("num_updates", [0, 1, 4, 7])
def test_an_interrupted_run_goes_on_to_the_same_bytes(stages, tmp_path, num_updates):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, num_updates)
        with pytest.raises(KeyboardInterrupt):
            train(stages, tmp_path / "model", *settings)
    assert not (tmp_path / "model").exists()
    assert_same_model(train(stages, tmp_path / "model", *settings), stages.model)


def test_a_run_cut_off_between_the_last_update_and_the_end_of_an_epoch_goes_on_likewise(stages, tmp_path):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.monitor.dev.dev_figures", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(stages, tmp_path / "model", *settings)
    found = train(stages, tmp_path / "model", *settings)
    assert_same_model(found, stages.model)
    assert 0 < records(found)[0]["margin"] < 0.2


def test_a_run_without_a_checkpoint_in_an_epoch_begins_that_epoch_again(stages, tmp_path):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN, "train.checkpoint_seconds=1000")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            train(stages, tmp_path / "model", *settings)
    assert_same_model(train(stages, tmp_path / "model", *settings), stages.model)


def test_a_process_that_is_killed_leaves_what_its_successor_needs(stages, tmp_path, killed_run):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""
        import os, signal, sys
        from steps.nnet import checkpoint
        save, count = checkpoint.save, 0

        def save_and_die(path, state):
            global count
            save(path, state)
            count += 1
            if count == 6:
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint.save = save_and_die
        from steps.train import STAGE
        STAGE.main()
        """)
    )
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN)
    inputs = {"manifests": stages.manifests, "features": stages.features, "augmented": stages.none}
    words = [word for setting in settings for word in ("--set", setting)]
    words += [f"--{name}={folder}" for name, folder in inputs.items()]
    launch = f"import runpy, sys; sys.path.insert(0, '.'); sys.argv[0] = {str(script)!r}; runpy.run_path({str(script)!r})"
    assert killed_run(["-c", launch, *words, "--out", str(tmp_path / "model")]) == -9
    assert not (tmp_path / "model").exists()
    assert list((tmp_path / "model.partial").rglob(checkpoint.__name__.rpartition(".")[2] + ".pt"))
    assert_same_model(train(stages, tmp_path / "model", *settings), stages.model)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_augmented_training_is_the_same_with_any_number_of_workers(stages, tmp_path):
    settings = (*stages.FBANK, *stages.ONLINE, *stages.TRAIN, "train.epochs=2", "specaugment.p=0.5")
    masks = ("specaugment.num_time_masks=1", "specaugment.max_time_frames=5")
    one, three = (
        train(stages, tmp_path / str(n), *settings, *masks, f"train.workers={n}", augmented=stages.bank) for n in (1, 3)
    )
    assert_same_model(one, three)
    speakers = (one / "speakers").read_text().split()
    people = [f"train{number}" for number in range(6)]
    assert speakers == people + [f"speed0.9-{name}" for name in people] + [f"speed1.1-{name}" for name in people]


def test_the_log_has_a_record_of_each_epoch(stages):
    history = records(stages.model)
    assert [record["epoch"] for record in history] == [1, 2, 3]
    assert [record["num_examples"] for record in history] == [16, 16, 16]
    assert [record["margin"] for record in history] == pytest.approx([0.2 * 3 / 8, 0.2 * 7 / 8, 0.2])
    assert history[-1]["learning_rate"] == pytest.approx(0.01)


def test_the_dev_eer_is_that_of_centred_cosines_of_the_networks_embeddings(stages, tmp_path):
    one_epoch = ("train.epochs=1", "train.average=1", "train.margin_end_epoch=0", "train.precision=float32")
    folder = train(stages, tmp_path / "model", *stages.FBANK, *stages.NONE, *stages.TRAIN, *one_epoch)
    model = build_model(XVector(channels=(8, 8, 8, 8, 16), embedding_dim=8), 12)
    checkpoint.load_model(folder / "model.safetensors", model)
    archive = Archive(stages.features / "dev")
    with torch.inference_mode():
        matrix_ND = np.concatenate([model.eval()(torch.from_numpy(archive[name])[None]).numpy() for name in archive.ids])
    matrix_ND = matrix_ND.astype(np.float64) - matrix_ND.mean(axis=0, dtype=np.float64)
    matrix_ND /= np.linalg.norm(matrix_ND, axis=1, keepdims=True)
    place = {name: row for row, name in enumerate(archive.ids)}
    trials = read_trials(stages.manifests / "calibration" / "dev.txt")
    pairs = zip(trials.enrol_ids, trials.test_ids, strict=True)
    scores = np.array([matrix_ND[place[enrol]] @ matrix_ND[place[test]] for enrol, test in pairs])
    target, nontarget = scores[trials.is_target], scores[~trials.is_target]
    rates = [((target < t).mean(), (nontarget >= t).mean()) for t in [*np.unique(scores), np.inf]]
    miss, false_alarm = min(rates, key=lambda pair: abs(pair[0] - pair[1]))
    assert records(folder)[0]["dev_eer"] == pytest.approx((miss + false_alarm) / 2, abs=1e-9)


def test_voices_that_differ_are_learnt(stages, tmp_path):
    more = (
        "head.type=softmax",
        "train.examples_per_epoch=288",
        "train.batch_size=12",
        "train.optimizer=adamw",
        "train.average=1",
    )
    history = records(train(stages, tmp_path / "model", *stages.FBANK, *stages.NONE, *stages.TRAIN, *more))
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.5  # of six speakers
    assert history[-1]["dev_eer"] < 0.2  # three speakers whose resonances lie apart


def test_the_model_is_the_mean_of_the_last_epochs(stages, tmp_path):
    kept, save = {}, checkpoint.save_model

    def keep(path, model):
        kept[path.name] = {name: value.clone() for name, value in model.state_dict().items()}
        save(path, model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save_model", keep)
        train(stages, tmp_path / "model", *stages.FBANK, *stages.NONE, *stages.TRAIN)
    assert read_json(tmp_path / "model" / "training.json")["epochs_averaged"] == [2, 3]
    for name, suffix in (("model", ""), ("head", ".head")):
        found = load_file(tmp_path / "model" / f"{name}.safetensors")
        for key, value in found.items():
            second, third = (kept[f"{epoch:04d}{suffix}.safetensors"][key] for epoch in (2, 3))
            expected = (second.double() + third.double()) / 2 if value.is_floating_point() else third
            assert torch.equal(value, expected.to(value.dtype)), key


def test_copies_are_trained_on_beside_the_clean_utterances(stages, tmp_path, caplog):
    settings = (*stages.FBANK, *stages.COPIES)
    copies = stages.run("augment", tmp_path / "copies", *settings, manifests=stages.manifests)
    with caplog.at_level(logging.INFO, logger=stages.log):
        train(stages, tmp_path / "model", *settings, *stages.TRAIN, "train.epochs=2", augmented=copies)
    assert "72 utterances of 6 speakers, 18 updates an epoch" in caplog.text
    assert records(tmp_path / "model")[0]["num_examples"] == 72


def test_speakers_with_few_utterances_are_left_out_and_the_log_says_so(stages, tmp_path, caplog):
    more = stages.write_corpus(tmp_path / "manifests", {"train": (4, 3)}, {})
    lines = [json.loads(line) for line in _jsonl(more / "train" / "supervisions.jsonl.gz")]
    for line in lines:  # the first utterance of the first speaker gets a speaker of its own
        if line["id"] == "train0/u0":
            line["speaker"] = "rare"
    from steps.data.manifests import write_jsonl

    write_jsonl(more / "train" / "supervisions.jsonl.gz", lines)
    stages.restamp(more)
    features = stages.run("extract", tmp_path / "features", *stages.FBANK, manifests=more)
    none = stages.run("augment", tmp_path / "none", *stages.FBANK, *stages.NONE, manifests=more)
    with caplog.at_level(logging.INFO, logger=stages.log):
        model = train(
            stages, tmp_path / "model", *stages.FBANK, *stages.NONE, *stages.TRAIN, "train.min_utterances=2",
            manifests=more, features=features, augmented=none,
        )  # fmt: skip
    assert "1 speakers have fewer than train.min_utterances = 2 utterances and are left out, 4 stay" in caplog.text
    assert (model / "speakers").read_text().split() == ["train0", "train1", "train2", "train3"]
    assert [record["dev_eer"] for record in records(model)] == [None, None, None]  # there is no dev set either


def _jsonl(path) -> list[str]:
    import gzip

    with gzip.open(path, "rt") as file:
        return file.readlines()


def test_a_loss_that_is_not_finite_is_the_users_to_repair(stages, tmp_path):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN, "head.type=softmax", "train.optimizer=sgd")
    with pytest.raises(RecipeError) as error:
        train(stages, tmp_path / "model", *settings, "train.learning_rate=1e30", "train.final_learning_rate=1e30")
    assert re.match(
        r"the loss is (nan|inf) at update \d+ \(epoch \d\), which learnt from 4 utterances: train\d/u\d, ", str(error.value)
    )
    assert "the last good state is kept" in str(error.value)
    assert "lower train.learning_rate" in str(error.value)


REGIMES = {
    "pairs": (
        "head.type=siamese",
        "train.sampling=pairs",
        "train.monitor=one_shot",
        "train.one_shot_tasks=20",
        "train.one_shot_ways=3",
    ),
    "mined pairs": ("head.type=contrastive", "train.sampling=pairs", "train.mined_pairs=60", "train.mined_share=0.2"),
    "groups": ("head.type=ge2e", "train.sampling=groups", "train.group_size=2"),
    "hardest": ("train.hardest_share=0.5", "train.p_reverse=0.5", "train.max_change=2.0"),
    "whole": ("train.sampling=whole", "train.min_crop=0.3", "train.max_crop=2.0"),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_a_regime_trains_and_an_interrupted_run_of_it_ends_in_the_same_bytes(stages, tmp_path, regime):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN, *REGIMES[regime], "train.checkpoint_seconds=0")
    whole = train(stages, tmp_path / "whole", *settings)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 6)
        with pytest.raises(KeyboardInterrupt):
            train(stages, tmp_path / "model", *settings)
    assert_same_model(train(stages, tmp_path / "model", *settings), whole)
    if regime == "pairs":
        assert read_json(whole / "pair_head.json")["type"] == "euclidean"
        assert all(0 <= record["dev_one_shot"] <= 1 for record in records(whole))


def test_one_shot_tasks_need_as_many_held_out_speakers(stages, tmp_path):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN, "train.monitor=one_shot")
    with pytest.raises(RecipeError, match=r"one_shot': 1-shot 5-way tasks: expected at least 5 speakers .* found 3"):
        train(stages, tmp_path / "a", *settings)


def begin_with(stages, out, *settings, init=None):
    return stages.run(
        "train", out, *stages.FBANK, *stages.NONE, *stages.TRAIN, "train.init=first", *settings, manifests=stages.manifests,
        features=stages.features, augmented=stages.none, init=init or stages.model,
    )  # fmt: skip


def test_a_run_begins_with_the_weights_of_another(stages, tmp_path):
    """A learning rate of next to nothing leaves what it began with."""
    still = ("train.learning_rate=1e-12", "train.final_learning_rate=1e-12", "train.weight_decay=0.0")
    found = load_file(begin_with(stages, tmp_path / "a", *still, "train.init_head=true") / "model.safetensors")
    expected = load_file(stages.model / "model.safetensors")
    for name, value in expected.items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    heads = [load_file(folder / "head.safetensors") for folder in (tmp_path / "a", stages.model)]
    torch.testing.assert_close(heads[0]["weight_SD"], heads[1]["weight_SD"], rtol=0, atol=1e-6)


def test_frozen_frame_layers_are_those_of_the_other_system_to_the_last_bit(stages, tmp_path):
    found = load_file(begin_with(stages, tmp_path / "a", "train.freeze=frames") / "model.safetensors")
    expected = load_file(stages.model / "model.safetensors")
    assert all(torch.equal(found[name], value) for name, value in expected.items() if name.startswith("frame_layers"))
    assert not torch.equal(found["embedding.weight"], expected["embedding.weight"])


def test_a_system_of_another_network_cannot_be_begun_with(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"train\.init = 'first': layers before the pooling differ: frame_layers\.0"):
        begin_with(stages, tmp_path / "a", "model.channels=[6,6,6,6,12]")


def test_a_head_of_other_speakers_is_not_taken_over(stages, tmp_path):
    """As many, of the same shapes: their classes would be permuted."""
    other = tmp_path / "other"
    shutil.copytree(stages.model, other)
    (other / "speakers").write_text("".join(f"{name}\n" for name in reversed((other / "speakers").read_text().split())))
    stages.restamp(other)
    with pytest.raises(RecipeError, match=r"init_head: .*speakers are not the 6 speakers of this training set"):
        begin_with(stages, tmp_path / "a", "train.init_head=true", init=other)


def test_pairs_and_groups_are_not_drawn_of_copies(stages, tmp_path):
    settings = (*stages.FBANK, *stages.COPIES, *stages.TRAIN, "head.type=siamese", "train.sampling=pairs")
    with pytest.raises(RecipeError, match=r"a recording would meet its own copy"):
        train(stages, tmp_path / "a", *settings)


def test_init_and_its_folder_come_together(stages, tmp_path):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN)
    with pytest.raises(RecipeError, match=r"train\.init = 'first': expected --init DIR"):
        train(stages, tmp_path / "a", *settings, "train.init=first")


def test_a_head_that_needs_pairs_is_not_given_others(stages, tmp_path):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN)
    with pytest.raises(RecipeError, match=r"train\.sampling = 'utterance': expected pairs, as head\.type = 'siamese' needs"):
        train(stages, tmp_path / "a", *settings, "head.type=siamese")


def test_speakers_with_too_few_utterances_for_their_group_are_named_by_number(stages, tmp_path):
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN)
    with pytest.raises(RecipeError, match=r"\[train\]: .*group_size"):
        train(stages, tmp_path / "a", *settings, "head.type=ge2e", "train.sampling=groups", "train.group_size=4")


def test_the_description_touches_no_data(stages, capsys):
    from steps.train import describe

    words = [word for setting in (*stages.FBANK, *stages.NONE, *stages.TRAIN) for word in ("--set", setting)]
    sizes = json.loads(describe(["--describe", "--json", "--speakers", "10", *words]))
    own = sum(
        value.numel()
        for name, value in load_file(stages.model / "model.safetensors").items()
        if "running" not in name and "num" not in name
    )
    assert sizes["trainable_without_head"] == own
    assert sizes["parameters"] == own + 10 * sizes["embedding_dim"]
    assert sizes["input"] == [40, 12]
    assert "embedding" in describe(["--describe", *words])


@pytest.mark.parametrize("setting", ["train.patience=2", "train.average_of=best"])
def test_settings_that_look_at_dev_trials_need_some(stages, tmp_path, setting):
    bare = stages.write_corpus(tmp_path / "manifests", {"train": (2, 2), "dev": (2, 2)}, {}, dev_trials=False)
    with pytest.raises(RecipeError, match=r"calibration/dev\.txt: there are no trials of held-out training speakers"):
        train(stages, tmp_path / "model", *stages.FBANK, *stages.NONE, *stages.TRAIN, setting, manifests=bare)


def test_a_bank_without_the_sounds_asked_for_is_refused(stages, tmp_path):
    poor = stages.write_corpus(tmp_path / "manifests", {"train": (2, 2)}, {})
    made = ("augment.p_noise=0", "augment.p_reverb=0")
    bank = stages.run("augment", tmp_path / "bank", *stages.FBANK, *stages.ONLINE, *made, manifests=poor)
    with pytest.raises(RecipeError, match=r"augment\.p_noise = 1: expected sounds of the kind 'noise'.*\[augment\]"):
        train(stages, tmp_path / "x", *stages.FBANK, *stages.ONLINE, *stages.TRAIN, manifests=poor, augmented=bank)


def test_crops_that_are_too_short_for_the_network_are_refused(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"train\.min_crop = 0\.1 s: 10 frames; the network needs at least 16"):
        train(stages, tmp_path / "x", *stages.FBANK, *stages.NONE, *stages.TRAIN, "train.min_crop=0.1")


def test_vad_and_online_augmentation_exclude_each_other(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"--set features\.vad=none, or --set augment\.mode=copies"):
        train(stages, tmp_path / "x", *stages.FBANK, "features.vad=energy", *stages.ONLINE, *stages.TRAIN, augmented=stages.bank)


def test_a_missing_gpu_is_said(stages, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"train\.device = 'cuda', but there is no GPU"):
        train(stages, tmp_path / "x", *stages.FBANK, *stages.NONE, *stages.TRAIN, "train.device=cuda")


def test_early_stopping_and_best_epochs(stages, tmp_path):
    rates = iter([0.3, 0.1, 0.2, 0.2, 0.05])
    settings = (*stages.FBANK, *stages.NONE, *stages.TRAIN, "train.epochs=5", "train.patience=2", "train.average_of=best")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.monitor.dev.dev_figures", lambda *arguments: {"dev_eer": next(rates)})
        train(stages, tmp_path / "model", *settings)
    assert [record["dev_eer"] for record in records(tmp_path / "model")] == [0.3, 0.1, 0.2, 0.2]
    assert read_json(tmp_path / "model" / "training.json")["epochs_averaged"] == [2, 4]  # of equals the later
