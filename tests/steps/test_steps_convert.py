"""A Keras file becomes a model folder from which the network can be rebuilt, whole or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from steps import check, convert
from steps.core import config
from steps.core.errors import RecipeError
from steps.core.stamp import input_content
from steps.embed import STAGE
from steps.nnet.checkpoint import load_model
from steps.nnet.models import build_model
from tests.nnet import keras_file

h5py = pytest.importorskip("h5py", reason="h5py is not installed")

REPOSITORY = Path(__file__).parents[2]


def rebuilt(folder):
    """Returns settings and network as stage 5 would have them, from the folder alone."""
    sections = {name: STAGE.sections[name] for name in ("features", "model")}
    settings, _ = config.load_settings(sections, [folder / "settings.toml"], [])
    model = build_model(settings.model, settings.features.num_bins)
    load_model(folder / "model.safetensors", model)
    return settings, model.eval().double()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_folder_holds_the_network_and_scores_as_keras_does(tmp_path, weighted):
    rng = np.random.default_rng(1)
    weights, head = keras_file.write_siamese(h5py, tmp_path / "a.hdf5", rng, weighted=weighted)
    assert convert.convert(tmp_path / "a.hdf5", tmp_path / "voicemap", 4000)
    settings, model = rebuilt(tmp_path / "voicemap")
    assert (settings.features.sampling_rate, settings.features.decimate, settings.features.decimate_filter) == (
        16000,
        4,
        "stride",
    )
    samples_BW = rng.normal(size=(2, 60))
    with torch.no_grad():
        found_BD = model(torch.from_numpy(samples_BW)[:, :, None]).numpy()
    first_D, second_D = (keras_file.embedding(weights, samples_W) for samples_W in samples_BW)
    np.testing.assert_allclose(found_BD, [first_D, second_D], rtol=1e-6)
    gap_D = first_D - second_D
    distance = np.abs(gap_D) if weighted else np.sqrt(np.sum(gap_D**2, keepdims=True))
    different = 1 / (1 + np.exp(-(distance @ head["dense_2/kernel:0"] + head["dense_2/bias:0"])[0]))
    saved = json.loads((tmp_path / "voicemap" / "pair_head.json").read_text())
    assert saved["type"] == ("weighted_l1" if weighted else "euclidean")
    logit = np.dot(saved["weights"], distance) + saved["bias"]
    np.testing.assert_allclose(1 / (1 + np.exp(-logit)), different, rtol=1e-6)


def test_it_counts_as_the_output_of_a_stage_and_passes_the_check_of_a_recipe(tmp_path, monkeypatch):
    keras_file.write_siamese(h5py, tmp_path / "a.hdf5", np.random.default_rng(1))
    out = tmp_path / "voicemap"
    convert.convert(tmp_path / "a.hdf5", out, 4000)
    assert len(input_content("model", out)) == 64
    sizes = zip((6, 3, 3, 3), (1, 3, 6, 9), (3, 6, 9, 12), strict=True)
    encoder = sum(width * inputs * outputs + 3 * outputs for width, inputs, outputs in sizes) + 12 * 5 + 5
    assert json.loads((out / "training.json").read_text())["num_parameters"] == encoder
    assert str(tmp_path) not in (out / "training.json").read_text() + (out / "settings.toml").read_text()
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(config, "SITE_FILE", Path("conf/no-site.toml"))
    plan = check.plan_model(Path("recipes/toy"), out, [])
    assert (plan.system, plan.features) == ("voicemap", "waveform4k_stride")
    (tmp_path / "system").mkdir()
    out.rename(tmp_path / "system" / "model")
    with pytest.raises(RecipeError, match=r"of a trained system; did you mean --model .*/system/model\?"):
        check.plan_model(Path("recipes/toy"), tmp_path / "system", [])


def test_a_classifier_leaves_no_pair_head(tmp_path):
    keras_file.write_classifier(h5py, tmp_path / "a.hdf5", np.random.default_rng(1))
    convert.convert(tmp_path / "a.hdf5", tmp_path / "out", 8000)
    settings, _ = rebuilt(tmp_path / "out")
    assert (settings.features.decimate, settings.features.name) == (2, "waveform8k_stride")
    assert not (tmp_path / "out" / "pair_head.json").exists()


def test_the_same_file_is_up_to_date_and_another_one_is_refused(tmp_path):
    for number in (1, 2):
        keras_file.write_siamese(h5py, tmp_path / f"{number}.hdf5", np.random.default_rng(number))
    out = tmp_path / "out"
    assert convert.convert(tmp_path / "1.hdf5", out, 4000)
    assert not convert.convert(tmp_path / "1.hdf5", out, 4000)
    for name, rate in (("1.hdf5", 8000), ("2.hdf5", 4000)):
        with pytest.raises(RecipeError, match=r"made of another file than .*--exp .*--force"):
            convert.convert(tmp_path / name, out, rate)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.hdf5", "2.hdf5", "out"]


def test_another_file_of_the_same_name_is_taken_by_force_and_the_first_is_set_aside(tmp_path):
    for number in (1, 2):
        keras_file.write_siamese(h5py, tmp_path / f"{number}.hdf5", np.random.default_rng(number))
    out = tmp_path / "out"
    convert.convert(tmp_path / "1.hdf5", out, 4000)
    first = (out / "model.safetensors").read_bytes()
    assert convert.convert(tmp_path / "2.hdf5", out, 4000, force=True)
    (old,) = tmp_path.glob("out.old-*")
    assert (old / "model.safetensors").read_bytes() == first != (out / "model.safetensors").read_bytes()
    assert not convert.convert(tmp_path / "2.hdf5", out, 4000)


def test_a_converted_network_that_is_damaged_is_converted_again(tmp_path):
    keras_file.write_siamese(h5py, tmp_path / "1.hdf5", np.random.default_rng(1))
    out = tmp_path / "out"
    convert.convert(tmp_path / "1.hdf5", out, 4000)
    whole = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(whole[:-1] + b"x")
    assert convert.convert(tmp_path / "1.hdf5", out, 4000)
    assert (out / "model.safetensors").read_bytes() == whole


def test_a_model_is_what_its_stamp_says_or_is_known_by_its_files(tmp_path, monkeypatch):
    keras_file.write_siamese(h5py, tmp_path / "1.hdf5", np.random.default_rng(1))
    out = tmp_path / "voicemap"
    convert.convert(tmp_path / "1.hdf5", out, 4000)
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(config, "SITE_FILE", Path("conf/no-site.toml"))
    whole = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(RecipeError, match=r"model.safetensors has other content than was written; .* remove .*stamp.json"):
        check.plan_model(Path("recipes/toy"), out, [])
    (out / "stamp.json").unlink()
    assert check.plan_model(Path("recipes/toy"), out, []).system == "voicemap"
    changed = input_content("model", out, from_elsewhere=True)
    (out / "model.safetensors").write_bytes(whole)
    assert input_content("model", out, from_elsewhere=True) != changed
    with pytest.raises(RecipeError, match="no stage made it"):
        input_content("model", out)


@pytest.mark.parametrize(
    ("name", "rate", "message"),
    [("b.hdf5", 4000, "no such file"), ("a.hdf5", 3000, "--rate 3000"), ("text.hdf5", 4000, "expected a Keras model")],
)
def test_what_cannot_be_converted_leaves_no_folder(tmp_path, monkeypatch, name, rate, message, capsys):
    keras_file.write_siamese(h5py, tmp_path / "a.hdf5", np.random.default_rng(1))
    (tmp_path / "text.hdf5").write_text("text")
    words = ["convert", "--model", str(tmp_path / name), "--out", str(tmp_path / "out"), "--rate", str(rate)]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as caught:
        convert.main()
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
