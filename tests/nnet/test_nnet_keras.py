"""Files in Keras' layout give the network that Keras would run, and anything else is refused with a reason."""

import json

import numpy as np
import pytest
import torch

from steps.nnet.models import build_model
from steps.nnet.settings import Voicemap
from tests.nnet import keras_file

h5py = pytest.importorskip("h5py", reason="h5py is not installed")
from steps.nnet.keras import read_keras  # noqa: E402

SIZES = {"filters": 3, "kernel_size": 6, "dim": 5}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def network(settings, state):
    model = build_model(settings, 1).eval()
    model.load_state_dict(state)
    return model


def assert_same_embeddings(model, weights, rng, pools=(2, 2, 2, 2)):
    samples_BW = rng.normal(0.02, 0.1, size=(3, 53))
    with torch.no_grad():
        found_BD = model.double()(torch.from_numpy(samples_BW)[:, :, None]).numpy()
    expected_BD = [keras_file.embedding(weights, samples_W, pools) for samples_W in samples_BW]
    np.testing.assert_allclose(found_BD, np.stack(expected_BD), rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_siamese_network_gives_the_embeddings_of_keras_layers(tmp_path, rng, weighted):
    path = tmp_path / "model.hdf5"
    weights, head = keras_file.write_siamese(h5py, path, rng, weighted=weighted, **SIZES)
    settings, state, found = read_keras(path)
    assert settings == Voicemap(**{"embedding_dim" if k == "dim" else k: v for k, v in SIZES.items()},
                                pool_sizes=(2, 2, 2, 2), dropout=0.05)  # fmt: skip
    assert_same_embeddings(network(settings, state), weights, rng)
    assert found == {
        "type": "weighted_l1" if weighted else "euclidean",
        "weights": head["dense_2/kernel:0"].astype(float).flatten().tolist(),
        "bias": float(head["dense_2/bias:0"][0]),
    }


def test_pool_sizes_and_dropout_are_those_of_the_file(tmp_path, rng):
    path = tmp_path / "model.hdf5"
    weights, _ = keras_file.write_siamese(h5py, path, rng, pools=(4, 2, 1, 3), rate=0.15)
    settings, state, _ = read_keras(path)
    assert (settings.pool_sizes, settings.dropout) == ((4, 2, 1, 3), 0.15)
    assert_same_embeddings(network(settings, state), weights, rng, (4, 2, 1, 3))


def test_a_classifier_gives_the_embeddings_and_its_output_layer(tmp_path, rng):
    path = tmp_path / "model.hdf5"
    weights = keras_file.write_classifier(h5py, path, rng, num_speakers=4, **SIZES)
    settings, state, head = read_keras(path)
    assert_same_embeddings(network(settings, state), weights, rng)
    assert head["type"] == "softmax"
    np.testing.assert_array_equal(head["weight_SD"].numpy(), weights["dense_2/kernel:0"].T)
    np.testing.assert_array_equal(head["bias_S"].numpy(), weights["dense_2/bias:0"])


def test_a_bare_encoder_of_a_later_keras_has_no_head(tmp_path, rng):
    layers = keras_file.encoder_layers(**SIZES)
    weights = keras_file.random_weights(layers, rng)
    groups = {each["config"]["name"]: {} for each in layers}
    for name, array in weights.items():
        groups[name.partition("/")[0]][name] = array
    config = {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": layers}}
    keras_file.write(h5py, tmp_path / "m.h5", config, groups, as_text=str)
    settings, state, head = read_keras(tmp_path / "m.h5")
    assert head is None
    assert_same_embeddings(network(settings, state), weights, rng)


def test_names_of_variables_do_not_matter_but_their_order_does(tmp_path, rng):
    """A network that was loaded and saved again has names like sequential_1/conv1d_1_1/kernel:0."""
    layers = keras_file.encoder_layers(**SIZES)
    weights = keras_file.random_weights(layers, rng)
    head = keras_file.random_weights([keras_file.dense("dense_2", 1, "sigmoid")], rng)
    renamed = {f"again/{name.replace('/', '_7/')}": each for name, each in keras_file.trainable_first(weights).items()}
    keras_file.write(h5py, tmp_path / "m.h5", keras_file.siamese(layers), {"sequential_1": renamed, "dense_2": head})
    settings, state, _ = read_keras(tmp_path / "m.h5")
    assert_same_embeddings(network(settings, state), weights, rng)


def change_config(path, change):
    """Changes model_config of a file: `change` is given the parsed JSON and alters it in place."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config).encode()


def inner(config, number):
    """Returns layer `number` of the encoder within a siamese network."""
    return config["config"]["layers"][2]["config"][number]


def set_key(number, key, value):
    return lambda config: inner(config, number)["config"].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: inner(c, 3).update(class_name="AveragePooling1D"), "layer 4 .*expected MaxPooling1D, found AveragePooling1D"),
        (lambda c: c["config"]["layers"][2]["config"].pop(1), "layer 2 .*expected BatchNormalization, found SpatialDropout1D"),
        (lambda c: c["config"]["layers"][2]["config"].pop(), "layer 18 .*expected Dense, found the end"),
        (lambda c: c["config"]["layers"][2]["config"].append(keras_file.dense("x", 2, "linear")), "end with Dense"),
        (lambda c: c["config"]["layers"][4].update(class_name="LSTM"), "siamese network of .*found .*LSTM"),
        (lambda c: c["config"]["layers"].pop(), "siamese network of"),
        (lambda c: c["config"].pop("layers"), "expected the layers of 'Model'"),
        (lambda c: c.pop("class_name"), "expected a network as JSON"),
        (set_key(0, "padding", "valid"), "conv1d_1 .*expected padding = same, found 'valid'"),
        (set_key(4, "activation", "tanh"), "conv1d_2 .*expected activation = relu"),
        (set_key(4, "filters", 7), "expected filters = 6, found 7"),
        (set_key(8, "kernel_size", [5]), r"expected kernel_size = \[3\], found \[5\]"),
        (set_key(5, "epsilon", 1e-5), "expected epsilon = 0.001"),
        (set_key(7, "strides", [1]), r"max_pooling1d_2 .*expected strides = \[2\], found \[1\]"),
        (set_key(6, "rate", 0.3), "expected rate = 0.05, found 0.3"),
        (set_key(17, "activation", "relu"), "dense_1 .*expected activation = linear"),
        (set_key(17, "units", None), "expected filters, kernel_size"),
        (lambda c: c["config"]["layers"][5]["config"].update(units=2), "expected units = 1"),
    ],
)
def test_another_network_is_refused(tmp_path, rng, change, message):
    path = tmp_path / "model.hdf5"
    keras_file.write_siamese(h5py, path, rng, **SIZES)
    change_config(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)


def _replace(file, name, array):
    del file[name]
    file[name] = array


ENCODER = "model_weights/sequential_1/"
OUTPUT = "model_weights/dense_2/dense_2/kernel:0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.attrs.pop("model_config"), "no model_config"),
        (lambda f: f.attrs.update(model_config=b"{not json"), "expected a network as JSON"),
        (lambda f: f.attrs.update(backend=b"theano"), "backend tensorflow, found 'theano'"),
        (lambda f: f.pop("model_weights"), "expected the group model_weights, found"),
        (lambda f: f.pop("model_weights/dense_2"), "expected the group dense_2"),
        (lambda f: f["model_weights/dense_2"].attrs.pop("weight_names"), "expected the attribute weight_names"),
        (lambda f: f.pop(ENCODER + "conv1d_3/kernel:0"), "expected the array conv1d_3/kernel:0, found none"),
        (
            lambda f: _replace(f, ENCODER + "conv1d_3/kernel:0", np.zeros((3, 6, 8), "f")),
            r"conv1d_3/kernel:0: expected floats of shape \(3, 6, 9\), found float32 of shape \(3, 6, 8\)",
        ),
        (lambda f: _replace(f, ENCODER + "dense_1/bias:0", np.full(5, np.nan, "f")), "expected finite numbers, found NaN"),
        (lambda f: _replace(f, ENCODER + "dense_1/bias:0", np.zeros(5, "i")), "expected floats .*found int"),
        (lambda f: _replace(f, OUTPUT, np.zeros((2, 1), "f")), "expected 1 weight .* or 5 .*found 2"),
        (
            lambda f: f[ENCODER].attrs.update(weight_names=f[ENCODER].attrs["weight_names"][:-1]),
            "expected one more moving_variance",
        ),
        (
            lambda f: f[ENCODER].attrs.update(weight_names=np.append(f[ENCODER].attrs["weight_names"], b"conv1d_1/bias:0")),
            "expected none but those of the layers, found .*too",
        ),
    ],
)  # fmt: skip
def test_wrong_or_missing_weights_are_refused(tmp_path, rng, change, message):
    path = tmp_path / "model.hdf5"
    keras_file.write_siamese(h5py, path, rng, **SIZES)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(ValueError, match=message) as caught:
        read_keras(path)
    assert str(path) in str(caught.value)


def test_an_output_layer_of_another_size_is_refused(tmp_path, rng):
    path = tmp_path / "model.hdf5"
    keras_file.write_classifier(h5py, path, rng, num_speakers=4, **SIZES)
    change_config(path, lambda config: config["config"][-1]["config"].update(units=5))
    with pytest.raises(ValueError, match="expected units = 4, found 5"):
        read_keras(path)


def test_files_of_another_kind_are_refused(tmp_path, rng):
    path = tmp_path / "model.hdf5"
    with pytest.raises(FileNotFoundError):
        read_keras(path)
    path.write_bytes(b"PK\x03\x04 no HDF5")
    with pytest.raises(ValueError, match="model.hdf5: expected a Keras model"):
        read_keras(path)
    keras_file.write_siamese(h5py, path, rng, **SIZES)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="expected a Keras model"):
        read_keras(path)
