"""Embeddings of the items and speakers of lists: the mean of all windows, from whichever sets hold them."""

from types import SimpleNamespace

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data.archive import write_ark, write_scp
from steps.data.item_lists import Item, Role, write_items, write_roles
from steps.scoring.item_lists import class_scores, clustering_lists, identification_lists

SETS = {"test": ("a1", "a2", "b1"), "train": ("b2", "c1"), "dev": ("d1",)}
UTT2SPK = {name: name[0] for names in SETS.values() for name in names}


@pytest.fixture
def world(tmp_path):
    rng = np.random.default_rng(0)
    vectors = {name: rng.normal(size=(1 + number % 3, 4)).astype(np.float32) for number, name in enumerate(UTT2SPK)}
    for folder, names in SETS.items():
        place = tmp_path / "embeddings" / folder
        place.mkdir(parents=True)
        items = [(name, vectors[name]) for name in names]
        write_scp(place, write_ark(place / "embeddings.ark", items), "embeddings.scp")
    return SimpleNamespace(top=tmp_path, vectors=vectors)


def lists(read, world, windows=False):
    return list(read(world.top / "manifests", world.top / "embeddings", windows=windows, utt2spk=UTT2SPK))


@pytest.mark.parametrize("windows", [False, True])
def test_an_item_is_the_mean_of_all_its_windows(world, windows):
    items = [Item("y", "b", ("b2", "b1")), Item("x", "a", ("a1", "a2"))]
    write_items(world.top / "manifests" / "clustering" / "l.txt", items)
    [(name, entries, found)] = lists(clustering_lists, world, windows)
    assert (name, entries) == ("l", items)
    joined = [np.concatenate([world.vectors[each] for each in item.utterances]) for item in items]
    np.testing.assert_allclose(found.vectors(), [rows.mean(axis=0) for rows in joined], rtol=1e-6)
    assert (found.windows is not None) == windows
    if windows:
        np.testing.assert_array_equal(found.windows.item(1), joined[1])


def test_utterances_come_in_the_order_of_the_list_from_all_sets(world):
    roles = [Role("enrol", "d", "d1"), Role("enrol", "a", "a2"), Role("test", "a", "a1")]
    write_roles(world.top / "manifests" / "identification" / "l.txt", roles)
    [(_, entries, found)] = lists(identification_lists, world)
    assert entries == roles
    np.testing.assert_allclose(found.vectors(), [world.vectors[each].mean(axis=0) for each in ("d1", "a2", "a1")], rtol=1e-6)
    assert lists(clustering_lists, world) == []


def write_class_scores(world, sets):
    """Four numbers, each for one of the training speakers d, a, a at another speed, and c."""
    (world.top / "embeddings" / "speakers").write_text("d\na\nsp0.9-a\nc\n")
    scores = {}
    for place, (folder, names) in enumerate(sets.items()):
        home = world.top / "embeddings" / "class_scores" / folder
        items = [(name, np.arange(4, dtype=np.float32) + 10 * place + 100 * row) for row, name in enumerate(names)]
        home.mkdir(parents=True)
        write_scp(home, write_ark(home / "class_scores.0.ark", items), "class_scores.scp")
        scores |= dict(items)
    return scores


def test_scores_of_the_head_are_those_of_the_enrolled_speakers(world):
    roles = [Role("enrol", "d", "d1"), Role("enrol", "a", "a2"), Role("test", "d", "c1"), Role("test", "a", "a1")]
    folder = world.top / "embeddings"
    assert class_scores(folder, roles, "l") is None
    scores = write_class_scores(world, {"test": ("a1", "a2"), "train": ("c1",)})
    with_visitor = [*roles[:3], Role("test", "b", "b1"), roles[3]]  # no class is the right one for somebody not enrolled
    enrolled, scores_MP, speakers = class_scores(folder, with_visitor, "l")
    assert (enrolled, speakers) == (["a", "d"], ["d", "a"])
    np.testing.assert_array_equal(scores_MP, [[scores[name][row] for name in ("c1", "a1")] for row in (1, 0)])
    assert class_scores(folder, [*roles, Role("enrol", "b", "b1")], "l") is None  # nobody's class
    with pytest.raises(RecipeError, match="l: utterance 'b2': expected scores of 4 speakers.*found 0; name its set in embed"):
        class_scores(folder, [*roles, Role("test", "a", "b2")], "l")


def test_what_has_no_embedding_or_another_speaker_is_refused(world, monkeypatch):
    monkeypatch.setitem(UTT2SPK, "c9", "c")
    write_items(world.top / "manifests" / "clustering" / "l.txt", [Item("x", "c", ("c1", "c9")), Item("y", "a", ("a1",))])
    with pytest.raises(RecipeError, match="l.txt: 1 of its 3 utterances have no embedding .*'c9'"):
        lists(clustering_lists, world)
    write_items(world.top / "manifests" / "clustering" / "l.txt", [Item("x", "b", ("c1",)), Item("y", "a", ("a1",))])
    with pytest.raises(RecipeError, match="'c1' of speaker 'b' is of speaker c"):
        lists(clustering_lists, world)
