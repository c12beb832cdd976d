"""The task "gender": its draws, and figures where the answer is known."""

import json

import numpy as np
import pytest

from steps.results.gender import chosen_rows, gender_figures, gender_line, has_genders
from steps.results.settings import TaskSettings

SETTINGS = TaskSettings(run=("gender",), replicates=20)


def make(gap: float, num_speakers: int = 20, per_speaker: int = 4, seed: int = 0):
    rng = np.random.default_rng(seed)
    speakers = np.repeat([f"s{number:03}" for number in range(num_speakers)], per_speaker)
    genders = np.where(np.repeat(np.arange(num_speakers) % 2, per_speaker), "m", "f")
    x_ND = rng.normal(size=(len(speakers), 6))
    x_ND[:, 0] += np.where(genders == "f", gap, -gap)
    return [f"u{n:04}" for n in range(len(speakers))], x_ND, genders.tolist(), speakers.tolist()


def test_genders_far_apart_are_found_and_where_there_is_nothing_it_is_chance():
    _, x_ND, genders, speakers = make(gap=30.0)
    found = gender_figures(x_ND, genders, speakers, SETTINGS)
    assert found["accuracy"] == 1
    assert found["silhouette"] > 0.9
    assert found["pc1"] > 0.99
    assert found["pc1_variance"] > 0.9
    _, x_ND, genders, speakers = make(gap=0.0, num_speakers=100)
    found = gender_figures(x_ND, genders, speakers, SETTINGS)
    assert abs(found["accuracy"] - 0.5) < 0.12
    assert abs(found["silhouette"]) < 0.05
    assert found["pc1"] < 0.1
    assert json.loads(json.dumps(found)) == found
    for name in ("accuracy", "silhouette", "pc1"):
        low, high = found[f"{name}_ci95"]
        assert low <= high


def test_undocumented_genders_do_not_count():
    _, x_ND, genders, speakers = make(gap=1.0, num_speakers=30)
    hidden = ["" if speaker in ("s000", "s002", "s004") else gender for gender, speaker in zip(genders, speakers, strict=True)]
    found = gender_figures(x_ND, hidden, speakers, SETTINGS)
    kept = [n for n, gender in enumerate(hidden) if gender]
    assert found == gender_figures(x_ND[kept], [hidden[n] for n in kept], [speakers[n] for n in kept], SETTINGS)
    assert (found["num_female"], found["num_male"], found["num_utterances"], found["majority"]) == (12, 15, 108, 60 / 108)
    assert "majority 55.6 %" in gender_line({"set": "train"} | found)


def test_few_utterances_of_few_speakers_of_each_gender_in_proportion():
    ids, _, genders, speakers = make(gap=1.0, num_speakers=60, per_speaker=7)
    genders = ["f" if speaker < "s045" else "m" for speaker in speakers]
    settings = TaskSettings(run=("gender",), gender_speakers=20, gender_utterances=3)
    rows = chosen_rows(ids, genders, speakers, settings)
    chosen = {(genders[row], speakers[row]) for row in rows}
    assert sum(gender == "f" for gender, _ in chosen) == 15
    assert sum(gender == "m" for gender, _ in chosen) == 5
    assert len(rows) == 60
    assert max(np.bincount([int(speakers[row][1:]) for row in rows])) == 3
    # The same ones whatever the order, and all of them where there are no more.
    order = np.random.default_rng(0).permutation(len(ids))
    moved = [[column[n] for n in order] for column in (ids, genders, speakers)]
    assert [moved[0][row] for row in chosen_rows(*moved, settings)] == [ids[row] for row in rows]
    assert chosen_rows(ids, genders, speakers, SETTINGS).tolist() == list(range(len(ids)))


def test_a_set_has_genders_with_five_speakers_of_each():
    assert has_genders(["f", "m"] * 5, [f"s{n}" for n in range(10)])
    assert not has_genders(["f", "m"] * 5 + [""], [f"s{n}" for n in range(9)] + ["s7", "x"])
    assert not has_genders(["f"] * 10, [f"s{n}" for n in range(10)])
    with pytest.raises(ValueError, match="gender_speakers: expected at least 10"):
        TaskSettings(gender_speakers=9)
