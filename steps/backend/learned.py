"""A small network that compares two embeddings: the "b-vector" back end of RawNet.

Input of a pair (e, t) of standardised embeddings: e + t, e - t and e * t, one after the other; then dense layers with leaky
ReLU and dropout, and a softmax over "different" and "same". The score is the log odds of "same".

Differences from the published program: the score is exactly symmetric in its two sides (see `difference`); features of a pair
can be appended; where speakers are set apart, the best epoch is found on them alone (the program finds it on speakers that
are also trained on). The initial weights are He's unless asked otherwise: the published uniform ones suit a width of 1024 only.

Source: Jee-weon Jung et al., "RawNet: advanced end-to-end deep neural network using raw waveforms for text-independent speaker
    verification", Interspeech 2019; the authors' Keras program (02-trn_bvec.py, model_bvec.py, 02-trn_bvec.yaml).

Suffixes: N items, P trials, D dimensions, S speakers, B batches, L pairs of a batch, Q features of a pair, E epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from steps.backend.estimator import checked_embeddings, checked_index, require_fitted, speaker_codes
from steps.backend.pair_sampling import PairSampler
from steps.backend.windows import Windows

if TYPE_CHECKING:
    import torch

CHUNK_TRIALS = 4096  # scored at a time
VALIDATION_BATCHES = 20  # batches of pairs of the speakers set apart
MAX_DRAWN = 1 << 20  # pairs of an epoch for which features are asked at a time

PairFeatures = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (index [P], index [P]) -> features [P, Q]
Criterion = Callable[[np.ndarray, np.ndarray], float]  # (scores of targets, of non-targets) -> cost; lower is better


class LearnedScorer:
    """Log odds that two embeddings are of one speaker, by a network trained on pairs.

    It should be trained on speakers that the embedding network has not been trained on: of those it knows, embeddings are
    closer together than of others. Fitted attributes, float32 where the network uses them: `mean_D_`, `std_D_`, `weight_<i>_`
    [in, out] and `bias_<i>_` of each dense layer, `feature_mean_Q_` and `feature_std_Q_` where features of pairs are used;
    `losses_E_` (mean training loss of each epoch), `validation_E_` and `best_epoch_` (from 0) where speakers are set apart.

    Fitting is decided by the seed (and, in the last bits, by the number of threads); torch's own random numbers and threads
    stay as they are. Training and scoring are in float32, for speed.

    Args:
        width: units of each hidden layer.
        num_layers: hidden layers.
        dropout: probability, after each hidden layer.
        input_dropout: probability, of each side's standardised embedding.
        slope: of the leaky ReLU below 0 (Keras: 0.3).
        difference: "absolute": |e - t| instead of e - t; "both_orders": e - t as published, trained on pairs in random order,
            the score is the mean of both orders.
        num_epochs: how many.
        batches_per_epoch: batches in each.
        num_pairs: target pairs in a batch, and as many non-target pairs.
        learning_rate: of Adam (amsgrad).
        learning_rate_decay: after n batches the rate is learning_rate / (1 + decay * n).
        weight_decay: times the sum of squares of the dense layers' weights is added to the loss (Keras' l2, so the gradient is
            twice this times the weight).
        initial: "he" (normal, variance 2 / ((1 + slope^2) inputs)) or "published" (uniform from -0.05 to 0.05). Offsets: 0.
        validation_share: share of the speakers with two items or more that are set apart to choose the epoch; 0: the last.
        criterion: of the scores of pairs set apart; None: cross-entropy.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        *,
        width: int = 1024,
        num_layers: int = 4,
        dropout: float = 0.5,
        input_dropout: float = 0.2,
        slope: float = 0.3,
        difference: str = "absolute",
        num_epochs: int = 10,
        batches_per_epoch: int = 1000,
        num_pairs: int = 60,
        learning_rate: float = 1e-3,
        learning_rate_decay: float = 1e-4,
        weight_decay: float = 5e-5,
        initial: str = "he",
        validation_share: float = 0.0,
        criterion: Criterion | None = None,
        seed: int = 1,
    ) -> None:
        self.width = width
        self.num_layers = num_layers
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.slope = slope
        self.difference = difference
        self.num_epochs = num_epochs
        self.batches_per_epoch = batches_per_epoch
        self.num_pairs = num_pairs
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
        self.weight_decay = weight_decay
        self.initial = initial
        self.validation_share = validation_share
        self.criterion = criterion
        self.seed = seed

    def fit(
        self,
        embeddings: npt.ArrayLike | Windows,
        speakers: Sequence[Any] | np.ndarray,
        *,
        pair_features: PairFeatures | None = None,
        groups: Sequence[Any] | np.ndarray | None = None,
    ) -> Self:
        """Return self, trained on pairs of embeddings [N, D] with one speaker each.

        Args:
            embeddings: items; of `Windows` the mean of each item.
            speakers: of each item.
            pair_features: more numbers about pairs of these items, asked for each epoch's pairs at once; the same for a pair
                and its reverse.
            groups: of each item, such as its gender or corpus: non-target pairs are drawn within groups.

        Raises:
            ValueError: settings out of range, too few speakers, features that are not symmetric, or a loss that is not finite.
        """
        self._check()
        for name in [name for name in vars(self) if name.endswith("_")]:  # of an earlier fit, which may have had features
            delattr(self, name)
        x_ND = _rows(embeddings)
        _, code_N = speaker_codes(speakers, len(x_ND))
        group_N = None if groups is None else speaker_codes(groups, len(x_ND))[1]
        rng = np.random.default_rng(self.seed)
        train_N, apart_N = self._split(code_N, rng)
        std_D = x_ND[train_N].std(axis=0)
        self.mean_D_, self.std_D_ = x_ND[train_N].mean(axis=0), np.where(np.ptp(x_ND[train_N], axis=0) > 0, std_D, 1.0)
        apart = None
        if apart_N.size:
            sampler = _sampler(code_N, group_N, apart_N)
            drawn = [sampler.draw(rng, self.num_pairs) for _ in range(VALIDATION_BATCHES)]
            apart = tuple(apart_N[np.stack(side)] for side in zip(*drawn, strict=True))
        self._train(x_ND, train_N, _sampler(code_N, group_N, train_N), apart, pair_features, rng)
        return self

    def score_trials(
        self,
        embeddings: npt.ArrayLike | Windows,
        enrol_index: npt.ArrayLike,
        test_index: npt.ArrayLike,
        features: npt.ArrayLike | None = None,
    ) -> np.ndarray:
        """Return the log odds [P] that embeddings `enrol_index[p]` and `test_index[p]` are of one speaker; in chunks.

        Args:
            embeddings: [N, D].
            enrol_index: [P].
            test_index: [P].
            features: of each trial, [P, Q], where it was trained with such.

        Raises:
            ValueError: not fitted, an index out of range, lists of different length, another D or Q than in training.
        """
        require_fitted(self, "weight_0_")
        x_ND = checked_embeddings(_rows(embeddings), "embeddings", dim=self.mean_D_.size)
        enrol_P, test_P = checked_index(enrol_index, len(x_ND), "enrol_index"), checked_index(test_index, len(x_ND), "test_index")
        if enrol_P.size != test_P.size:
            raise ValueError(f"test_index: expected {enrol_P.size} trials as in enrol_index, found {test_P.size}")
        features_PQ = self._features(features, enrol_P.size)
        z_ND = self._standardised(x_ND)
        scores_P = np.empty(enrol_P.size)
        for start in range(0, enrol_P.size, CHUNK_TRIALS):
            chunk = slice(start, start + CHUNK_TRIALS)
            extra = None if features_PQ is None else features_PQ[chunk]
            scores_P[chunk] = self._log_odds(z_ND[enrol_P[chunk]], z_ND[test_P[chunk]], extra)
        return scores_P

    def score_matrix(self, enrol: npt.ArrayLike, test: npt.ArrayLike) -> np.ndarray:
        """Return the score of every row of `enrol` [M, D] with every row of `test` [N, D], as [M, N]; without features.

        Raises:
            ValueError: as `score_trials`.
        """
        enrol_MD, test_ND = checked_embeddings(enrol, "enrolment embeddings"), checked_embeddings(test, "test embeddings")
        if enrol_MD.shape[1] != test_ND.shape[1]:
            raise ValueError(f"test embeddings: expected {enrol_MD.shape[1]} dimensions, found {test_ND.shape[1]}")
        both, test_N = np.concatenate([enrol_MD, test_ND]), len(enrol_MD) + np.arange(len(test_ND))
        return np.stack([self.score_trials(both, np.full(test_N.size, row), test_N) for row in range(len(enrol_MD))])

    def _check(self) -> None:
        counts = ("width", "num_layers", "num_epochs", "batches_per_epoch", "num_pairs")
        expected = [(name, getattr(self, name) >= 1, "at least 1") for name in counts]
        expected += [
            (name, 0 <= getattr(self, name) < 1, "0 to below 1") for name in ("dropout", "input_dropout", "validation_share")
        ]
        expected += [(name, getattr(self, name) >= 0, "at least 0") for name in ("slope", "learning_rate_decay", "weight_decay")]
        expected += [
            ("learning_rate", self.learning_rate > 0, "more than 0"),
            ("difference", self.difference in ("absolute", "both_orders"), "'absolute' or 'both_orders'"),
            ("initial", self.initial in ("he", "published"), "'he' or 'published'"),
        ]
        for name, good, words in expected:
            if not good:
                raise ValueError(f"{name}: expected {words}, found {getattr(self, name)!r}")

    def _split(self, code_N: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The items to train on, and those of the speakers set apart."""
        num_S = np.bincount(code_N)
        able = rng.permutation(np.flatnonzero(num_S >= 2))
        num_apart = int(np.ceil(self.validation_share * able.size))
        if num_apart and (num_apart < 2 or able.size - num_apart < 2):
            raise ValueError(
                f"validation_share: expected to set apart and to keep two speakers or more with two embeddings, found "
                f"{num_apart} and {able.size - num_apart}; set 0 for none, or train on more speakers"
            )
        apart_N = np.isin(code_N, able[:num_apart])
        return np.flatnonzero(~apart_N), np.flatnonzero(apart_N)

    def _train(self, x_ND, train_N, sampler, apart, pair_features, rng) -> None:
        import torch

        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        z_ND = self._standardised(x_ND)
        parameters: list[torch.Tensor] | None = None
        losses, costs, step, best = [], [], 0, None
        for epoch in range(self.num_epochs):
            drawn = [sampler.draw(rng, self.num_pairs) for _ in range(self.batches_per_epoch)]
            pairs = tuple(train_N[np.stack(side)] for side in zip(*drawn, strict=True))
            features = self._pair_features(pair_features, pairs, first=parameters is None)
            if parameters is None:
                num_features = 0 if features is None else features.shape[-1]
                parameters = self._initial(3 * x_ND.shape[1] + num_features, rng)
                optimizer = self._optimizer(parameters)
            total = 0.0
            for enrol, test, extra in _batches(z_ND, pairs, features):
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate / (1.0 + self.learning_rate_decay * step)
                total += self._step(parameters, optimizer, enrol, test, extra, generator)
                step += 1
            losses.append(total / self.batches_per_epoch)
            if not np.isfinite(losses[-1]):
                raise ValueError(f"training: the loss of epoch {epoch + 1} is {losses[-1]}; set a lower learning_rate")
            self._keep(parameters)
            if apart is not None:
                costs.append(self._validate(z_ND, apart, pair_features))
                if best is None or costs[-1] < min(costs[:-1]):
                    best = (epoch, [parameter.detach().clone() for parameter in parameters])
        self.losses_E_ = np.array(losses)
        if best is not None:
            self.best_epoch_, self.validation_E_ = best[0], np.array(costs)
            self._keep(best[1])

    def _step(self, parameters, optimizer, enrol, test, extra, generator) -> float:
        """One step of the optimizer on a batch, of which the first half are target pairs; its loss."""
        import torch
        from torch.nn.functional import cross_entropy, leaky_relu, linear

        def dropped(x_LD: torch.Tensor, probability: float) -> torch.Tensor:
            if probability == 0:
                return x_LD
            kept = torch.empty_like(x_LD).bernoulli_(1.0 - probability, generator=generator)
            return x_LD * kept / (1.0 - probability)

        with torch.enable_grad():
            sides = [dropped(torch.from_numpy(side), self.input_dropout) for side in (enrol, test)]
            x = torch.cat([*_combined(*sides, self.difference), *([] if extra is None else [torch.from_numpy(extra)])], dim=1)
            for layer in range(self.num_layers):
                x = leaky_relu(linear(x, parameters[2 * layer].T, parameters[2 * layer + 1]), self.slope)
                x = dropped(x, self.dropout)
            logits = linear(x, parameters[-2].T, parameters[-1])
            truth = torch.arange(len(logits)) < len(logits) // 2
            loss = cross_entropy(logits, truth.long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    def _initial(self, num_inputs: int, rng: np.random.Generator) -> list[torch.Tensor]:
        import torch

        sizes = [num_inputs, *[self.width] * self.num_layers, 2]
        parameters = []
        for num_in, num_out in zip(sizes[:-1], sizes[1:], strict=True):
            if self.initial == "he":
                weight = rng.normal(0.0, np.sqrt(2.0 / ((1.0 + self.slope**2) * num_in)), (num_in, num_out))
            else:
                weight = rng.uniform(-0.05, 0.05, (num_in, num_out))
            parameters += [torch.tensor(weight, dtype=torch.float32), torch.zeros(num_out)]
        return [parameter.requires_grad_() for parameter in parameters]

    def _optimizer(self, parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
        import torch

        groups = [
            {"params": parameters[0::2], "weight_decay": 2.0 * self.weight_decay},  # the gradient of w^2 is 2 w
            {"params": parameters[1::2], "weight_decay": 0.0},
        ]
        return torch.optim.Adam(groups, lr=self.learning_rate, eps=1e-7, amsgrad=True)  # eps: Keras

    def _keep(self, parameters: list[torch.Tensor]) -> None:
        for index, parameter in enumerate(parameters):
            name = ("weight", "bias")[index % 2]
            setattr(self, f"{name}_{index // 2}_", parameter.detach().numpy().copy())

    def _validate(self, z_ND: np.ndarray, pairs: tuple[np.ndarray, ...], pair_features: PairFeatures | None) -> float:
        features = self._pair_features(pair_features, pairs, first=False)
        scores = np.stack([self._log_odds(*batch) for batch in _batches(z_ND, pairs, features)])
        target, nontarget = (half.ravel() for half in np.split(scores, 2, axis=1))
        if self.criterion is not None:
            return float(self.criterion(target, nontarget))
        return float(np.logaddexp(0.0, -target).mean() + np.logaddexp(0.0, nontarget).mean()) / 2

    def _pair_features(self, ask: PairFeatures | None, pairs: tuple[np.ndarray, ...], *, first: bool) -> np.ndarray | None:
        """Standardised features of pairs [B, L], as [B, L, Q]; the first pairs give mean and deviation."""
        if ask is None:
            return None
        enrol, test = (side.ravel() for side in pairs)
        starts = range(0, enrol.size, MAX_DRAWN)
        raw_PQ = np.concatenate([np.asarray(ask(enrol[i : i + MAX_DRAWN], test[i : i + MAX_DRAWN]), float) for i in starts])
        checked_embeddings(raw_PQ, "pair_features")
        if first:
            num = min(enrol.size, 2 * self.num_pairs)
            if not np.allclose(ask(test[:num], enrol[:num]), raw_PQ[:num], rtol=1e-6, atol=1e-9):
                raise ValueError("pair_features: expected the same numbers for a pair and its reverse, found others")
            std_Q = raw_PQ.std(axis=0)
            self.feature_mean_Q_, self.feature_std_Q_ = raw_PQ.mean(axis=0), np.where(np.ptp(raw_PQ, axis=0) > 0, std_Q, 1.0)
        features = self._features(raw_PQ, enrol.size)
        assert features is not None
        return features.reshape(*pairs[0].shape, -1)

    def _features(self, features: npt.ArrayLike | None, num_trials: int) -> np.ndarray | None:
        """Features as the network gets them, float32 [P, Q]; None where it has none."""
        mean_Q = getattr(self, "feature_mean_Q_", None)
        if (features is None) != (mean_Q is None):
            raise ValueError(f"features: trained {'without' if mean_Q is None else 'with'} features of pairs, found the contrary")
        if features is None:
            return None
        features_PQ = checked_embeddings(features, "features", dim=mean_Q.size)
        if len(features_PQ) != num_trials:
            raise ValueError(f"features: expected a row for each of {num_trials} trials, found {len(features_PQ)}")
        return ((features_PQ - mean_Q) / self.feature_std_Q_).astype(np.float32)

    def _standardised(self, x_ND: np.ndarray) -> np.ndarray:
        return ((x_ND - self.mean_D_) / self.std_D_).astype(np.float32)

    def _log_odds(self, enrol: np.ndarray, test: np.ndarray, extra: np.ndarray | None) -> np.ndarray:
        """The log odds of standardised pairs; exactly the same for the reverse pairs."""
        if self.difference == "absolute":
            return self._forward(enrol, test, extra)
        return (self._forward(enrol, test, extra) + self._forward(test, enrol, extra)) / 2

    def _forward(self, enrol: np.ndarray, test: np.ndarray, extra: np.ndarray | None) -> np.ndarray:
        x = np.concatenate([*_combined(enrol, test, self.difference), *([] if extra is None else [extra])], axis=1)
        for layer in range(self.num_layers):
            x = x @ getattr(self, f"weight_{layer}_") + getattr(self, f"bias_{layer}_")
            x = np.where(x > 0, x, np.float32(self.slope) * x)
        logits = x @ getattr(self, f"weight_{self.num_layers}_") + getattr(self, f"bias_{self.num_layers}_")
        return logits[:, 1].astype(np.float64) - logits[:, 0]


def _combined(enrol, test, difference: str) -> tuple:
    """Sum, difference and product of the two sides, arrays or tensors."""
    apart = enrol - test
    return enrol + test, abs(apart) if difference == "absolute" else apart, enrol * test


def _batches(z_ND: np.ndarray, pairs: tuple[np.ndarray, ...], features: np.ndarray | None) -> Iterator[tuple]:
    """The two sides of each batch [L, D], and its features [L, Q] or None."""
    for index, (enrol, test) in enumerate(zip(*pairs, strict=True)):
        yield z_ND[enrol], z_ND[test], None if features is None else features[index]


def _rows(embeddings: npt.ArrayLike | Windows) -> np.ndarray:
    return checked_embeddings(embeddings.means() if isinstance(embeddings, Windows) else embeddings, "embeddings")


def _sampler(code_N: np.ndarray, group_N: np.ndarray | None, items_N: np.ndarray) -> PairSampler:
    """The sampler of some of the items; it numbers them from 0."""
    code = np.unique(code_N[items_N], return_inverse=True)[1]
    return PairSampler(code, None if group_N is None else group_N[items_N])
