"""Scoring that makes no sense is refused when the settings are read, and said in one line when it does."""

import pytest

from steps.backend.settings import Score


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("transforms", {"transforms": ("mean", "pca")}),
        ("transforms", {"transforms": ("mean", "mean")}),
        ("lda_form", {"lda_form": "sklearn"}),
        ("lda_dim", {"lda_dim": 0}),
        ("backend", {"backend": "svm"}),
        ("plda_iterations", {"plda_iterations": 0}),
        ("plda_length_norm", {"plda_length_norm": "unit"}),
        ("plda_smoothing", {"plda_smoothing": -0.1}),
        ("plda_smoothing", {"plda_smoothing": 1.1}),
        ("norm", {"norm": "zt_norm"}),
        ("norm_top", {"norm_top": 1}),
        ("replicates", {"replicates": 1}),
        ("priors", {"priors": ()}),
        ("priors", {"priors": (0.01, 1.0)}),
        ("calibration_prior", {"calibration_prior": 0.0}),
    ],
)
def test_what_makes_no_sense_is_refused(field, changes):
    with pytest.raises(ValueError, match=rf"{field}: expected .*found"):
        Score(**changes)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "mean, cosine"),
        ({"transforms": ()}, "cosine"),
        (
            {"transforms": ("mean", "lda", "length_norm"), "lda_dim": 64, "backend": "plda"},
            "mean, LDA 64, length norm, PLDA",
        ),
        ({"transforms": ("whiten",), "norm": "as_norm", "norm_top": 40}, "whitening, cosine, AS-norm 40"),
        ({"norm": "s_norm"}, "mean, cosine, s-norm"),
    ],
)
def test_the_line_for_tables(settings, text):
    assert Score(**settings).text == text
