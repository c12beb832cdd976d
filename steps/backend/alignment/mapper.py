"""The maps from an embedding space to a shared one: their training form (torch) and what is kept of them (numpy).

With x of unit length, g(x) = unit( [x P] + [BN(ReLU(x A + a)) B] + c ): "linear" has P and c, "mlp" A, a, BN, B and c, "residual"
all of them, "identity" is x. P is learnt also where both spaces have the same dimensions: those of two models that were trained
apart have nothing to do with each other. Suffixes: N items, D and E dimensions of the input and of the shared space, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, normalize

from steps.backend.alignment.settings import MAPPERS
from steps.backend.estimator import checked_embeddings, require_fitted, unit_rows

_BN_EPS = 1e-5
_BN_MOMENTUM = 0.1
_BUFFERS = ("norm_mean_H", "norm_variance_H")


class Mapper:
    """A map that is fixed: rows [N, D] to rows of unit length [N, E].

    Args:
        kind: "identity", "linear", "mlp" or "residual".

    Attributes:
        dim_: D. Others as their kind has them: `skip_DE_` (P), `hidden_weight_DH_` (A), `hidden_bias_H_` (a), `norm_mean_H_`,
            `norm_variance_H_`, `norm_gain_H_`, `norm_shift_H_`, `output_weight_HE_` (B), `output_bias_E_` (c).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def take(self, arrays: dict[str, np.ndarray], dim: int) -> Mapper:
        """Return self with these arrays (see `TrainableMapper.arrays`) for inputs of `dim` dimensions."""
        self.dim_ = dim
        for name, array in arrays.items():
            setattr(self, f"{name}_", array)  # single precision as it was trained; numpy applies it in double
        return self

    def transform(self, embeddings: npt.ArrayLike) -> np.ndarray:
        """Return the mapped embeddings [N, E], of unit length. The length of an input has no influence, as in cosine scoring.

        Raises:
            ValueError: not fitted, other dimensions, values that are not finite, or an embedding of zeros.
        """
        require_fitted(self, "dim_")
        unit_ND = unit_rows(checked_embeddings(embeddings, "embeddings", dim=self.dim_), "embeddings")
        if self.kind == "identity":
            return unit_ND
        mapped_NE = np.tile(self.output_bias_E_, (len(unit_ND), 1))
        if hasattr(self, "skip_DE_"):
            mapped_NE += unit_ND @ self.skip_DE_
        if hasattr(self, "hidden_weight_DH_"):
            hidden_NH = np.maximum(unit_ND @ self.hidden_weight_DH_ + self.hidden_bias_H_, 0.0) - self.norm_mean_H_
            gain_H = self.norm_gain_H_ / np.sqrt(self.norm_variance_H_ + _BN_EPS)
            mapped_NE += (hidden_NH * gain_H + self.norm_shift_H_) @ self.output_weight_HE_
        return unit_rows(mapped_NE, "mapped embeddings")


class TrainableMapper:
    """A map while it is trained, in torch; its first weights come from a numpy generator, never from torch's own.

    Args:
        kind: "identity", "linear", "mlp" or "residual".
        sizes: (D, H, E).
        rng: draws the first weights, uniform within 1 / sqrt(number of inputs).
        dtype: of the arithmetic; float32 for speed, as networks are trained.
    """

    def __init__(
        self, kind: str, sizes: tuple[int, int, int], rng: np.random.Generator, dtype: torch.dtype = torch.float32
    ) -> None:
        if kind not in ("identity", *MAPPERS):
            raise ValueError(f"mapper: expected identity, {', '.join(MAPPERS)}, found {kind!r}")
        self.kind = kind
        self.tensors = {name: torch.from_numpy(array).to(dtype) for name, array in _first_arrays(kind, sizes, rng).items()}
        for tensor in self.parameters():
            tensor.requires_grad_(True)

    def parameters(self) -> Iterator[Tensor]:
        """The tensors that are trained."""
        return (tensor for name, tensor in self.tensors.items() if name not in _BUFFERS)

    def __call__(self, embedding_ND: Tensor, *, training: bool) -> Tensor:
        """Return the mapped embeddings, of unit length; training updates the running statistics of the batch norm."""
        unit_ND, t = normalize(embedding_ND, dim=-1), self.tensors
        if self.kind == "identity":
            return unit_ND
        mapped_NE = t["output_bias_E"].expand(len(unit_ND), -1)
        if "skip_DE" in t:
            mapped_NE = mapped_NE + unit_ND @ t["skip_DE"]
        if "hidden_weight_DH" in t:
            hidden_NH = torch.relu(torch.addmm(t["hidden_bias_H"], unit_ND, t["hidden_weight_DH"]))
            hidden_NH = batch_norm(
                hidden_NH, t["norm_mean_H"], t["norm_variance_H"], t["norm_gain_H"], t["norm_shift_H"], training,
                _BN_MOMENTUM, _BN_EPS,
            )  # fmt: skip
            mapped_NE = mapped_NE + hidden_NH @ t["output_weight_HE"]
        return normalize(mapped_NE, dim=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of all tensors, by name, for `Mapper.take`."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.tensors.items()}


def _first_arrays(kind: str, sizes: tuple[int, int, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    dim, hidden, out = sizes

    def uniform(num_inputs: int, *shape: int) -> np.ndarray:
        return rng.uniform(-1.0, 1.0, shape) / np.sqrt(num_inputs)

    arrays: dict[str, np.ndarray] = {}
    if kind in ("linear", "residual"):
        arrays["skip_DE"] = uniform(dim, dim, out)
    if kind in ("mlp", "residual"):
        arrays |= {"hidden_weight_DH": uniform(dim, dim, hidden), "hidden_bias_H": uniform(dim, hidden)}
        arrays |= {"norm_mean_H": np.zeros(hidden), "norm_variance_H": np.ones(hidden)}
        arrays |= {"norm_gain_H": np.ones(hidden), "norm_shift_H": np.zeros(hidden)}
        arrays["output_weight_HE"] = uniform(hidden, hidden, out)
    if kind != "identity":
        arrays["output_bias_E"] = uniform(dim, out)
    return arrays
