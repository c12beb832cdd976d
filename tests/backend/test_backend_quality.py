"""Measures of quality by hand and trial by trial; calibration with them does not ask which side is which."""

import numpy as np
import pytest

from steps.backend.calibration import QualityCalibration
from steps.backend.quality import cohort_mean, log_duration, magnitude, quality_matrix
from steps.backend.score_norm import cohort_statistics
from steps.backend.windows import Windows

ALL = ("min", "max", "sum", "difference", "ratio")


def test_functions_of_two_sides_by_hand():
    measures = {"duration": [1.0, 4.0, 2.0]}
    matrix, names = quality_matrix(measures, measures, [0, 1], [1, 2], functions=ALL)
    assert names == tuple(f"{function} duration" for function in ALL)
    np.testing.assert_array_equal(matrix, [[1, 4, 5, 3, 4], [2, 4, 6, 2, 2]])


def test_enrolments_and_test_items_may_be_different_things():
    rng = np.random.default_rng(0)
    enrol, test = ({name: rng.normal(size=size) for name in ("a", "b")} for size in (4, 7))
    enrol_index, test_index = rng.integers(4, size=30), rng.integers(7, size=30)
    matrix, names = quality_matrix(enrol, test, enrol_index, test_index)
    assert names == ("min a", "max a", "min b", "max b")
    for row, i, j in zip(matrix, enrol_index, test_index, strict=True):
        pairs = [(enrol[name][i], test[name][j]) for name in ("a", "b")]
        np.testing.assert_array_equal(row, [function(pair) for pair in pairs for function in (min, max)])


def test_a_trial_and_its_reverse_have_the_same_qualities():
    rng = np.random.default_rng(1)
    measures = {"a": rng.uniform(1, 2, 20)}
    first, second = rng.integers(20, size=(2, 50))
    one, other = (quality_matrix(measures, measures, *sides, functions=ALL)[0] for sides in ((first, second), (second, first)))
    np.testing.assert_array_equal(one, other)


def test_min_and_max_calibrate_like_sum_and_difference():
    rng = np.random.default_rng(2)
    measures, (first, second) = {"a": rng.normal(size=300)}, rng.integers(300, size=(2, 2000))
    truth = rng.random(2000) < 0.4
    scores = rng.normal(size=2000) + 2 * truth + np.minimum(measures["a"][first], measures["a"][second])
    llrs = []
    for functions in (("min", "max"), ("sum", "difference")):
        matrix, names = quality_matrix(measures, measures, first, second, functions=functions)
        llrs.append(QualityCalibration(0.5, names).fit(scores, matrix, truth).transform(scores, matrix))
    np.testing.assert_allclose(*llrs, atol=1e-3)  # but for the ridge


def test_measures_of_utterances():
    np.testing.assert_allclose(log_duration([1.0, np.e, 50.0], longest=20.0), [0.0, 1.0, np.log(20.0)])
    np.testing.assert_allclose(magnitude([[3.0, 4.0], [0.0, 2.0]]), [5.0, 2.0])
    np.testing.assert_allclose(magnitude(Windows.of([[[3.0, 0.0], [3.0, 8.0]], [[0.0, 1.0]]])), [5.0, 1.0])
    scores = np.random.default_rng(3).normal(size=(5, 9))
    np.testing.assert_allclose(cohort_mean(scores, top_n=4), np.sort(scores, axis=1)[:, -4:].mean(axis=1))
    np.testing.assert_allclose(cohort_mean(scores, top_n=4), cohort_statistics(scores, top_n=4).mean)
    np.testing.assert_allclose(cohort_mean(scores), scores.mean(axis=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_duration([1.0, 0.0]), "seconds above 0, found 0.0"),
        (lambda: log_duration([[1.0]]), "expected one number an item"),
        (lambda: magnitude([[np.nan]]), "expected finite numbers"),
        (lambda: cohort_mean([[1.0, 2.0]], top_n=3), "'all' or 1 to 2"),
        (lambda: quality_matrix({"a": [1.0]}, {"b": [1.0]}, [0], [0]), r"same names on both sides.*\['a'\] and \['b'\]"),
        (lambda: quality_matrix({}, {}, [0], [0]), "at least one"),
        (lambda: quality_matrix({"a": [1.0]}, {"a": [1.0]}, [0], [0], functions=("mean",)), "found mean"),
        (lambda: quality_matrix({"a": [1.0]}, {"a": [1.0]}, [0], [1]), r"test_index \(a\): expected 0 to 0"),
        (lambda: quality_matrix({"a": [1.0]}, {"a": [1.0]}, [0, 0], [0]), "expected 2 trials as in enrol_index"),
        (lambda: quality_matrix({"a": [0.0]}, {"a": [1.0]}, [0], [0], functions=("ratio",)), "above 0 for a ratio"),
        (lambda: quality_matrix({"a": [np.inf]}, {"a": [1.0]}, [0], [0]), "enrolment a: expected finite"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
