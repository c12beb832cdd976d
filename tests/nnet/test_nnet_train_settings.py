"""What cannot be trained with is refused when the settings are read, in words that name the field."""

import subprocess
import sys

import pytest

from steps.nnet.train_settings import Train

GOOD = {"epochs": 4, "batch_size": 8, "learning_rate": 0.1, "final_learning_rate": 0.01}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"warmup_epochs": 4.0},
        {"decay": "cosine", "final_learning_rate": 0.0},
        {"decay_start": "first_update", "warmup_epochs": 1.0, "rate_batch_size": 64},
        {"decay": "constant", "final_learning_rate": 0.1},
        {"average": 4},
        {"momentum": 0.0, "weight_decay": 0.0},
        {"min_crop": 1.0, "max_crop": 3.0},
        {"decay": "constant", "final_learning_rate": 0.0},
        {"decay": "inverse", "inverse_decay": 1e-4, "final_learning_rate": 0.0},
        {"decay": "steps", "rate_epochs": (1.0, 2.5), "rate_factors": (0.1, 1.0), "final_learning_rate": 0.0},
        {"decay": "plateau", "plateau_patience": 5, "monitor": "one_shot"},
        {"sampling": "groups", "group_size": 4},
        {"sampling": "pairs", "mined_pairs": 1000, "pair_weights": "length", "pair_same_file": True},
        {"sampling": "whole", "init": "other", "freeze": "frames", "init_head": True},
    ],
)
def test_what_makes_sense_is_taken(changes):
    assert Train(**GOOD | changes).epochs == 4


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("sampling", {"sampling": "random"}),
        ("optimizer", {"optimizer": "lion"}),
        ("decay", {"decay": "step"}),
        ("decay_start", {"decay_start": "at_once"}),
        ("decay_start", {"decay_start": "first_update", "decay": "constant", "final_learning_rate": 0.0}),
        ("decay_start", {"decay_start": "first_update", "decay": "plateau"}),
        ("rate_batch_size", {"rate_batch_size": -1}),
        ("margin_growth", {"margin_growth": "cubic"}),
        ("average_of", {"average_of": "all"}),
        ("precision", {"precision": "fp16"}),
        ("device", {"device": "gpu"}),
        ("epochs", {"epochs": 0}),
        ("batch_size", {"batch_size": 1}),  # batch norm needs two
        ("threads", {"threads": 0}),
        ("workers", {"workers": 0}),
        ("average", {"average": 0}),
        ("average", {"average": 5}),
        ("min_utterances", {"min_utterances": 0}),
        ("examples_per_epoch", {"examples_per_epoch": -1}),
        ("patience", {"patience": -1}),
        ("min_crop", {"min_crop": 0.0}),
        ("min_crop", {"min_crop": 3.0, "max_crop": 2.0}),
        ("warmup_epochs", {"warmup_epochs": 5.0}),
        ("warmup_epochs", {"warmup_epochs": -1.0}),
        ("margin_start_epoch", {"margin_start_epoch": 2.0, "margin_end_epoch": 1.0}),
        ("margin_start_epoch", {"margin_start_epoch": -1.0}),
        ("checkpoint_seconds", {"checkpoint_seconds": -1.0}),
        # Each of these came to light at the first update, as a traceback.
        ("learning_rate", {"learning_rate": 0.0}),
        ("final_learning_rate", {"final_learning_rate": -0.1}),
        ("final_learning_rate", {"final_learning_rate": 0.0}),
        ("final_learning_rate", {"decay": "constant"}),
        ("momentum", {"momentum": 1.0}),
        ("weight_decay", {"weight_decay": -1e-4}),
        ("max_gradient_norm", {"max_gradient_norm": -1.0}),
        ("monitor", {"monitor": "loss"}),
        ("group_size", {"sampling": "groups"}),
        ("group_size", {"group_size": 2}),
        ("batch_size", {"sampling": "groups", "group_size": 3}),
        ("batch_size", {"sampling": "pairs", "batch_size": 6}),
        ("freeze", {"freeze": "all"}),
        ("freeze", {"freeze": "frames"}),
        ("init_head", {"init_head": True}),
        ("inverse_decay", {"decay": "inverse", "final_learning_rate": 0.0}),
        ("inverse_decay", {"inverse_decay": 0.1}),
        ("final_learning_rate", {"decay": "inverse", "inverse_decay": 0.1}),
        ("rate_epochs", {"rate_epochs": (1.0,), "rate_factors": (0.1,)}),
        ("rate_epochs", {"decay": "steps", "final_learning_rate": 0.0}),
        ("rate_epochs", {"decay": "steps", "final_learning_rate": 0.0, "rate_epochs": (2.0, 1.0), "rate_factors": (1.0, 0.1)}),
        ("plateau_factor", {"plateau_factor": 1.0}),
        ("hardest_share", {"hardest_share": 0.0}),
        ("p_reverse", {"p_reverse": 1.5}),
        ("mined_share", {"mined_share": 0.0}),
    ],
)
def test_what_makes_none_is_refused(field, changes):
    with pytest.raises(ValueError, match=rf"{field}.*: expected .*found"):
        Train(**GOOD | changes)


@pytest.mark.parametrize("changes", [{"mined_pairs": 100}, {"pair_weights": "length"}, {"pair_same_file": True}])
def test_settings_of_pairs_are_refused_where_there_are_none(changes):
    with pytest.raises(ValueError, match=rf"{next(iter(changes))}: only with sampling = 'pairs', found 'utterance'"):
        Train(**GOOD | changes)


def test_settings_are_read_without_torch():
    code = "import steps.nnet.train_settings, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
