"""Claims about local.cnceleb, on a miniature."""

import logging
import shutil
from pathlib import Path

import pytest

from local import cnceleb
from local.cnceleb import Settings
from local.listing.documented import Counts
from steps.core.errors import RecipeError
from steps.data.enrolment import read_models
from steps.data.manifests import has_set, read_set, read_utt2spk
from steps.data.trials import read_trials
from tests.local.miniatures import CN_DEV, CN_EVAL, CN_SECOND, make_cnceleb, prepare

ANY = {"wrong_counts": "warn", "dev_speakers": 2.0, "dev_min_utterances": 2}


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return make_cnceleb(tmp_path_factory.mktemp("cnceleb"))


def run(root: Path, out: Path, **changes) -> Path:
    return prepare(cnceleb, Settings(**{**ANY, **changes}), root, out)


def speakers(out: Path, *names: str) -> set[str]:
    return {item.speaker for name in names for item in read_set(out, name)}


def test_dev_speakers_of_both_corpora_are_trained_on(original, tmp_path):
    out = run(original, tmp_path / "x")
    assert speakers(out, "train", "dev") == {*CN_DEV, *CN_SECOND}
    assert speakers(out, "test") == set(CN_EVAL)
    items = {item.id: item for name in ("train", "dev", "test") for item in read_set(out, name)}
    first = items["id00000/live_broadcast-02-001"]
    assert (first.path, first.session) == ("CN-Celeb_flac/data/id00000/live_broadcast-02-001.flac", "live_broadcast-02")
    assert (first.corpus, items["id10001/vlog-01-002"].corpus) == ("cnceleb1", "cnceleb2")
    tested = items["test/id00802-play-04-001"]
    assert (tested.path, tested.speaker, tested.session) == (
        "CN-Celeb_flac/eval/test/id00802-play-04-001.flac", "id00802", "play-04",
    )  # fmt: skip
    assert "id00800/singing-01-001" not in items  # of an eval speaker, and joined in eval/enroll
    for train, expected in (("cnceleb1", CN_DEV), ("cnceleb2", CN_SECOND)):
        out = run(original, tmp_path / train, train=train, dev_speakers=0.0)
        assert speakers(out, "train") == set(expected)


def test_speakers_are_enrolled_with_a_joined_file(original, tmp_path):
    out = run(original, tmp_path)
    trials = read_trials(out / "trials" / "cnc_eval_concat.txt")
    assert (len(trials), trials.num_target) == (2 * 6, 2 * 2)
    assert set(trials.enrol_ids) == {"enroll/id00800-enroll", "enroll/id00801-enroll"}
    assert read_utt2spk(out / "utt2spk")["enroll/id00800-enroll"] == "id00800"
    assert not (out / "enrolment").exists()


def test_speakers_are_enrolled_with_several_recordings(original, tmp_path):
    out = run(original, tmp_path, enrol="utterances")
    models = read_models(out / "enrolment" / "cnc_eval_avg.txt")
    assert models["id00801-enroll"] == ("id00801/singing-01-001", "id00801/live_broadcast-02-001")
    trials = read_trials(out / "trials" / "cnc_eval_avg.txt")
    assert (len(trials), trials.num_target) == (12, 4)
    items = {item.id: item.path for item in read_set(out, "test")}
    assert items["id00801/singing-01-001"] == "CN-Celeb_flac/data/id00801/singing-01-001.flac"
    assert "id00801/singing-01-002" not in items  # enrols nobody
    assert not any(name.startswith("enroll/") for name in items)


def test_a_trained_model_needs_the_eval_folder_alone(original, tmp_path):
    data = Path(shutil.copytree(original, tmp_path / "data"))
    shutil.rmtree(data / "CN-Celeb2_flac")
    shutil.rmtree(data / "CN-Celeb_flac" / "data")
    out = run(data, tmp_path, split="test")
    assert not has_set(out, "train")
    assert run(data / "CN-Celeb_flac", tmp_path / "inner", split="test").exists()  # the root may be CN-Celeb 1 itself


def test_given_lists_replace_the_published_one(original, tmp_path):
    (tmp_path / "mine.txt").write_text(
        "1 enroll/id00800-enroll.wav test/id00800-play-04-001.wav\n0 enroll/id00801-enroll test/id00800-play-04-001\n"
    )
    out = run(original, tmp_path, trials=str(tmp_path / "mine.txt"))
    assert [path.name for path in (out / "trials").iterdir()] == ["mine.txt"]


def test_the_list_and_the_sets_are_compared_with_the_documented_ones(original, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("prepare"), "propagate", True)
    caplog.set_level(logging.INFO, logger="prepare")
    with pytest.raises(RecipeError, match=r"eval/enroll: 2 utterances \(documented: 196\)"):
        run(original, tmp_path / "x", wrong_counts="refuse")
    counts = {"eval/enroll": Counts(speakers=2, utterances=2), "eval/test": Counts(speakers=3, utterances=6)}
    monkeypatch.setattr(Settings, "DOCUMENTED", counts)
    with pytest.raises(
        RecipeError, match=r"trials.lst: is not the published list: 12 trials \(documented: 3,484,292\), 4 target"
    ):
        run(original, tmp_path / "y", wrong_counts="refuse")
    monkeypatch.setattr(cnceleb, "TRIALS", Counts(trials=12, targets=4))
    run(original, tmp_path / "z", wrong_counts="refuse")
    said = " ".join(caplog.text.split())
    assert "eval/test 3 / 3 6 / 6 as documented" in said
    assert "cnceleb2 train 2 4 what it should hold is not documented" in said
    assert "trials.lst 12 / 12 4 / 4 as documented" in said


def test_a_changed_list_is_noticed(original, tmp_path):
    data = Path(shutil.copytree(original, tmp_path / "data"))
    site, settings = {"corpus": str(data)}, Settings(**ANY)
    before = cnceleb.inventory(settings, site)
    path = data / "CN-Celeb_flac" / "eval" / "lists" / "trials.lst"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert cnceleb.inventory(settings, site) != before


LISTS = Path("CN-Celeb_flac") / "eval" / "lists"


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(
    ("spoil", "changes", "words"),
    [
        (lambda d: append(d / LISTS / "trials.lst", "id00800-enroll test/x.wav 2\n"), {}, r"trials.lst:13: expected"),
        (lambda d: append(d / LISTS / "trials.lst", "id00802-enroll test/x.wav 1\n"), {}, r":13: .*'id00802-enroll' is enro"),
        (lambda d: append(d / LISTS / "trials.lst", "id00800-enroll test/x.wav 1\n"), {}, r"1 utterances .*'test/x'"),
        (lambda d: append(d / LISTS / "trials.lst", "id00800-enroll test/id00801-play-04-001.wav 1\n"), {}, r"1 of 13 label"),
        (lambda d: append(d / LISTS / "enroll.lst", "id00800-enroll\n"), {}, r"enroll.lst:3: expected"),
        (lambda d: append(d / LISTS / "enroll.map", "id00800-enroll a b\n"), {"enrol": "utterances"}, r"enroll.map:3: expected"),
        (lambda d: append(d / LISTS / "enroll.map", "x id00800/none.wav\n"), {"enrol": "utterances"}, r"1 of 5 recordings "),
        (lambda d: append(d / "CN-Celeb_flac/dev/dev.lst", "\nid00009"), {}, r"1 of 4 speakers that the lists name .*id00009"),
        (lambda d: append(d / "CN-Celeb_flac/dev/dev.lst", "\nid00800"), {}, r"1 speakers are in two sets, first 'id00800'"),
        (lambda d: shutil.rmtree(d / "CN-Celeb2_flac"), {}, r"no folder with spk.lst in it; .*--set prepare.train=cnceleb1"),
        (lambda d: shutil.rmtree(d / "CN-Celeb_flac" / "eval" / "test"), {}, r"eval/test: no audio file there"),
        (lambda d: shutil.rmtree(d / "CN-Celeb_flac"), {}, r"no eval/lists/trials.lst below it; .*steps.download cnceleb"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(original, tmp_path, spoil, changes, words):
    data = Path(shutil.copytree(original, tmp_path / "data"))
    spoil(data)
    with pytest.raises(RecipeError, match=words):
        run(data, tmp_path / "x", **changes)


@pytest.mark.parametrize("changes", [{"train": "cnceleb"}, {"enrol": "x"}, {"split": "made"}])
def test_settings_are_checked(changes):
    with pytest.raises(ValueError, match="expected"):
        Settings(**changes)
