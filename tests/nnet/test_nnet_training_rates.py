"""Learning rates and margins of published schedules, at every update, against the programs that they are of."""

from pathlib import Path

import pytest
import torch

from steps.core.config import load_layers
from steps.nnet.models import build_head, build_model
from steps.nnet.settings import AAM, XVector
from steps.nnet.train_settings import Train
from steps.nnet.training import Training
from tests.nnet import wespeaker_rates

ROOT = Path(__file__).parents[2]
BATCH = 6


def a_run(chosen: Train, steps_per_epoch: int) -> Training:
    """One that never makes an update."""
    network = build_model(XVector(channels=(8, 8, 8, 8, 12), embedding_dim=6), 8)
    head = build_head(AAM(), network.classifier_dim, 3)
    return Training(chosen, network, head, steps_per_epoch=steps_per_epoch, device=torch.device("cpu"))


def of_every_update(path: str, steps_per_epoch: int, **changes) -> tuple[list[float], list[float]]:
    """Learning rates and margins by the [train] of a file, at each update of the run."""
    chosen = Train(
        **load_layers([ROOT / path]).tables["train"] | {"precision": "float32", "init": "", "init_head": False} | changes
    )
    training, rates, margins = a_run(chosen, steps_per_epoch), [], []
    for place in range(chosen.epochs * steps_per_epoch):
        training.epoch, training.step = place // steps_per_epoch + 1, place % steps_per_epoch
        rates.append(training.current_learning_rate())
        margins.append(training.margin_at(place))
    return rates, margins


def test_the_long_run_has_the_learning_rate_of_wespeaker_at_every_update():
    found, _ = of_every_update("conf/train/wespeaker.toml", 2)
    assert found == pytest.approx(wespeaker_rates.LONG_RUN, rel=1e-12, abs=0.0)
    assert max(found) == found[12] == pytest.approx(0.295, abs=5e-4)  # after six epochs of two updates


def test_the_margin_of_the_long_run_is_that_of_wespeaker_at_every_update():
    """Its ramp ends at 0.999 of the margin and leaps, where ours is divided by that: 0.0002 apart at most."""
    _, found = of_every_update("conf/train/wespeaker.toml", 2)
    assert found[36:80] == pytest.approx(wespeaker_rates.MARGINS, abs=2e-4)
    assert (set(found[:39]), set(found[78:])) == ({0.0}, {0.2})


def test_fine_tuning_with_a_large_margin_has_the_learning_rate_of_wespeaker_at_every_update():
    found, margins = of_every_update("recipes/voxceleb/resnet34_aam_lmft.toml", 4)
    assert found == pytest.approx(wespeaker_rates.FINE_TUNING, rel=1e-12, abs=0.0)
    assert set(margins) == {0.2}  # all of it from the first update on (0.5 in the recipe's head)


@pytest.mark.parametrize(("batch_size", "factor"), [(256, 1.0), (128, 0.5), (64, 0.25), (512, 2.0), (200, 0.78125)])
def test_the_rate_of_the_long_run_is_in_proportion_to_the_batch_size(batch_size, factor):
    """bin/train.py multiplies by processes x batch / 64, whatever the batch is."""
    found, _ = of_every_update("conf/train/wespeaker.toml", 2, batch_size=batch_size)
    assert found == pytest.approx([factor * rate for rate in wespeaker_rates.LONG_RUN], rel=1e-12, abs=0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"decay": "constant", "final_learning_rate": 0.0},
        {"decay": "cosine"},
        {"decay": "inverse", "inverse_decay": 0.1, "final_learning_rate": 0.0},
        {"decay": "steps", "rate_epochs": (1.0,), "rate_factors": (0.1,), "final_learning_rate": 0.0},
        {"decay": "plateau", "plateau_patience": 1},  # two epochs without a better figure: down to the lowest rate, 0.01
    ],
)
def test_rates_of_another_batch_size_are_in_proportion_in_every_decay(changes):
    def rates(**more):
        values = {"epochs": 3, "batch_size": BATCH, "learning_rate": 0.1, "final_learning_rate": 0.01, "precision": "float32"}
        training = a_run(Train(**values | changes | more), 4)
        training.history = [{"dev_eer": eer} for eer in (0.1, 0.2, 0.2)]
        training.epoch = 3
        return training.current_learning_rate()

    assert rates(rate_batch_size=4 * BATCH) == pytest.approx(rates() / 4, rel=1e-12)
    assert rates(rate_batch_size=BATCH) == rates(rate_batch_size=0)
