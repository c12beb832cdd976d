"""Claims about made trial lists in the style of VoxCeleb1-E and -H, calibration trials by duration, and names in given lists."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from local import folder
from local.celebrities.metadata import read_speakers
from local.listing.calibration import of_settings, trials_by_duration
from local.listing.lists import made_trials, resolver
from steps.core.errors import RecipeError
from steps.data.manifests import Utterance
from steps.data.trials import Trials, read_trials
from tests.local.miniatures import prepare, write_audio

REAL = Path(__file__).parents[3] / "shared" / "data" / "voxceleb_lists" / "vox1_meta.csv"


def utterance(speaker: str, number: int, *, gender: str = "f", session: str = "", seconds: float = 3.0) -> Utterance:
    return Utterance(
        id=f"{speaker}/{number:03d}", speaker=speaker, gender=gender, session=session, corpus="", path=f"{speaker}/{number}.wav",
        sampling_rate=100, num_samples=round(100 * seconds),
    )  # fmt: skip


def pairs(trials: Trials) -> list[tuple[str, str, bool]]:
    return list(zip(trials.enrol_ids, trials.test_ids, trials.is_target.tolist(), strict=True))


def speaker_of(name: str) -> str:
    return name.partition("/")[0]


CORPUS = [utterance(f"s{s:02d}", n, gender="fm"[s % 2], session=str(n % 2)) for s in range(20) for n in range(6)]
NATIONS = {f"s{s:02d}": "Norway" if s < 12 else "India" for s in range(19)}  # of s19 it is not known


def test_extended_has_half_as_many_trials_of_each_utterance_as_balanced():
    corpus = [utterance(f"s{s:02d}", n) for s in range(9) for n in range(12)]
    lists = {kind: made_trials(kind, corpus, seed=1, per_utterance=8) for kind in ("balanced", "extended")}
    for kind, per_utterance in (("balanced", 8), ("extended", 4)):
        trials = lists[kind]
        # As VoxCeleb1's: 37,720 = 8 x 4,715 trials in O; 581,480 of 145,375 utterances, four of each, in E.
        assert Counter(trials.enrol_ids) == {each.id: per_utterance for each in corpus}
        assert trials.num_target == trials.num_nontarget == per_utterance * len(corpus) / 2


def test_hard_compares_speakers_of_one_gender_and_nationality_of_whom_there_are_enough():
    trials = made_trials("hard", CORPUS, seed=1, per_utterance=8, nationalities=NATIONS, min_speakers=5)
    genders = {each.speaker: each.gender for each in CORPUS}
    assert {speaker_of(name) for name in (*trials.enrol_ids, *trials.test_ids)} == {f"s{s:02d}" for s in range(12)}
    for enrol, test, is_target in pairs(trials):
        one, other = speaker_of(enrol), speaker_of(test)
        assert is_target == (one == other)
        assert (genders[one], NATIONS[one]) == (genders[other], NATIONS[other])
    assert trials.num_target == trials.num_nontarget
    assert max(Counter(trials.enrol_ids).values()) == 4
    more = made_trials("hard", CORPUS, seed=1, per_utterance=8, nationalities=NATIONS, min_speakers=3)
    assert {speaker_of(name) for name in more.enrol_ids} == {f"s{s:02d}" for s in range(19)}


def test_hard_obeys_the_conditions_and_the_seed():
    options = {"per_utterance": 8, "nationalities": NATIONS, "min_speakers": 5}
    sessions = {each.id: each.session for each in CORPUS}
    found = made_trials("hard", CORPUS, seed=1, cross_session=True, **options)
    assert all(sessions[enrol] != sessions[test] for enrol, test, is_target in pairs(found) if is_target)
    assert pairs(made_trials("hard", CORPUS[::-1], seed=1, cross_session=True, **options)) == pairs(found)
    assert pairs(made_trials("hard", CORPUS, seed=2, cross_session=True, **options)) != pairs(found)
    with pytest.raises(RecipeError, match=r"'hard': expected 7 or more test speakers .* found 6 at most"):
        made_trials("hard", CORPUS, seed=1, per_utterance=8, nationalities=NATIONS, min_speakers=7)
    with pytest.raises(RecipeError, match=r"found 0 at most; document nationalities"):
        made_trials("hard", CORPUS, seed=1, per_utterance=8)


@pytest.mark.skipif(not REAL.is_file(), reason="needs the real metadata of ../shared/data/voxceleb_lists")
def test_hard_of_the_real_speakers_is_of_as_many_as_vox1_h():
    speakers = read_speakers(REAL, "voxceleb1 id")
    corpus = [utterance(name, n, gender=each.gender, session=str(n)) for name, each in speakers.items() for n in range(4)]
    nations = {name: each.nationality for name, each in speakers.items()}
    trials = made_trials("hard", corpus, seed=1, per_utterance=8, nationalities=nations)
    there = {speaker_of(name) for name in (*trials.enrol_ids, *trials.test_ids)}
    assert len(there) == 1190
    assert len({(speakers[name].gender, nations[name]) for name in there}) == 18


def test_any_corpus_has_a_hard_list_if_its_nationalities_are_known(tmp_path):
    lines = ["speaker,gender,nationality"]
    for number in range(6):
        for clip in range(3):
            write_audio(tmp_path / "c" / f"s{number}" / f"{clip}.wav", 10 * number + clip)
        lines.append(f"s{number},{'f' if number < 3 else 'm'},{'Norway' if number < 5 else ''}")
    (tmp_path / "c" / "speakers.csv").write_text("\n".join(lines))
    changes = {"metadata": "speakers.csv", "split": "test", "made_trials": ("hard", "extended"), "min_duration": 0.001}
    out = prepare(folder, folder.Settings(hard_min_speakers=3, **changes), tmp_path / "c", tmp_path / "x")
    assert {speaker_of(name) for name in read_trials(out / "trials" / "hard.txt").enrol_ids} == {"s0", "s1", "s2"}
    assert (out / "spk2nationality").read_text() == "".join(f"s{number} Norway\n" for number in range(5))
    with pytest.raises(RecipeError, match="hard_min_speakers"):
        prepare(folder, folder.Settings(hard_min_speakers=4, **changes), tmp_path / "c", tmp_path / "y")
    table = ["path,speaker,nationality", "s0/0.wav,s0,Norway", "s0/1.wav,s0,India", "s1/0.wav,s1,", "s1/1.wav,s1,"]
    (tmp_path / "c" / "table.csv").write_text("\n".join(table))
    settings = folder.Settings(table="table.csv", split="test", made_trials=("extended",), min_duration=0.001)
    with pytest.raises(RecipeError, match=r"'s0' has nationality 'Norway' \(.*table.csv:2\) and 'India' \(.*:3\)"):
        prepare(folder, settings, tmp_path / "c", tmp_path / "z")


def dev_set() -> list[Utterance]:
    """Ten speakers: clips of 1 s (too short), 2 to 5.9 s (short), 6 to 11 s (long); one more has only long ones."""
    rng = np.random.default_rng(0)
    found = []
    for s in range(10):
        seconds = [1.0, *rng.uniform(2.0, 5.9, 6), *rng.uniform(6.0, 11.0, 5), 6.0]
        found += [utterance(f"d{s}", n, seconds=each, session=str(n % 3)) for n, each in enumerate(seconds)]
    return found + [utterance("long", n, seconds=9.0) for n in range(9)]


def test_calibration_trials_are_a_third_of_each_pair_of_durations_half_of_them_targets():
    dev = dev_set()
    seconds = {each.id: each.duration for each in dev}
    trials = trials_by_duration(dev, seed=1, max_trials=600, seconds=(2.0, 6.0), cross_session=False)
    kinds = Counter((seconds[enrol] >= 6, seconds[test] >= 6, label) for enrol, test, label in pairs(trials))
    assert kinds == {
        (one, two, label): 100 for one, two in ((False, False), (False, True), (True, True)) for label in (True, False)
    }
    assert min(seconds[name] for name in (*trials.enrol_ids, *trials.test_ids)) >= 2.0
    assert all((speaker_of(enrol) == speaker_of(test)) == label for enrol, test, label in pairs(trials))
    assert "long" not in {speaker_of(name) for name in (*trials.enrol_ids, *trials.test_ids)}  # nothing short to compare with
    assert len({frozenset(pair[:2]) for pair in pairs(trials)}) == len(trials)
    assert all(len(set(pair[:2])) == 2 for pair in pairs(trials))
    assert list(zip(trials.enrol_ids, trials.test_ids, strict=True)) == sorted(
        zip(trials.enrol_ids, trials.test_ids, strict=True)
    )


def test_calibration_trials_follow_the_seed_and_the_sessions():
    dev, options = dev_set(), {"max_trials": 300, "seconds": (2.0, 6.0)}
    first = trials_by_duration(dev, seed=1, cross_session=True, **options)
    assert pairs(trials_by_duration(dev[::-1], seed=1, cross_session=True, **options)) == pairs(first)
    assert pairs(trials_by_duration(dev, seed=2, cross_session=True, **options)) != pairs(first)
    sessions = {each.id: each.session for each in dev}
    assert all(sessions[enrol] != sessions[test] for enrol, test, label in pairs(first) if label)


def test_where_there_are_few_pairs_all_are_taken_and_still_half_are_targets():
    # Of two speakers with three short and two long clips: 3, 6 and 1 target pairs each; 9, 12 and 4 others.
    dev = [utterance(f"d{s}", n, seconds=each) for s in range(2) for n, each in enumerate((3.0, 3.0, 3.0, 7.0, 7.0))]
    trials = trials_by_duration(dev, seed=1, max_trials=6000, seconds=(2.0, 6.0), cross_session=False)
    assert (trials.num_target, trials.num_nontarget) == (6 + 12 + 2, 6 + 12 + 2)


def test_calibration_trials_that_cannot_be_made_are_refused():
    dev = dev_set()
    with pytest.raises(
        RecipeError, match=r"0 speakers have short \(from 20 s on\) and long \(from 30 s on\).*139 that are shorter"
    ):
        trials_by_duration(dev, seed=1, max_trials=60, seconds=(20.0, 30.0), cross_session=False)
    alone = [utterance(f"d{s}", n, seconds=each) for s in range(2) for n, each in enumerate((3.0, 7.0, 7.0))]
    with pytest.raises(RecipeError, match=r"found 0 target and 1 non-target trials of a short and a short utterance"):
        trials_by_duration(alone, seed=1, max_trials=60, seconds=(2.0, 6.0), cross_session=False)
    for changes in ({"calibration": "x"}, {"calibration_seconds": (6.0, 2.0)}, {"calibration_seconds": (2.0,)}):
        with pytest.raises(ValueError, match="calibration"):
            folder.Settings(**changes)


def test_the_settings_say_which_calibration_trials_are_made():
    dev = dev_set()
    by_duration = of_settings(folder.Settings(calibration="durations", max_calibration_trials=60), dev)
    assert pairs(by_duration) == pairs(trials_by_duration(dev, seed=1, max_trials=60, seconds=(2.0, 6.0), cross_session=False))
    assert len(of_settings(folder.Settings(), dev)) == len(dev) * (len(dev) - 1) // 2


@pytest.mark.parametrize(
    "name", ["s0/u 1", "s0/u_1.wav", "./s0/u_1.FLAC", "s0\\u_1.wav", "/data/wav/s0/u 1.sph", "data/s0/u_1", "/x/data/s0/u_1"]
)
def test_a_name_in_a_list_finds_its_utterance_however_it_is_written(name):
    resolve = resolver({"s0/u_1": "s0", "s0/u_2": "s0"}, "/data/wav", "_", [Path("/x/data")])
    assert resolve(name) == "s0/u_1"
    assert resolve(f"other/{name}") == f"other/{name}"  # nothing is cut off that nobody named
