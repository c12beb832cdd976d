"""voicemap networks in Keras' HDF5 files, read without Keras.

Nothing in the file is executed: the layers are told from its JSON (attribute `model_config`), the weights are arrays. Lambda
layers hold compiled code, which stays unread.

Layout, as Keras 2.2 writes it: attributes `model_config`, `keras_version`, `backend`; a group `model_weights/<layer>` for each
layer, whose attribute `weight_names` gives the arrays in it in order. A network inside a network is one layer.

Source: Keras 2.2, engine/saving.py; oscarknagg/voicemap, voicemap/models.py.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from steps.nnet.networks.voicemap import KERAS_EPSILON
from steps.nnet.settings import Voicemap

BLOCK = ("Conv1D", "BatchNormalization", "SpatialDropout1D", "MaxPooling1D")
ENCODER = (*BLOCK * 4, "GlobalMaxPooling1D", "Dense")
PAIR_LAYERS = ("InputLayer", "Sequential", "Subtract", "Lambda", "Dense")
# What the network takes for granted of each kind of layer; `None` in a list: the key may be missing.
EXPECTED: dict[str, dict[str, tuple]] = {
    "Conv1D": {
        "padding": ("same",), "activation": ("relu",), "strides": ([1],), "dilation_rate": ([1],), "use_bias": (True,),
        "data_format": ("channels_last", None),
    },
    "BatchNormalization": {"axis": (-1, 2, [2]), "epsilon": (KERAS_EPSILON,), "center": (True,), "scale": (True,)},
    "MaxPooling1D": {"padding": ("valid",), "data_format": ("channels_last", None)},
    "Dense": {"use_bias": (True,)},
}  # fmt: skip

Layer = Mapping[str, Any]  # class_name and config, of model_config


def read_keras(path: Any) -> tuple[Voicemap, dict[str, Tensor], dict[str, Any] | None]:
    """Returns settings, state dict of a VoicemapNet, and the head, from a file of Keras' `model.save`.

    The head is that of a siamese network, {"type": "euclidean" or "weighted_l1", "weights": [...], "bias": x}, x and the
    weights being those of the logit that two speakers differ; or of a classifier, {"type": "softmax", "weight_SD": tensor,
    "bias_S": tensor}; or None for a bare encoder. A siamese network's distance is told from the shape of its last layer: one
    weight, or one for each dimension.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no HDF5 file, or holds another network than voicemap's: says what was expected and found.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(
            f"{path}: expected a Keras model (HDF5), found a file of another kind, or a damaged one ({error})"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(file: h5py.File) -> tuple[Voicemap, dict[str, Tensor], dict[str, Any] | None]:
    model = _model_config(file)
    encoder, output, groups = _parts(model)
    settings = _settings(encoder)
    weights = Weights(_group(file, "model_weights", "the file"), groups)
    state = _state(settings, weights)
    if output is None:
        head = None
    elif model["class_name"] == "Sequential":
        head = _softmax(output, settings.embedding_dim, weights)
    else:
        head = _pair_head(settings.embedding_dim, Weights(file["model_weights"], [output["config"]["name"]]))
    weights.check_empty()
    return settings, state, head


def _model_config(file: h5py.File) -> Layer:
    """Returns the outermost network as class_name and config."""
    if "model_config" not in file.attrs:
        raise ValueError("expected a whole Keras model (model.save), found no model_config: maybe weights alone")
    backend = _text(file.attrs.get("backend", b"none"))
    if backend != "tensorflow":  # Theano stores kernels mirrored in time
        raise ValueError(f"expected a model of Keras' backend tensorflow, found {backend!r}")
    try:
        model = json.loads(_text(file.attrs["model_config"]))
        return {"class_name": model["class_name"], "config": model["config"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"expected a network as JSON in model_config, found something else ({error!r})") from None


def _parts(model: Layer) -> tuple[list[Layer], Layer | None, list[str]]:
    """Returns the layers of the encoder, the output layer behind it, and the names of the groups with the encoder's weights."""
    layers = _layers(model)
    if model["class_name"] == "Sequential":
        encoder, output = layers[: len(ENCODER)], layers[len(ENCODER) :]
        if len(output) > 1:
            raise ValueError(f"expected one Dense layer behind the encoder, found {[each['class_name'] for each in output]}")
        return encoder, output[0] if output else None, [_name(layer) for layer in layers]
    unknown = sorted({each["class_name"] for each in layers} - set(PAIR_LAYERS))
    inner = [each for each in layers if each["class_name"] == "Sequential"]
    output = [each for each in layers if each["class_name"] == "Dense"]
    if unknown or len(inner) != 1 or len(output) != 1:
        raise ValueError(
            "expected a siamese network of InputLayer, one Sequential, Subtract, Lambda and one Dense, found "
            f"{[each['class_name'] for each in layers]}"
        )
    _expect(output[0], {**EXPECTED["Dense"], "units": (1,), "activation": ("sigmoid",)})
    return _layers(inner[0]), output[0], [_name(inner[0])]


def _layers(network: Layer) -> list[Layer]:
    """Returns the layers of a network: a bare list up to Keras 2.2.2, later and in graphs under the key `layers`."""
    config = network["config"]
    layers = config.get("layers") if isinstance(config, dict) else config
    well_formed = isinstance(layers, list) and all(_is_layer(each) for each in layers)
    if not well_formed:
        raise ValueError(f"model_config: expected the layers of {network['class_name']!r}, found {str(layers)[:80]}")
    if network["class_name"] == "Sequential":
        return [each for each in layers if each["class_name"] != "InputLayer"]
    return layers


def _is_layer(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        return False
    return isinstance(value.get("config"), dict) or value["class_name"] == "Sequential"


def _name(layer: Layer) -> str:
    """Returns the name of a layer; that of a network stands beside its config up to Keras 2.2.2."""
    config = layer["config"]
    name = config.get("name") if isinstance(config, dict) else None
    return str(layer.get("name") or name)


def _settings(layers: Sequence[Layer]) -> Voicemap:
    """Returns the settings that these layers ask for. Raises ValueError where VoicemapNet has no such layers."""
    kinds = tuple(each["class_name"] for each in layers)
    for place, expected in enumerate(ENCODER):
        found = kinds[place] if place < len(kinds) else "the end"
        if found != expected:
            raise ValueError(f"layer {place + 1} of the encoder: expected {expected}, found {found}")
    if len(kinds) > len(ENCODER):
        raise ValueError(f"expected the encoder to end with Dense, found {kinds[len(ENCODER) :]} behind it")
    for layer in layers:
        _expect(layer, EXPECTED.get(layer["class_name"], {}))
    config = [each["config"] for each in layers]
    convolutions, dropouts, pools = (config[first:16:4] for first in (0, 2, 3))
    try:
        settings = Voicemap(
            filters=int(convolutions[0]["filters"]),
            kernel_size=int(convolutions[0]["kernel_size"][0]),
            pool_sizes=tuple(int(pool["pool_size"][0]) for pool in pools),
            embedding_dim=int(config[-1]["units"]),
            dropout=float(dropouts[0]["rate"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"model_config: expected filters, kernel_size, pool_size, rate and units, found none ({error!r})"
        ) from None
    _expect(layers[-1], {"activation": ("linear",)})
    for number in range(4):
        width = settings.kernel_size if number == 0 else 3
        _expect(layers[4 * number], {"filters": ((number + 1) * settings.filters,), "kernel_size": ([width],)})
        _expect(layers[4 * number + 2], {"rate": (settings.dropout,)})
        _expect(layers[4 * number + 3], {"strides": ([settings.pool_sizes[number]],)})
    return settings


def _expect(layer: Layer, expected: Mapping[str, tuple]) -> None:
    for key, allowed in expected.items():
        found = layer["config"].get(key)
        if found not in allowed:
            choices = " or ".join(str(each) for each in allowed if each is not None)
            raise ValueError(f"layer {_name(layer)} ({layer['class_name']}): expected {key} = {choices}, found {found!r}")


class Weights:
    """The arrays of some layers in the order of the file, by what they are: kernel, bias, gamma, ...

    Keras fills a network from a file by order, not by name: names differ between files of one network. Within one kind the
    order is that of the layers, whether a nested network lists its statistics last or not.
    """

    def __init__(self, root: h5py.Group, layers: Sequence[str]) -> None:
        self.left: dict[str, list[tuple[str, np.ndarray]]] = {}
        for layer in layers:
            group = _group(root, layer, "model_weights")
            if "weight_names" not in group.attrs:
                raise ValueError(f"model_weights/{layer}: expected the attribute weight_names, found none")
            for name in map(_text, group.attrs["weight_names"]):
                if not isinstance(group.get(name), h5py.Dataset):
                    raise ValueError(f"model_weights/{layer}: expected the array {name}, found none")
                kind = name.rpartition("/")[2].partition(":")[0]
                self.left.setdefault(kind, []).append((name, np.asarray(group[name])))

    def take(self, kind: str, *shape: int | None) -> Tensor:
        """Returns the next array of a kind as float32. Raises ValueError if there is none or it has another shape."""
        if not self.left.get(kind):
            raise ValueError(f"weights: expected one more {kind} of shape {shape}, found none")
        name, array = self.left[kind].pop(0)
        fits = array.ndim == len(shape) and all(b in (a, None) for a, b in zip(array.shape, shape, strict=True))
        if not fits or array.dtype.kind != "f":
            raise ValueError(f"weights {name}: expected floats of shape {shape}, found {array.dtype} of shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"weights {name}: expected finite numbers, found NaN or infinity")
        return torch.from_numpy(array.astype(np.float32))

    def check_empty(self) -> None:
        """Raises ValueError if there are more arrays than the network has."""
        names = [name for arrays in self.left.values() for name, _ in arrays]
        if names:
            raise ValueError(f"weights: expected none but those of the layers, found {names[:5]} too")


def _state(settings: Voicemap, weights: Weights) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    inputs = 1
    for number in range(4):
        outputs, width = (number + 1) * settings.filters, settings.kernel_size if number == 0 else 3
        block = f"blocks.{number}"
        state[f"{block}.conv.weight"] = weights.take("kernel", width, inputs, outputs).permute(2, 1, 0).contiguous()
        state[f"{block}.conv.bias"] = weights.take("bias", outputs)
        for ours, theirs in (
            ("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"), ("running_var", "moving_variance"),
        ):  # fmt: skip
            state[f"{block}.norm.{ours}"] = weights.take(theirs, outputs)
        state[f"{block}.norm.num_batches_tracked"] = torch.tensor(0)
        inputs = outputs
    state["embedding.weight"] = weights.take("kernel", inputs, settings.embedding_dim).T.contiguous()
    state["embedding.bias"] = weights.take("bias", settings.embedding_dim)
    return state


def _softmax(layer: Layer, dim: int, weights: Weights) -> dict[str, Any]:
    if layer["class_name"] != "Dense":
        raise ValueError(f"expected a Dense layer with softmax behind the encoder, found {layer['class_name']}")
    kernel_DS = weights.take("kernel", dim, None)
    _expect(layer, {**EXPECTED["Dense"], "activation": ("softmax",), "units": (kernel_DS.shape[1],)})
    bias_S = weights.take("bias", kernel_DS.shape[1])
    return {"type": "softmax", "weight_SD": kernel_DS.T.contiguous(), "bias_S": bias_S}


def _pair_head(dim: int, weights: Weights) -> dict[str, Any]:
    kernel_D1, bias_1 = weights.take("kernel", None, 1), weights.take("bias", 1)
    weights.check_empty()
    if len(kernel_D1) not in (1, dim):
        raise ValueError(f"output layer: expected 1 weight (Euclidean distance) or {dim} (weighted L1), found {len(kernel_D1)}")
    kind = "euclidean" if len(kernel_D1) == 1 else "weighted_l1"
    return {"type": kind, "weights": kernel_D1.double().flatten().tolist(), "bias": float(bias_1)}


def _group(parent: h5py.Group, name: str, where: str) -> h5py.Group:
    group = parent.get(name)
    if not isinstance(group, h5py.Group):
        raise ValueError(f"{where}: expected the group {name}, found {sorted(parent)[:10]}")
    return group


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
