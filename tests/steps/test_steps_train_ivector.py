"""Stage 4 trains an i-vector extractor by EM: from the features on disk to a model that stage 5 uses, resumed bit for bit."""

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from steps.core.errors import RecipeError
from steps.core.files import read_json
from steps.data.archive import Archive, read_embeddings
from steps.nnet import checkpoint
from steps.nnet.ivector import training as em_training
from steps.nnet.ivector.mixture import CHUNK
from steps.nnet.ivector.training import ExtractorTraining
from steps.nnet.models import build_model
from steps.nnet.settings import IVector

SIZES = {
    "num_gaussians": 4, "embedding_dim": 3, "init_frames": 600, "init_gaussians": 2, "init_iterations": 2,
    "diagonal_iterations": 1, "full_iterations": 2, "iterations": 2, "gselect": 3, "ubm_every": 2,
}  # fmt: skip
MODEL = ("model.type=ivector", *(f"model.{name}={value}" for name, value in SIZES.items()))
EM = (*MODEL, "head.type=none", "train.method=em", "train.threads=1")
PLAN = [("begin", n) for n in (1, 2)] + [("diagonal", 1), ("full", 1), ("full", 2)] + [("extractor", n) for n in (1, 2)]


def train(stages, out, *settings, **inputs):
    given = {"manifests": stages.manifests, "features": stages.features, "augmented": stages.none} | inputs
    return stages.run("train", out, *stages.FBANK, *stages.NONE, *EM, *settings, **given)


@pytest.fixture(scope="module", autouse=True)
def several_chunks():
    """Of three utterances or so, and E-steps of five and more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CHUNK, "cpu", 250)
        patch.setattr(em_training, "UTTERANCES_AT_ONCE", 5)
        yield


@pytest.fixture(scope="module")
def model(stages, tmp_path_factory):
    return train(stages, tmp_path_factory.mktemp("ivector") / "model")


def records(folder):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def assert_same_model(found, expected):
    for name in ("model.safetensors", "speakers", "settings.toml"):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    assert records(found) == records(expected)


def interrupt_after(patch, num_iterations):
    """Ctrl-C in the middle of iteration number `num_iterations` + 1, with some of its chunks read."""
    whole, done = ExtractorTraining.iterate, 0

    def iterate(self):
        nonlocal done
        done += 1
        if done > num_iterations:
            whole(self)
            raise KeyboardInterrupt
        return whole(self)

    patch.setattr(ExtractorTraining, "iterate", iterate)


@pytest.mark.parametrize("num_iterations", [1, 3, 6])
def test_an_interrupted_run_goes_on_to_the_same_bytes(stages, tmp_path, model, num_iterations):
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, num_iterations)
        with pytest.raises(KeyboardInterrupt):
            train(stages, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert_same_model(train(stages, tmp_path / "model"), model)


def test_neither_memory_nor_workers_change_a_bit(stages, tmp_path, model):
    assert_same_model(train(stages, tmp_path / "b", "model.statistics_memory=0.0", "train.workers=2"), model)


def test_the_log_has_a_record_of_each_iteration_and_likelihoods_rise(model):
    history = records(model)
    assert [(each["phase"], each["iteration"]) for each in history] == PLAN
    assert [each["epoch"] for each in history] == list(range(1, 8))
    assert [each["num_gaussians"] for each in history] == [4] * 7
    assert history[0]["num_frames"] == 600
    for phase in ("begin", "full", "extractor"):
        found = [each["log_likelihood"] for each in history if each["phase"] == phase]
        assert all(after > before for before, after in zip(found, found[1:], strict=False)), phase
    assert [each["dev_eer"] is None for each in history] == [True] * 5 + [False] * 2
    assert history[-1]["dev_eer"] < 0.2  # three speakers whose resonances lie apart


def test_each_phase_reads_the_frames_that_the_settings_say(stages, model):
    history, archive = records(model), Archive(stages.features / "train")
    lengths = [archive.num_rows(name) for name in archive.ids]
    every_second = sum(-(-length // 2) for length in lengths)
    assert [each["num_frames"] for each in history] == [600] * 2 + [every_second] * 3 + [sum(lengths)] * 2


def test_the_extractor_is_trained_on_the_longest_utterances(stages, tmp_path):
    lengths = [Archive(stages.features / "train").num_rows(name) for name in Archive(stages.features / "train").ids]
    history = records(train(stages, tmp_path / "model", "model.longest_utterances=7", "model.posterior_scale=0.5"))
    assert history[-1]["num_frames"] == round(sum(sorted(lengths)[-7:]) / 2)


def test_what_is_written_is_what_other_models_have(stages, model):
    assert sorted(path.name for path in model.iterdir()) == [
        "log.jsonl", "model.safetensors", "settings.toml", "speakers", "stamp.json", "tensorboard", "training.json",
    ]  # fmt: skip
    assert (model / "speakers").read_text().split() == [f"train{number}" for number in range(6)]
    known = read_json(model / "training.json")
    assert known["num_parameters"] == sum(value.numel() for value in load_file(model / "model.safetensors").values())
    assert known["num_speakers"] == 6
    assert 'type = "ivector"' in (model / "settings.toml").read_text()
    assert "statistics_memory" not in (model / "settings.toml").read_text()


def test_stage_5_extracts_what_the_network_gives_utterance_by_utterance(stages, tmp_path, model):
    out = stages.run("embed", tmp_path / "e", *stages.FBANK, *MODEL, features=stages.features, model=model)
    network = build_model(IVector(**SIZES), 12)
    checkpoint.load_model(model / "model.safetensors", network)
    ids, found_ND = read_embeddings(out / "test")
    archive = Archive(stages.features / "test")
    expected_ND = np.concatenate([network(torch.from_numpy(archive[name])[None]).numpy() for name in ids])
    np.testing.assert_allclose(found_ND, expected_ND, rtol=1e-4, atol=1e-5)
    again = stages.run("embed", tmp_path / "f", *stages.FBANK, *MODEL, features=stages.features, model=model, jobs=2)
    assert stages.content(again) == stages.content(out)


def test_diagonal_covariances_stay_diagonal(stages, tmp_path):
    found = load_file(train(stages, tmp_path / "model", "model.full_iterations=0") / "model.safetensors")
    for name in ("ubm.covariances_CFF", "extractor.covariances_CFF"):
        assert torch.equal(found[name], torch.diag_embed(found[name].diagonal(dim1=1, dim2=2))), name
    assert not torch.equal(found["ubm.covariances_CFF"], found["extractor.covariances_CFF"])


def test_copies_are_read_beside_the_clean_utterances(stages, tmp_path, caplog):
    copies = stages.run("augment", tmp_path / "copies", *stages.FBANK, *stages.COPIES, manifests=stages.manifests)
    with caplog.at_level(logging.INFO, logger=stages.log):
        stages.run(
            "train", tmp_path / "model", *stages.FBANK, *stages.COPIES, *EM, manifests=stages.manifests,
            features=stages.features, augmented=copies,
        )  # fmt: skip
    assert "72 utterances of 6 speakers" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("train.method=sgd", "train.epochs=1", "train.batch_size=4", "train.learning_rate=0.1", "train.final_learning_rate=0.1"),
         r"train\.method = 'sgd' with model\.type = 'ivector': expected 'em'"),
        (("model.type=xvector",), r"train\.method = 'em' with model\.type = 'xvector'"),
        (("head.type=softmax",), r"head\.type = 'softmax' with train\.method = 'em': expected 'none'"),
        (("train.epochs=3",), r"epochs: expected the default, as method = 'em' has no use for it"),
        (("train.precision=bf16", "train.max_crop=3.0"), r"max_crop, precision: expected the default"),
        (("specaugment.p=0.5", "specaugment.num_time_masks=1", "specaugment.max_time_frames=5"), r"specaugment\.p = 0\.5"),
        (("model.num_gaussians=61", "model.init_gaussians=0"), r"at least 10 frames for each of 61 components, found 600"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(stages, tmp_path, settings, message):
    chosen = [each for each in EM if each.partition("=")[0] not in [new.partition("=")[0] for new in settings]]
    if "model.type=xvector" in settings:
        chosen = [each for each in chosen if not each.startswith("model.")]
    given = {"manifests": stages.manifests, "features": stages.features, "augmented": stages.none}
    with pytest.raises(RecipeError, match=message):
        stages.run("train", tmp_path / "m", *stages.FBANK, *stages.NONE, *chosen, *settings, **given)


def test_augmentation_on_the_way_is_refused(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"augment\.mode = 'online' with train\.method = 'em'"):
        stages.run(
            "train", tmp_path / "m", *stages.FBANK, *stages.ONLINE, *EM, manifests=stages.manifests, features=stages.features,
            augmented=stages.bank,
        )  # fmt: skip


def test_the_description_says_that_there_is_no_head(stages):
    from steps.train import describe

    words = [word for setting in (*stages.FBANK, *stages.NONE, *EM) for word in ("--set", setting)]
    assert describe(["--describe", "--speakers", "10", *words]).endswith("\nhead: none")
    sizes = json.loads(describe(["--describe", "--json", "--speakers", "10", *words]))
    assert (sizes["parameters"], sizes["embedding_dim"]) == (sizes["trainable_without_head"], 3)
