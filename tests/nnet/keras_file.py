"""Writes random voicemap networks as Keras 2.2.2 writes them, and runs them as Keras would, in numpy."""

import json

import numpy as np

RMS = 0.038021


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def dense(name, units, activation):
    return layer("Dense", name, units=units, activation=activation, use_bias=True)


def encoder_layers(filters=3, kernel_size=6, pools=(2, 2, 2, 2), dim=5, rate=0.05):
    layers = []
    for number, pool in enumerate(pools, start=1):
        conv = {
            "filters": number * filters, "kernel_size": [kernel_size if number == 1 else 3], "strides": [1], "padding": "same",
            "dilation_rate": [1], "activation": "relu", "use_bias": True, "data_format": "channels_last",
        }  # fmt: skip
        norm = {"axis": -1, "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
        layers += [
            layer("Conv1D", f"conv1d_{number}", **conv),
            layer("BatchNormalization", f"batch_normalization_{number}", **norm),
            layer("SpatialDropout1D", f"spatial_dropout1d_{number}", rate=rate, noise_shape=None, seed=None),
            layer("MaxPooling1D", f"max_pooling1d_{number}", strides=[pool], pool_size=[pool], padding="valid"),
        ]
    return [*layers, layer("GlobalMaxPooling1D", "global_max_pooling1d_1"), dense("dense_1", dim, "linear")]


def random_weights(layers, rng, inputs=1):
    """Returns weights by the name of the variable, in the order of the layers."""
    weights = {}
    for each in layers:
        name, config = each["config"]["name"], each["config"]
        if each["class_name"] == "Conv1D":
            weights[f"{name}/kernel:0"] = rng.normal(size=(*config["kernel_size"], inputs, config["filters"]))
            weights[f"{name}/bias:0"] = rng.normal(size=config["filters"])
            inputs = config["filters"]
        elif each["class_name"] == "BatchNormalization":
            for kind in ("gamma", "beta", "moving_mean"):
                weights[f"{name}/{kind}:0"] = rng.normal(size=inputs)
            weights[f"{name}/moving_variance:0"] = rng.uniform(0.5, 2.0, size=inputs)
        elif each["class_name"] == "Dense":
            weights[f"{name}/kernel:0"] = rng.normal(size=(inputs, config["units"]))
            weights[f"{name}/bias:0"] = rng.normal(size=config["units"])
            inputs = config["units"]
    return {name: array.astype(np.float32) for name, array in weights.items()}


def sequential(layers):
    return {"class_name": "Sequential", "config": layers}


def siamese(layers):
    """Returns the config of Lambda and Dense over the difference of two embeddings; the Lambda's code is rubbish."""
    code = {"function": ["4wEAAAABAAAAAwAAAFMAAABzDg==", None, None], "function_type": "lambda", "arguments": {}}
    inner = [
        *({"name": f"input_{n}", **layer("InputLayer", f"input_{n}", batch_input_shape=[None, 48, 1])} for n in (1, 2)),
        {"name": "sequential_1", **sequential(layers), "inbound_nodes": [[["input_1", 0, 0, {}]], [["input_2", 0, 0, {}]]]},
        {"name": "subtract_1", **layer("Subtract", "subtract_1")},
        {"name": "lambda_1", **layer("Lambda", "lambda_1", **code)},
        {"name": "dense_2", **dense("dense_2", 1, "sigmoid")},
    ]
    return {"class_name": "Model", "config": {"name": "model_1", "layers": inner, "output_layers": [["dense_2", 0, 0]]}}


def trainable_first(weights):
    """Returns the weights in the order of a network inside a network: statistics last."""
    return dict(sorted(weights.items(), key=lambda item: "moving" in item[0]))


def write(h5py, path, config, groups, *, as_text=np.bytes_, **attributes):
    """Writes a file with the groups {layer: {variable: array}}; `as_text` stores an attribute as bytes (2.2) or as a string."""
    attributes = {"keras_version": "2.2.2", "backend": "tensorflow", "model_config": json.dumps(config), **attributes}
    with h5py.File(path, "w") as file:
        file.attrs.update({name: as_text(value) for name, value in attributes.items()})
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([name.encode() for name in groups])
        for name, weights in groups.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = np.array([variable.encode() for variable in weights], dtype="S" if weights else float)
            for variable, array in weights.items():
                group[variable] = array


def write_siamese(h5py, path, rng, *, weighted=False, **sizes):
    """Writes a siamese network and returns the weights of encoder and head."""
    layers = encoder_layers(**sizes)
    weights = random_weights(layers, rng)
    dim = layers[-1]["config"]["units"] if weighted else 1
    head = random_weights([dense("dense_2", 1, "sigmoid")], rng, inputs=dim)
    groups = {"input_1": {}, "sequential_1": trainable_first(weights), "subtract_1": {}, "lambda_1": {}, "dense_2": head}
    write(h5py, path, siamese(layers), groups)
    return weights, head


def write_classifier(h5py, path, rng, num_speakers=4, **sizes):
    """Writes a classifier, one network without another inside, and returns its weights."""
    layers = [*encoder_layers(**sizes), dense("dense_2", num_speakers, "softmax")]
    weights = random_weights(layers, rng)
    names = [each["config"]["name"] for each in layers]
    groups = {name: {key: array for key, array in weights.items() if key.startswith(name + "/")} for name in names}
    write(h5py, path, sequential(layers), groups)
    return weights


def embedding(weights, samples_W, pools=(2, 2, 2, 2)):
    """Returns the embedding of whitened samples: Conv1D "same", ReLU, BN, MaxPooling1D "valid", GlobalMaxPooling1D, Dense."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    x_TC = ((samples_W - samples_W.mean()) * RMS / np.sqrt(np.mean(samples_W**2)))[:, None]
    for number, pool in enumerate(pools, start=1):
        kernel, norm = w[f"conv1d_{number}/kernel:0"], f"batch_normalization_{number}/"
        before = (len(kernel) - 1) // 2  # TensorFlow puts the odd zero behind
        padded = np.pad(x_TC, ((before, len(kernel) - 1 - before), (0, 0)))
        x_TC = np.stack([np.einsum("ki,kio->o", padded[t : t + len(kernel)], kernel) for t in range(len(x_TC))])
        x_TC = np.maximum(x_TC + w[f"conv1d_{number}/bias:0"], 0)
        x_TC = (x_TC - w[norm + "moving_mean:0"]) / np.sqrt(w[norm + "moving_variance:0"] + 0.001)
        x_TC = x_TC * w[norm + "gamma:0"] + w[norm + "beta:0"]
        x_TC = x_TC[: len(x_TC) // pool * pool].reshape(-1, pool, x_TC.shape[1]).max(axis=1)
    return x_TC.max(axis=0) @ w["dense_1/kernel:0"] + w["dense_1/bias:0"]
