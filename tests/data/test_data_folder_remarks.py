"""Trees that were read at the wrong level are remarked on, ordinary ones are not."""

import pytest

from steps.data.folder_remarks import folder_remarks, is_tree
from steps.data.manifests import Utterance, Utterances


def tree(*paths, level=-1, session=""):
    """The utterances of a tree whose speakers are a level of folders."""
    found = Utterances()
    for path in sorted(paths):
        found.append(
            Utterance(
                id=path.removesuffix(".wav"),
                speaker=path.split("/")[:-1][level],
                gender="",
                session=session,
                corpus="",
                path=path,
                sampling_rate=16000,
                num_samples=16000,
            )  # fmt: skip
        )
    return found


VIDEOS = [f"id{p:02d}/vid{p}{v}/{f}.wav" for p in range(8) for v in range(3) for f in range(4)]


def said(utterances, has_corpora=False):
    return folder_remarks([utterances], has_corpora=has_corpora)


def test_one_name_in_two_corpora_is_said_with_both_places():
    (remark,) = said(tree(*(f"corpus{c}/spk{s:02d}/{f}.wav" for c in "AB" for s in range(1, 9) for f in range(4))))
    assert remark.startswith("8 speaker names stand in two or more folders (spk01: corpusA/spk01, corpusB/spk01; ")
    assert "--set prepare.corpus_level=0 keeps them apart" in remark


def test_the_level_that_is_named_is_the_one_that_differs():
    (remark,) = said(tree(*(f"all/corpus{c}/spk{s}/{f}.wav" for c in "AB" for s in range(3) for f in range(4))))
    assert "--set prepare.corpus_level=1 " in remark


def test_sets_are_looked_at_together():
    one, other = (tree(*(f"{corpus}/spk1/{f}.wav" for f in range(4))) for corpus in "AB")
    assert len(folder_remarks([one, other], has_corpora=False)) == 1
    assert folder_remarks([one, other], has_corpora=True) == []


def test_generic_names_below_people_name_the_level_of_the_people():
    (remark,) = said(tree(*(f"person{p}/session{s}/{f}.wav" for p in range(9) for s in range(2) for f in range(4))))
    assert "--set prepare.speaker_level=-2" in remark
    assert "corpus_level" not in remark


def test_videos_taken_for_people_are_said():
    (remark,) = said(tree(*VIDEOS))
    assert "the 24 folders taken for speakers lie in 8 others, a few in each (id00: vid00, vid01, vid02; " in remark
    assert "--set prepare.speaker_level=-2" in remark
    assert said(tree(*VIDEOS, level=-2)) == []


def test_files_taken_for_people_are_said():
    (remark,) = said(tree(*(f"{s:02d}/{f}.wav" for s in range(20) for f in range(1 + (s == 0)))))
    assert remark.startswith("20 of 20 speakers have one or two utterances")


@pytest.mark.parametrize(
    "paths",
    [
        [f"spk{s}/{f}.wav" for s in range(20) for f in range(5)],
        [f"corpus{c}/spk{c}{s:02d}/{f}.wav" for c in range(3) for s in range(10) for f in range(5)],
        [f"train/dr{d}/spk{d}{s:02d}/{f}.wav" for d in range(8) for s in range(30) for f in range(5)],  # as TIMIT's
    ],
)
def test_ordinary_trees_are_not_remarked_on(paths):
    assert said(tree(*paths)) == []


def test_only_what_folders_alone_say_is_a_tree():
    assert is_tree(tree("a/b/c.wav"))
    other = Utterances()
    other.append(
        Utterance(id="x1", speaker="a", gender="", session="", corpus="", path="a/b.wav", sampling_rate=16000, num_samples=1)
    )
    assert not is_tree(other)
