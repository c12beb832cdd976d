"""Learning rate and margin as pure functions of where training stands: nothing to save, nothing to restore."""

import math
from collections.abc import Sequence

DECAYS = ("exponential", "cosine", "constant", "inverse")
DECAY_STARTS = ("after_warmup", "first_update")
GROWTHS = ("linear", "exponential")
# What an exponential margin ramp still lacks, as a share, when its time is over. Source: wespeaker, utils/schedulers.py
RAMP_REMAINDER = 1e-3


def learning_rate(
    step: int,
    *,
    peak: float,
    final: float,
    num_steps: int,
    warmup_steps: int = 0,
    decay: str = "exponential",
    decay_start: str = "after_warmup",
    inverse_decay: float = 0.0,
) -> float:
    """Returns the learning rate of update `step`, counted from 0.

    It rises linearly to `peak`, which update `warmup_steps - 1` has, then goes from `peak` (update `warmup_steps`) to
    `final` (update `num_steps - 1`): by a constant factor, along half a cosine, or not at all. Later updates get
    `final` too. "inverse" is peak / (1 + inverse_decay * step), the `decay` of Keras' optimisers.

    With `decay_start` "first_update" the decay runs from `peak` (update 0) to `final` (update `num_steps`, one past the
    end), and the warm-up multiplies it by a share that rises linearly from 0 (update 0) to 1 (update `warmup_steps`): the
    rate is highest where the warm-up ends, and below `peak`.

    Source of "first_update": wespeaker, utils/schedulers.py, ExponentialDecrease with warm_from_zero.

    Raises:
        ValueError: unknown decay or start of it; rates not above 0 (cosine: final below 0); warm-up longer than training; a
            final rate with a decay that does not use it.
    """
    _check_learning_rate(peak, final, num_steps, warmup_steps, decay, decay_start)
    if decay_start == "first_update":
        risen = min(step / warmup_steps, 1.0) if warmup_steps else 1.0
        return risen * _between(peak, final, min(step / num_steps, 1.0), decay)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if decay == "inverse":
        return peak / (1.0 + inverse_decay * step)
    return _between(peak, final, min((step - warmup_steps) / max(num_steps - 1 - warmup_steps, 1), 1.0), decay)


def _between(peak: float, final: float, share: float, decay: str) -> float:
    """The rate where this share of the decay is done."""
    if decay == "exponential":
        return peak * (final / peak) ** share
    if decay == "cosine":
        return final + (peak - final) * 0.5 * (1.0 + math.cos(math.pi * share))
    return peak


def stepwise_factor(epoch: float, epochs: Sequence[float], factors: Sequence[float]) -> float:
    """Returns the factor that holds once `epoch` epochs are done: that of the last of `epochs` reached, 1 before the first."""
    reached = [factor for start, factor in zip(epochs, factors, strict=True) if epoch >= start]
    return reached[-1] if reached else 1.0


def plateau_factor(figures: Sequence[float], *, factor: float, patience: int, delta: float) -> float:
    """Returns the factor on the learning rate after epochs with these figures (lower is better).

    Each time `patience` epochs in a row have not lowered the best figure by more than `delta`, the rate is multiplied by
    `factor` and the count starts anew.

    Source: Keras 2.2, callbacks.ReduceLROnPlateau without cooldown.
    """
    best, waited, product = float("inf"), 0, 1.0
    for figure in figures:
        if figure < best - delta:
            best, waited = figure, 0
            continue
        waited += 1
        if waited >= patience:
            product, waited = product * factor, 0
    return product


def margin(epoch: float, *, initial: float, final: float, start_epoch: float, end_epoch: float, growth: str = "linear") -> float:
    """Returns the margin at `epoch`, a real number: step / steps per epoch.

    `initial` until `start_epoch`, `final` from `end_epoch` on. Between them it grows linearly, or "exponential": the
    part still lacking shrinks by a constant factor, to a thousandth at the end, so that most growth comes early.

    Raises:
        ValueError: unknown growth, or the ramp ends before it starts.
    """
    if growth not in GROWTHS:
        raise ValueError(f"margin growth: expected one of {GROWTHS}, found {growth!r}")
    if end_epoch < start_epoch:
        raise ValueError(f"margin ramp: expected its end at or after epoch {start_epoch}, found {end_epoch}")
    if epoch >= end_epoch:
        return final
    if epoch <= start_epoch:
        return initial
    share = (epoch - start_epoch) / (end_epoch - start_epoch)
    if growth == "exponential":
        share = (1.0 - RAMP_REMAINDER**share) / (1.0 - RAMP_REMAINDER)
    return initial + (final - initial) * share


def _check_learning_rate(peak: float, final: float, num_steps: int, warmup_steps: int, decay: str, decay_start: str) -> None:
    if decay not in DECAYS:
        raise ValueError(f"learning rate decay: expected one of {DECAYS}, found {decay!r}")
    if decay_start not in DECAY_STARTS or (decay_start == "first_update" and decay not in ("exponential", "cosine")):
        raise ValueError(
            f"start of the decay: expected 'after_warmup', or 'first_update' of an exponential or cosine one, "
            f"found {decay_start!r} with '{decay}'"
        )
    if peak <= 0 or final < 0 or (final == 0 and decay == "exponential"):
        raise ValueError(f"learning rate: expected rates above 0 (cosine may end at 0), found {peak} to {final}")
    if decay in ("constant", "inverse") and final not in (0.0, peak):
        raise ValueError(f"learning rate: expected no final rate, which decay '{decay}' does not use, found {final}")
    if not 0 <= warmup_steps <= num_steps:
        raise ValueError(f"warm-up: expected 0 to {num_steps} steps (all of training), found {warmup_steps}")
