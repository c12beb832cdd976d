"""Fitted estimators on disk: constructor settings as JSON, what they learnt as arrays, no pickle."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from steps.core.errors import RecipeError
from steps.data.archive import load_arrays, load_metadata, save_arrays

_PLAIN = (bool, int, float, str, type(None))


def save_estimators(path: Path, estimators: Mapping[str, Any]) -> None:
    """Write named estimators that keep scikit-learn's rules; the same estimators give the same bytes.

    Settings are the arguments of the constructor, read from the attributes of the same names; what was learnt are the
    attributes that end in an underscore. Either holds numbers, texts, numpy arrays, estimators, or lists of these.

    Raises:
        ValueError: a value of another kind.
    """
    arrays: dict[str, np.ndarray] = {}
    described = [[name, _describe(estimator, name, arrays)] for name, estimator in estimators.items()]
    save_arrays(path, arrays, {"estimators": json.dumps(described, sort_keys=True)})


def load_estimators(path: Path, classes: Mapping[str, type]) -> dict[str, Any]:
    """Return the estimators that `save_estimators` wrote, in their order.

    Args:
        path: the file.
        classes: class name -> class; no other class is made.

    Raises:
        RecipeError: missing or damaged file, or a class that is not in `classes`.
    """
    metadata = load_metadata(path)
    if "estimators" not in metadata:
        raise RecipeError(f"{path}: holds no estimators; expected a file that save_estimators wrote; rerun the stage")
    arrays = load_arrays(path)
    return {name: _restore(value, classes, arrays, path) for name, value in json.loads(metadata["estimators"])}


def _describe(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as JSON; its arrays go into `arrays`, under the place where they were found."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray):
        arrays[where] = value
        return {"array": where}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_describe(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]}
    if not hasattr(value, "fit"):
        raise ValueError(f"{where}: cannot save a {type(value).__name__}; expected numbers, texts, arrays or estimators")
    names = [name for name in inspect.signature(type(value)).parameters]
    state = sorted(name for name in vars(value) if name.endswith("_") and not name.startswith("_"))
    return {
        "class": type(value).__name__,
        "settings": {name: _describe(getattr(value, name), f"{where}.{name}", arrays) for name in names},
        "state": {name: _describe(getattr(value, name), f"{where}.{name}", arrays) for name in state},
    }


def _restore(value: Any, classes: Mapping[str, type], arrays: Mapping[str, np.ndarray], path: Path) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    for kind in (list, tuple):
        if kind.__name__ in value:
            return kind(_restore(item, classes, arrays, path) for item in value[kind.__name__])
    if value["class"] not in classes:
        raise RecipeError(
            f"{path}: holds an estimator of the class '{value['class']}', expected one of {sorted(classes)}; "
            "it was written by another version: run the stage that writes it again"
        )
    settings = {name: _restore(item, classes, arrays, path) for name, item in value["settings"].items()}
    estimator = classes[value["class"]](**settings)
    for name, item in value["state"].items():
        setattr(estimator, name, _restore(item, classes, arrays, path))
    return estimator
