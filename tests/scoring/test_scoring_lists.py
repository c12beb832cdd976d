"""Trial lists as rows of embeddings, with models of several utterances and what is missing."""

import logging

import numpy as np
import pytest

from steps.backend.items import Items
from steps.core.errors import RecipeError
from steps.scoring.embedded import Embedded
from steps.scoring.lists import read_rows

IDS = ["a1", "a2", "a3", "b1", "b2"]
UTT2SPK = {name: name[0] for name in IDS}
EMBEDDED = Embedded(IDS, Items.single(np.arange(10.0).reshape(5, 2)))
LOG = logging.getLogger("test")


@pytest.fixture
def read(tmp_path):
    def read_list(trials: str, models: str = "", *, allow_missing: bool = False, embedded: Embedded = EMBEDDED):
        (tmp_path / "list.txt").write_text(trials)
        (tmp_path / "models.txt").write_text(models)
        enrolment = tmp_path / "models.txt" if models else tmp_path / "none.txt"
        return read_rows(
            tmp_path / "list.txt", embedded, enrolment=enrolment, utt2spk=UTT2SPK, allow_missing=allow_missing, where=tmp_path,
            log=LOG,
        )  # fmt: skip

    return read_list


def test_utterances_are_rows(read):
    rows = read("1 a1 a3\n0 b2 a1\n")
    assert rows.enrol is None
    assert (rows.enrol_P.tolist(), rows.test_P.tolist(), rows.num_missing) == ([0, 4], [2, 0], 0)


def test_models_are_items_of_their_own(read):
    rows = read("1 m a3\n0 n a1\n0 b1 a2\n1 m a1\n", "m a1 a2\nn b1 b2\nunused a3\n")
    enrolled = [rows.enrol_rows[item].tolist() for item in rows.enrol_P]
    assert enrolled == [[0, 1], [3, 4], [3], [0, 1]]
    assert rows.test_P.tolist() == [2, 0, 1, 0]
    np.testing.assert_array_equal(rows.enrol.vectors()[rows.enrol_P], [[1, 2], [7, 8], [6, 7], [1, 2]])
    assert rows.speakers == {"m": "a", "n": "b", "unused": "a"}


def test_missing_embeddings_are_named_or_left_out(read):
    few = EMBEDDED.part(np.array([0, 1, 3]))
    with pytest.raises(RecipeError, match=r"list\.txt:2: test utterance 'a3' has no embedding .*\(3 trials, 2 missing\)"):
        read("0 a1 b1\n1 a1 a3\n1 b2 b1\n", embedded=few)
    with pytest.raises(RecipeError, match=r"list\.txt:1: enrolment 'm' has no embedding"):
        read("1 m a1\n", "m a2 a3\n", embedded=few)
    rows = read("0 a1 b1\n1 a1 a3\n1 b2 b1\n1 a2 a1\n", embedded=few, allow_missing=True)
    assert (rows.enrol_P.tolist(), rows.test_P.tolist(), rows.num_missing) == ([0, 1], [2, 0], 2)
    assert rows.trials.enrol_ids == ["a1", "a2"]
    with pytest.raises(RecipeError, match="1 missing"):
        read("1 a1 a3\n", embedded=few, allow_missing=True)  # nothing would be left


def test_some_of_the_trials(read):
    rows = read("1 m a3\n0 n a1\n0 b1 a2\n", "m a1 a2\nn b1 b2\n").taken(np.array([True, False, True]))
    assert rows.trials.test_ids == ["a3", "a2"]
    assert [rows.enrol_rows[item].tolist() for item in rows.enrol_P] == [[0, 1], [3]]
    assert rows.test_P.tolist() == [2, 1]
