"""RESULTS.md holds every kind of record, in one order whatever the order given."""

from steps.tables.document import render_markdown

FIGURES = {
    "num_target": 100, "num_nontarget": 200, "num_missing": 0, "eer": 0.1, "eer_rocch": 0.09, "eer_ci95": [0.05, 0.2],
    "min_dcf": {"0.01": 0.5}, "act_dcf": None, "cllr": None, "min_cllr": 0.2,
}  # fmt: skip
EER = {"value": 0.1, "difference": 0.02, "ci95": [0.01, 0.03], "p_value": 0.01, "p_holm": 0.02}
ROW = {
    "profile": 3,
    "method": "logit",
    "cell": "enrol_new_run_old",
    "eer": 0.123,
    "eer_ci95": [0.1, 0.2],
    "frr": 0.3,
    "frr_ci95": [0, 1],
}


def _record(system, **changes):
    return {
        "recipe": "demo", "system": system, "backend": "cosine", "num_parameters": None, "train_seconds": None,
        "fingerprint": "f", "trials": {"o": FIGURES, "o-sea": FIGURES}, "commit": "c", "dirty": False,
        "command": "./run.sh", "seconds": 1.0,
        "date": "2025-01-01",
    } | changes  # fmt: skip


def _sweep(name):
    return {
        "name": name, "recipe": "demo", "title": f"Sweep_{name}_", "form": "matrix", "note": "A *note*.",
        "axes": [{"name": "x", "values": ["1"]}], "points": [{"values": ["1"], "trials": {"o": {"eer": 0.345}}}],
        "command": f"./run.sh --sweep {name}.toml", "commit": "0123456789abc", "dirty": True, "date": "2025-01-02T03",
    }  # fmt: skip


def _alignment(name):
    counts = dict.fromkeys(("num_profiles", "num_speakers", "num_left_out", "num_target", "num_nontarget"), 7)
    return {
        "name": name, "old": "a", "new": "b", "train_set": "train", "far": 0.01, "replicates": 10, "num_train": 9,
        "num_train_speakers": 3, "dims": {"old": 5, "new": 6}, "profiles": [{"num_utterances": 3} | counts],
        "figures": [ROW], "commit": "c", "dirty": False,
        "date": "2025-01-03T04",
    }  # fmt: skip


COMPARISON = {"reference": "a", "reference_fingerprint": "f", "replicates": 9, "trials": {"o": {"num_trials": 30, "eer": EER}}}
RECORDS = [_record("a"), _record("b", comparison=COMPARISON, tasks={"few_shot": [
    {"ways": 5, "shots": 1, "distance": "cosine", "accuracy": 0.765, "ci95": None, "reason": None}
]})]  # fmt: skip


def test_every_kind_of_record_has_its_part_and_order_does_not_matter():
    more = {"recipe": "demo", "reference": "a"}
    text = render_markdown(RECORDS, [], sweeps=[_sweep("t"), _sweep("s")], alignments=[_alignment("z"), _alignment("y")], **more)
    again = render_markdown(
        RECORDS[::-1], [], sweeps=[_sweep("s"), _sweep("t")], alignments=[_alignment("y"), _alignment("z")], **more
    )
    assert text == again
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert heads == [
        "## Published and ours", "## All figures", "## Differences from a", "## o by corpus", "## Few-shot tasks: accuracy",
        r"## Sweep: Sweep_s\_", r"## Sweep: Sweep_t\_", "## Alignment y: a (old) and b (new)",
        "## Alignment z: a (old) and b (new)",
        "## Runs",
    ]  # fmt: skip
    for part in ("| o | b | 10.00 | +2.00 | [1.00, 3.00] | 0.010 | 0.020 | 30 |", "76.50", "12.30 [10.00, 20.00]"):
        assert part in text


def test_pictures_stand_where_what_they_show_is_told():
    names = ("forest", "few_shot", "sweep.s.o", "sweep.st.o", "hours.s", "pca.a")
    pictures = {name: f"figures/{name}.svg" for name in names}
    text = render_markdown(RECORDS, [], recipe="demo", reference="a", sweeps=[_sweep("s"), _sweep("st")], pictures=pictures)
    lines = [line for line in text.splitlines() if line.startswith(("## ", "![")) and "Published" not in line]
    assert lines[:11] == [
        "## All figures", "![forest](figures/forest.svg)", "## Differences from a", "## o by corpus",
        "## Few-shot tasks: accuracy", "![few_shot](figures/few_shot.svg)", "## Embeddings", "![pca.a](figures/pca.a.svg)",
        r"## Sweep: Sweep_s\_", "![hours.s](figures/hours.s.svg)", "![sweep.s.o](figures/sweep.s.o.svg)",
    ]  # fmt: skip
    assert "![sweep.st.o](figures/sweep.st.o.svg)" in lines[12:]
    assert "## Embeddings" not in render_markdown(RECORDS, [], recipe="demo")


def test_a_sweep_has_its_title_note_commit_and_command():
    text = render_markdown([], [], recipe="demo", sweeps=[_sweep("s")])
    assert "Sweep_s\\_, EER %:\n\n| x | o |\n| :-- | --: |\n| 1 | 34.50 |\n" in text
    assert (
        "A \\*note\\*. 1 points, commit 0123456789, modified, 2025-01-02; to repeat it:\n\n    ./run.sh --sweep s.toml\n" in text
    )


def test_without_a_reference_or_parts_these_have_no_heading():
    text = render_markdown([_record("a", trials={"o": FIGURES})], [], recipe="demo")
    assert "## Differences" not in text
    assert "by corpus" not in text
    assert "report.html of stage 8" not in text
