"""Stage 5: embeddings are those of the network on each utterance by itself, whoever computes them."""

import json
import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from steps import convert
from steps.core import config, stage
from steps.core.errors import RecipeError
from steps.data.archive import Archive, read_embeddings
from steps.embed import STAGE, _opened
from steps.nnet.checkpoint import load_model
from steps.nnet.models import build_model
from tests.nnet import keras_file


def network(stages) -> torch.nn.Module:
    """The trained network as anybody would rebuild it: from the model folder alone."""
    settings, _ = stage.load_settings(
        {name: STAGE.sections[name] for name in ("features", "model")}, [stages.model / "settings.toml"], []
    )
    model = build_model(settings.model, settings.features.num_bins)
    load_model(stages.model / "model.safetensors", model)
    return model.eval()


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5 of the length of an embedding: float32 keeps seven digits of the largest number in it."""
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected, axis=-1).max() < 1e-5 * np.linalg.norm(expected, axis=-1).min()


def embedded(stages, out, *settings: str, jobs: int = 1):
    more = (*stages.FBANK, *stages.NETWORK, *settings)
    return stages.run("embed", out, *more, features=stages.features, model=stages.model, jobs=jobs)


def test_three_jobs_write_what_one_writes(stages, tmp_path):
    one, three = (embedded(stages, tmp_path / str(jobs), jobs=jobs) for jobs in (1, 3))
    assert stages.content(one) == stages.content(three)
    assert len(list((one / "train").glob("*.ark"))) == 5  # 18 utterances in batches of 4


def test_each_embedding_is_that_of_its_utterance_alone(stages, tmp_path):
    out, model = embedded(stages, tmp_path / "embeddings"), network(stages)
    for set_name in ("train", "dev", "test"):
        ids, matrix_ND = read_embeddings(out / set_name)
        archive = Archive(stages.features / set_name)
        assert ids == archive.ids
        for name, found_D in zip(ids, matrix_ND, strict=True):
            with torch.inference_mode():
                alone_D = model(torch.from_numpy(archive[name])[None])[0].numpy()
            assert_near(found_D, alone_D)


def test_a_process_reads_the_lengths_of_a_set_once(stages, tmp_path):
    settings, site = stage.load_settings(STAGE.sections, [stages.model / "settings.toml"], [])
    job = SimpleNamespace(settings=settings, site=site, inputs={"manifests": None})
    folder = tmp_path / "dev"
    shutil.copytree(stages.features / "dev", folder)
    archive, batches = _opened(folder, job)
    assert sorted(index for batch in batches for index in batch) == list(range(len(archive)))
    assert _opened(folder, job)[0] is archive
    os.utime(folder / "feats.scp", (1, 1))
    assert _opened(folder, job)[0] is not archive


def test_windows_are_embedded_one_by_one(stages, tmp_path):
    out = embedded(stages, tmp_path / "windows", "embed.window=0.4", "embed.hop=0.15", jobs=2)
    model, archive, found = network(stages), Archive(stages.features / "test"), Archive(out / "test")
    for name in archive:
        feats_TF = archive[name]
        starts = [*range(0, len(feats_TF) - 40, 15), len(feats_TF) - 40]
        with torch.inference_mode():
            expected = [model(torch.from_numpy(feats_TF[start : start + 40])[None])[0].numpy() for start in starts]
        assert len(starts) > 4  # more than a batch, see conftest
        assert_near(found[name], np.stack(expected))


def test_a_short_utterance_is_repeated_up_to_four_windows(stages, tmp_path):
    out = embedded(stages, tmp_path / "tiled", "embed.window=0.6", "embed.hop=0.1", "embed.cut=tiled")
    model, archive, found = network(stages), Archive(stages.features / "test"), Archive(out / "test")
    repeats = set()
    for name in archive:
        feats_TF = archive[name]
        repeats.add(100 // len(feats_TF) + 1)
        if len(feats_TF) < 100:
            feats_TF = np.concatenate([feats_TF] * 2)
        starts = range(0, len(feats_TF) - 60, 10)
        with torch.inference_mode():
            expected = [model(torch.from_numpy(feats_TF[start : start + 60])[None])[0].numpy() for start in starts]
        assert len(starts) >= 4
        assert_near(found[name], np.stack(expected))
    assert repeats == {1, 2}  # long and short ones


def test_evenly_spread_windows_are_as_many_for_each_utterance(stages, tmp_path):
    out = embedded(stages, tmp_path / "even", "embed.window=1.0", "embed.cut=even", "embed.num_windows=3")
    model, archive, found = network(stages), Archive(stages.features / "test"), Archive(out / "test")
    num_short = 0
    for name in archive:
        feats_TF = archive[name]
        num_short += len(feats_TF) <= 100
        long_TF = np.concatenate([feats_TF] * 3)[: max(100, len(feats_TF))]
        slack = len(long_TF) - 100
        with torch.inference_mode():
            expected = [model(torch.from_numpy(long_TF[s : s + 100])[None])[0].numpy() for s in (0, slack // 2, slack)]
        assert_near(found[name], np.stack(expected))
    assert 0 < num_short < len(archive)


def centre_of(rows: np.ndarray, length: int) -> np.ndarray:
    """As many rows in the middle, one less in front of it than behind where it must be; few rows are gone through again."""
    rows = np.concatenate([rows] * -(-length // len(rows)))[: max(length, len(rows))]
    before = (len(rows) - length) // 2
    return rows[before : before + length]


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_window_from_the_centre_of_each_utterance(stages, tmp_path, jobs):
    out = embedded(stages, tmp_path / "centre", "embed.window=1.0", "embed.cut=centre", jobs=jobs)
    model, archive, found = network(stages), Archive(stages.features / "test"), Archive(out / "test")
    lengths = [len(archive[name]) for name in archive]
    assert min(lengths) < 100 < max(lengths)
    assert any((length - 100) % 2 for length in lengths if length > 100)
    for name in archive:
        with torch.inference_mode():
            expected = model(torch.from_numpy(centre_of(archive[name], 100))[None]).numpy()
        assert found[name].shape == (1, 8)
        assert_near(found[name], expected)
    whole = Archive(embedded(stages, tmp_path / "whole") / "test")
    assert all(not np.allclose(found[name][0], whole[name], rtol=1e-3) for name in archive)


def test_the_centre_of_samples_at_4_khz_through_a_voicemap_file(stages, tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    keras_file.write_siamese(h5py, tmp_path / "a.hdf5", np.random.default_rng(1))
    convert.convert(tmp_path / "a.hdf5", tmp_path / "model", 4000)
    samples = (
        "features.type=waveform", "features.name=waveform4k_stride", "features.sampling_rate=16000", "features.decimate=4",
        "features.decimate_filter=stride", "features.resample=true",
    )  # fmt: skip
    features = stages.run("extract", tmp_path / "features", *samples, manifests=stages.manifests)
    settings, _ = stage.load_settings({"model": STAGE.sections["model"]}, [tmp_path / "model" / "settings.toml"], [])
    words = [f"model.{key}={json.dumps(value)}" for key, value in config.deciding(settings.model).items()]
    cut = ("embed.window=1.0", "embed.cut=centre")
    out = stages.run("embed", tmp_path / "out", *samples, *words, *cut, features=features, model=tmp_path / "model")
    model = build_model(settings.model, 1)
    load_model(tmp_path / "model" / "model.safetensors", model)
    archive, found = Archive(features / "test"), Archive(out / "test")
    assert min(len(archive[name]) for name in archive) < 4000 < max(len(archive[name]) for name in archive)
    for name in archive:
        with torch.inference_mode():
            expected = model.eval()(torch.from_numpy(centre_of(archive[name], 4000))[None]).numpy()
        assert_near(found[name], expected)
    assert (out / "pair_head.json").is_file()


@pytest.mark.parametrize("window", [(), ("embed.window=0.4", "embed.hop=0.2"), ("embed.window=0.4", "embed.cut=centre")])
def test_class_scores_are_those_of_the_head_on_each_embedding(stages, tmp_path, window):
    out = embedded(stages, tmp_path / "x", 'embed.class_scores=["train", "test"]', *window, jobs=2)
    weight_SD = load_file(stages.model / "head.safetensors")["weight_SD"].double().numpy()
    model, speakers = network(stages).double(), (out / "speakers").read_text().split()
    assert speakers == (stages.model / "speakers").read_text().split()
    assert sorted(path.name for path in (out / "class_scores").iterdir()) == ["test", "train"]
    for set_name in ("train", "test"):
        vectors, scores = Archive(out / set_name), Archive(out / "class_scores" / set_name)
        assert vectors.ids == scores.ids
        for name in vectors:
            with torch.inference_mode():
                x_WD = model.classifier_input(torch.from_numpy(np.atleast_2d(vectors[name])).double()).numpy()
            cosine_WS = x_WD @ weight_SD.T / np.outer(np.linalg.norm(x_WD, axis=1), np.linalg.norm(weight_SD, axis=1))
            np.testing.assert_allclose(scores[name], cosine_WS.mean(axis=0), atol=1e-6)
            assert (len(x_WD) > 1) == ("embed.hop=0.2" in window)


def test_class_scores_need_a_set_and_a_head_that_is_known(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"embed.class_scores: no features of the set 'tset'; there are: dev, test, train"):
        embedded(stages, tmp_path / "x", 'embed.class_scores=["tset"]')
    model = tmp_path / "model"
    shutil.copytree(stages.model, model)
    (model / "stamp.json").unlink()  # as of a model from elsewhere, known by its files
    text = (model / "settings.toml").read_text()
    more = (*stages.FBANK, *stages.NETWORK, 'embed.class_scores=["test"]')
    for head, message in (
        ("", r"settings.toml: has no \[head\](.|\n)*train it again"),
        ('[head]\ntype = "siamese"\n', r"embed.class_scores: (.|\n)*take a system that was trained to classify"),
    ):
        (model / "settings.toml").write_text(text.partition("[head]")[0] + head)
        with pytest.raises(RecipeError, match=message):
            stages.run("embed", tmp_path / f"y{len(head)}", *more, features=stages.features, model=model)


def test_what_is_known_of_the_network_goes_along(stages, tmp_path):
    from steps.core.files import read_json

    known = read_json(embedded(stages, tmp_path / "embeddings") / "model.json")
    assert known["num_parameters"] == sum(p.numel() for p in network(stages).parameters())
    assert known["num_speakers"] == 6


def test_a_network_of_other_settings_is_refused(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"belongs to a model of other settings(.|\n)*settings\.toml beside the model"):
        embedded(stages, tmp_path / "x", "model.embedding_dim=9")


def test_a_missing_gpu_is_said(stages, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"embed\.device = 'cuda', but there is no GPU"):
        embedded(stages, tmp_path / "x", "embed.device=cuda")


def test_a_folder_without_features_is_refused(stages, tmp_path):
    more = (*stages.FBANK, *stages.NETWORK)
    with pytest.raises(RecipeError, match="holds no features"):
        stages.run("embed", tmp_path / "x", *more, features=stages.none, model=stages.model)


@pytest.mark.parametrize(
    "setting",
    [
        "embed.hop=0.1",
        "embed.window=-1.0",
        "embed.precision=half",
        "embed.device=tpu",
        "embed.threads=0",
        "embed.cut=random",
        "embed.cut=tiled",  # without a window
        "embed.cut=centre",
        "embed.num_windows=10",  # without cut = even
    ],
)
def test_settings_that_cannot_be_are_refused(stages, tmp_path, setting):
    with pytest.raises(RecipeError, match=setting.partition("=")[0].removeprefix("embed.")):
        embedded(stages, tmp_path / "x", setting)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("embed.cut=even",), "num_windows: expected at least 1"),
        (("embed.cut=even", "embed.num_windows=-1"), "num_windows: expected at least 1"),
        (("embed.cut=tiled", "embed.num_windows=4"), "num_windows: expected at least 1 with cut = 'even' and 0 with others"),
        (("embed.cut=even", "embed.num_windows=4", "embed.hop=0.1"), "hop: expected none with cut = 'even'"),
        (("embed.cut=centre", "embed.hop=0.1"), "hop: expected none with cut = 'centre', which is one window"),
        (("embed.cut=centre", "embed.num_windows=1"), "num_windows: expected at least 1 with cut = 'even' and 0 with others"),
    ],
)
def test_settings_of_cutting_without_effect_are_refused(stages, tmp_path, settings, message):
    with pytest.raises(RecipeError, match=message):
        embedded(stages, tmp_path / "x", "embed.window=0.4", *settings)
