"""How trial lists are written: each form that is in use is read as what it says, and what is none is refused by its line."""

import numpy as np
import pytest

from steps.core.errors import RecipeError
from steps.data import columns
from steps.data.names import nearest
from steps.data.score_files import TrialIndex, labelled_blocks, line_of_trial, read_trial_index, write_trial_index
from steps.data.trial_forms import Lines, form_of, has_labels
from steps.data.trials import Trials, check_known, read_trials, subset, write_trials

ROWS = [("a/1", "a/2", True), ("a/1", "b/1", False), ("b/1", "c/2", False), ("c/1", "c/2", True)]


def lines(form: str, yes: str = "1", no: str = "0", head: str = "") -> str:
    return head + "".join(form.format(l=yes if same else no, a=a, b=b) + "\n" for a, b, same in ROWS)


FORMS = {  # name -> (file, text)
    "voxceleb": ("t.txt", lines("{l} {a} {b}")),
    "kaldi": ("t.kaldi", lines("{a} {b} {l}", "target", "nontarget")),
    "sitw": ("t.lst", lines("{a} {b} {l}", "tgt", "imp")),
    "cnceleb": ("trials.lst", lines("{a} {b} {l}")),
    "word first": ("t.txt", lines("{l}\t{a}\t{b}", "target", "non-target")),
    "upper": ("t.txt", lines("{a}  {b} {l}", "TARGET", "NONTARGET")),
    "nist": ("t.tsv", lines("{a}\t{b}\ta\t{l}", "target", "nontarget", "modelid\tsegmentid\tside\ttargettype\n")),
    "nist, more": ("t.tsv", lines("{a}\t{b}.sph\ta\t{l}\tY", "target", "imp", "modelid\tsegmentid\tside\ttargettype\tgender\n")),
    "sdsv": ("t.txt", lines("{a} {b} {l}", "tgt", "imp", "model-id evaluation-file-id label\n")),
    "csv": ("t.csv", lines("{l},{a},{b}", head="label,enrol,test\n")),
    "pandas": ("t.csv", lines('"{a}","{b}",{l}', "1.0", "0.0", "utt1,utt2,label\n")),
    "true": ("t.csv", lines("{a};{b};{l}", "True", "False", "enrollment;test;is_target\n")),
    "no header": ("t.csv", lines("{a},{b},{l}")),
    "no header, first": ("t.csv", lines("{l}, {a}, {b}")),
    "espnet": ("trial.label", lines("{a}*{b} {l}")),
}  # fmt: skip


def found(path):
    trials = read_trial_index(path)
    names = [name.removesuffix(".sph") for name in trials.test_ids]
    labels = [None] * len(trials) if trials.is_target is None else trials.is_target.tolist()
    return list(zip(trials.enrol_ids, names, labels, strict=True))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_form_says_the_same(tmp_path, form, mark):
    name, text = FORMS[form]
    (tmp_path / name).write_text(mark + text.replace("\n", "\r\n\r\n" if mark else "\n"))
    assert found(tmp_path / name) == ROWS
    assert has_labels(tmp_path / name)
    first = 1 + ("modelid" in text or "model-id" in text or "utt1" in text or "enrol" in text)
    row = 2
    assert line_of_trial(tmp_path / name, row) == (first + row if not mark else 2 * (first + row) - 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.txt", lines("{a} {b}")), ("t.txt", lines("{a}\t{b}")), ("t.txt", lines("- {a} {b}")), ("t.csv", lines("{a},{b}")),
        ("t.tsv", lines("{a}\t{b}\ta", head="modelid\tsegmentid\tside\n")),
        ("t.txt", lines("{a} {b}", head="model-id evaluation-file-id\n")), ("t.csv", lines("{a},{b}", head="enrol,test\n")),
    ],
)  # fmt: skip
def test_lists_without_labels_are_lists(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert found(tmp_path / name) == [(a, b, None) for a, b, _ in ROWS]
    assert not has_labels(tmp_path / name)
    trials = read_trials(tmp_path / name)
    assert (trials.is_target, trials.num_target, trials.num_nontarget) == (None, 0, 0)
    # Written with a dash, by both writers, which a reader of numbers does not take for a label; and read again.
    write_trials(tmp_path / "short", subset(trials, lambda enrol, test: enrol != "c/1"))
    write_trial_index(tmp_path / "long", TrialIndex.of(trials.enrol_ids, trials.test_ids, None).select(np.arange(3)))
    assert (tmp_path / "short").read_text() == "- a/1 a/2\n- a/1 b/1\n- b/1 c/2\n"
    assert (tmp_path / "long").read_bytes() == (tmp_path / "short").read_bytes()
    with pytest.raises(RecipeError, match="no labels|is a table"):
        list(labelled_blocks(tmp_path / name))


def test_names_with_blanks_and_commas_are_names(tmp_path):
    (tmp_path / "t.tsv").write_text("enrol\ttest\tlabel\na b/1\tc d/2\t1\n")
    assert found(tmp_path / "t.tsv") == [("a b/1", "c d/2", True)]
    (tmp_path / "t.txt").write_text("1 a,b c,d\n0 a,b e,f\n")
    assert found(tmp_path / "t.txt") == [("a,b", "c,d", True), ("a,b", "e,f", False)]
    (tmp_path / "t.csv").write_text("1,a b,c d\n")
    assert found(tmp_path / "t.csv") == [("a b", "c d", True)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("enrol.wav test.wav\nenrol.wav b.wav\n", [("enrol.wav", "test.wav", None), ("enrol.wav", "b.wav", None)]),
        ("reference.wav test.wav\na b\n", [("reference.wav", "test.wav", None), ("a", "b", None)]),
        ("enrol test\n", [("enrol", "test", None)]),
        ("enrol test\ntest other\n", [("enrol", "test", None), ("test", "other", None)]),
        ("enrol test target\nenrol b nontarget\n", [("enrol", "test", True), ("enrol", "b", False)]),
        ("1 enrol test\n0 enrol b\n", [("enrol", "test", True), ("enrol", "b", False)]),
        ("enrol test target\na b 1\n", [("a", "b", True)]),  # a header
        ("enrol test\na b\n", [("a", "b", None)]),
    ],
)
def test_recordings_may_be_called_as_columns_are(tmp_path, text, rows):
    (tmp_path / "t.txt").write_text(text)
    assert found(tmp_path / "t.txt") == rows


def test_where_the_first_line_could_be_two_forms_the_others_decide(tmp_path):
    (tmp_path / "t.txt").write_text("1 0 1\n1 7 0\n7 1 0\n")  # ids that are numbers, the label last
    assert found(tmp_path / "t.txt") == [("1", "0", True), ("1", "7", False), ("7", "1", False)]
    (tmp_path / "t.txt").write_text("1 0 1\n0 7 0\n0 1 7\n")
    assert found(tmp_path / "t.txt") == [("0", "1", True), ("7", "0", False), ("1", "7", False)]
    (tmp_path / "t.txt").write_text("1 a target\n1 b nontarget\n")  # a speaker called 1
    assert found(tmp_path / "t.txt") == [("1", "a", True), ("1", "b", False)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.txt", "a b c\n", r"t.txt:1: malformed trial 'a b c'.*correct the line"),
        ("t.txt", "\n\na b\nc\n", r"t.txt:4: malformed trial 'c'"),
        ("t.txt", "a b\n1 c d\n", r"t.txt:2: malformed trial '1 c d'"),
        ("t.txt", "1 a b\n- c d\n", r"t.txt:2: malformed trial '- c d'.*the lines above have the form '<1\|0> <enrolment id>"),
        ("t.txt", "1 a b\n0 c d e\n", r"t.txt:2: malformed trial '0 c d e'"),
        ("t.txt", "m a b c\n", r"t.txt:1: malformed trial.*if it is of models .*--set prepare.enrolment=FILE"),
        ("t.txt", "s u bonafide target\n", r"t.txt:1: .*spoofed speech, 'bonafide', are not scored"),
        ("t.txt", "a b target\na c spoof\n", r"t.txt:2: .*spoofed speech, 'spoof'"),
        ("t.txt", "label left right\n1 a b\n", r"t.txt:1: .*if it is a header: name the columns enrol, test and label"),
        ("t.csv", "enrol,test,label\na,b\n", r"t.csv:2: malformed trial 'a,b'; expected 3 fields"),
        ("t.csv", "enrol,test,label\na,b,\n", r"t.csv:2: malformed trial 'a,b,'; expected 3 fields, none of them empty"),
        ("t.csv", "enrol,test,label\na,b,\n", r"or, if no trial has a label, remove that column"),
        ("t.csv", "utt1,utt2,match\na,b,1\nc,d,0\n", r"t.csv:1: column 'match' says 0 and 1, as labels do.*call it 'label'"),
        ("t.csv", "utt1,utt2,is_match\na,b,True\nc,d,False\n", r"column 'is_match' says false and true, as labels do"),
        (
            "t.json",
            '[{"enrol": "a", "test": "b", "label": 1}]',
            r"t.json:1: malformed trial .*\(JSON is not read: write a table\)",
        ),
        (
            "t.json",
            '{"enrol": "a", "test": "b", "label": 1}\n',
            r"t.json:1: malformed trial .*\(JSON is not read: write a table\)",
        ),
        ("t.csv", "enrol,test,label\na,b,maybe\n", r"t.csv:2: label 'maybe' in 'a,b,maybe'; expected 1 or 0"),
        ("t.csv", "enrol,model,test\na,b,c\n", r"t.csv:1: columns 'enrol' and 'model' both say 'enrol'"),
        ("t.tsv", "modelid\tsegmentid\tside\nm\ts\ta\nm\ts\tb\n", r"t.tsv:3: side 'b'.*an utterance of its own"),
        ("t.csv", "enrol,test,label\n\n", "t.csv: the trial list is empty"),
        ("t.label", "a*b 1\nab 1\n", r"t.label:2: malformed trial 'ab 1'"),
        (
            "t.csv",
            "enrol,test,label\na,b,1\nc,d,0\nb,a,0\n",
            r"t.csv:4: the trial of 'b' and 'a' is a non-target .* line 2 a tar",
        ),
        ("t.txt", "a b tgt\nc d imp\nb a imp\n", r"t.txt:3: the trial of 'b' and 'a' is a non-target trial, and in line 1 a tar"),
    ],
)
def test_what_is_no_list_is_refused_by_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_trials(tmp_path / name)


def test_the_form_is_that_of_the_whole_file_however_it_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(columns, "BLOCK_BYTES", 64)
    (tmp_path / "t.txt").write_text("\n" * 200 + lines("{a} {b} {l}", "target", "imp"))
    assert found(tmp_path / "t.txt") == ROWS
    assert isinstance(form_of(tmp_path / "t.txt"), Lines)
    assert line_of_trial(tmp_path / "t.txt", 3) == 204


def test_unknown_names_are_said_with_their_line_and_what_is_like_them(tmp_path):
    (tmp_path / "t.csv").write_text("enrol,test,label\nanna/1,ben/1,0\nanna/1,anna/02,1\n")
    trials = read_trials(tmp_path / "t.csv")
    known = ["anna/1", "anna/2", "ben/1", "carl/1"]
    message = r"t.csv:3: 1 utterances in 1 of 2 trials are unknown: 'anna/02'; expected some of the 4 known, such as 'anna/2'"
    with pytest.raises(RecipeError, match=message + r".* more$"):
        check_known(trials, known, str(tmp_path / "t.csv"), advice=lambda name: " more")
    with pytest.raises(RecipeError, match="of which there are none"):
        check_known(Trials(["a"], ["b"], None), [], "here")


def test_the_nearest_are_of_the_same_last_part_or_spelt_alike():
    known = ["id1/x/00001", "id1/y/00002", "id2/x/00001", "anna-first", "Ärger"]
    assert nearest("id1-x-00001.wav", known) == ["id1/x/00001"]
    assert nearest("/data/id2/x/00001.wav", known)[0] == "id2/x/00001"
    assert nearest("anna-frist", known) == ["anna-first"]
    assert nearest("zzz", known) == []
    many = [f"s{n:05d}/u" for n in range(30_000)]
    assert nearest("s00700/v", many)[0] == "s00700/u"
