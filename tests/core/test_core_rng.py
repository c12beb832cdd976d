"""Randomness belongs to a named thing."""

import hashlib

import numpy as np
import pytest

from steps.core.rng import generator, seed_of


def test_the_seed_is_the_published_hash_of_seed_and_names():
    digest = hashlib.sha256(b"7\xffaugment\xffid1/a").digest()
    assert seed_of(7, "augment", "id1/a") == int.from_bytes(digest[:16], "little")
    expected = np.random.Generator(np.random.PCG64(seed_of(7, "augment", "id1/a"))).random(5)
    np.testing.assert_array_equal(generator(7, "augment", "id1/a").random(5), expected)


def test_draws_depend_on_the_name_alone_not_on_what_was_drawn_before():
    alone = generator(1, "augment", "b").random(3)
    generator(1, "augment", "a").random(100)
    np.random.seed(0)
    np.testing.assert_array_equal(generator(1, "augment", "b").random(3), alone)


@pytest.mark.parametrize(
    ("one", "other"),
    [((1, "a", "bc"), (1, "ab", "c")), ((1, "a"), (2, "a")), ((1, "a", "b"), (1, "b", "a")), ((1, ""), (1,)), ((11,), (1, "1"))],
)
def test_other_names_or_seeds_are_other_seeds(one, other):
    assert seed_of(*one) != seed_of(*other)


def test_generators_of_neighbours_are_not_correlated():
    draws = np.array([generator(1, "utterance", number).standard_normal(50) for number in range(200)])
    correlation = np.corrcoef(draws)[np.triu_indices(200, 1)]
    # Of 19,900 correlations over 50 draws the largest is about 4.2/sqrt(50) = 0.6 for independent generators.
    assert abs(correlation).max() < 0.75
    assert abs(correlation.mean()) < 0.01
