"""The tables of an alignment of two systems (alignment.json): errors in four cells, and the share of the gain that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.tables.results import interval, per_cent
from steps.tables.table import Table, markdown_text, to_html, to_markdown, without_empty_columns

Record = Mapping[str, Any]  # what alignment.json holds

CELLS = {
    "old_old": "Old / old",
    "new_new": "New / new",
    "enrol_new_run_old": "Enrol new, run old",
    "enrol_old_run_new": "Enrol old, run new",
}
ASYMMETRIC = ("enrol_new_run_old", "enrol_old_run_new")
_ERRORS = {"eer": "EER %", "frr": "FRR %"}
_REFERENCE = "logit"


def alignment_tables(record: Record) -> list[Table]:
    """Return for each size of profiles a table of EERs and one of FRRs: cells by methods, with intervals."""
    sizes = [each["num_utterances"] for each in record["profiles"]]
    return [_table(record, size, error) for size in sizes for error in _ERRORS]


def gain_table(record: Record) -> Table:
    """Return the gain shares of all methods and sizes of profiles, the new system enrolled or run; see `alignment_note`."""
    rows = []
    for method in _methods(record):
        for each in record["profiles"]:
            cells = [_row(record, each["num_utterances"], method, cell) for cell in ASYMMETRIC]
            values = [_gain(row, error) for error in _ERRORS for row in cells]
            rows.append((method, str(each["num_utterances"]), *values))
    columns = ("Method", "Utterances", *(f"{CELLS[cell]}: G of {error}" for error in ("EER", "FRR") for cell in ASYMMETRIC))
    return without_empty_columns(Table(title="Share of the gain", columns=columns, rows=tuple(rows)))


def profiles_table(record: Record) -> Table:
    """Return how many profiles and trials there are of each size."""
    keys = ("num_utterances", "num_profiles", "num_speakers", "num_left_out", "num_target", "num_nontarget")
    rows = tuple(tuple(f"{each[key]:,}" for key in keys) for each in record["profiles"])
    columns = ("Utterances", "Profiles", "Speakers", "Speakers left out", "Target", "Non-target")
    return Table(title="Profiles and trials", columns=columns, rows=rows, num_left=1)


def alignment_title(record: Record) -> str:
    """Return the heading of the tables of a record."""
    return f"{record['name']}: {record['old']} (old) and {record['new']} (new)"


def alignment_note(record: Record) -> str:
    """Return what the tables mean, as one paragraph."""
    dims = record["dims"]
    return (
        "Profiles are means of unit embeddings by the enrolment model, mapped after the mean; tests are single utterances by the "
        f"run-time model. Methods are fitted on {record['num_train']:,} utterances of {record['num_train_speakers']:,} speakers "
        f"({record['train_set']}), embedded by {record['old']} ({dims['old']} dimensions) and {record['new']} ({dims['new']}). "
        f"FRR is the rate of false rejections at a false-acceptance rate of {100 * record['far']:g} %. Intervals: 95 %, joint "
        f"bootstrap over speakers, {record['replicates']:,} replicates, the same for all cells and methods. Gain share G = "
        "(old / old - this cell) / (old / old - new / new), both of these without a method. Where the new system is not better "
        "in a replicate, G is undefined: the interval is that of the other replicates, and behind it stands how many are. "
        "Without a method, two models that were trained apart are at chance (EER 50 %)."
    )


def render_markdown(record: Record) -> str:
    """Return all tables as a Markdown document."""
    tables = [profiles_table(record), gain_table(record), *alignment_tables(record)]
    parts = [f"# {markdown_text(alignment_title(record))}\n", f"{markdown_text(alignment_note(record))}\n"]
    return "\n".join([*parts, *(f"## {table.title}\n\n{to_markdown(table)}" for table in tables)])


def render_html(record: Record) -> str:
    """Return all tables as HTML, without a page around them."""
    return "".join(map(to_html, (profiles_table(record), gain_table(record), *alignment_tables(record))))


def _table(record: Record, size: int, error: str) -> Table:
    rows = []
    for method in _methods(record):
        cells = {cell: _row(record, size, method, cell) for cell in CELLS}
        differences = [_difference(cells[cell], error) for cell in ASYMMETRIC]
        rows.append((method, *(_figure(row, error) for row in cells.values()), *differences))
    columns = (
        "Method", *(f"{name}: {_ERRORS[error]}" for name in CELLS.values()),
        *(f"{CELLS[cell]}: less {_REFERENCE}" for cell in ASYMMETRIC),
    )  # fmt: skip
    what = "EER" if error == "eer" else f"FRR at FAR {100 * record['far']:g} %"
    title = f"{what}, profiles of {size} utterance{'s' if size > 1 else ''}"
    return without_empty_columns(Table(title=title, columns=columns, rows=tuple(rows), num_left=1))


def _methods(record: Record) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in record["figures"]))


def _row(record: Record, size: int, method: str, cell: str) -> Record | None:
    wanted = (size, method, cell)
    return next((row for row in record["figures"] if (row["profile"], row["method"], row["cell"]) == wanted), None)


def _figure(row: Record | None, error: str) -> str | None:
    return None if row is None else f"{per_cent(row[error])} {interval(row[f'{error}_ci95'])}"


def _gain(row: Record | None, error: str) -> str | None:
    """Return `share [lo, hi]`, and where replicates leave it undefined how many do."""
    gain = row.get(f"{error}_gain") if row else None
    if not gain:
        return None
    share = "undefined" if gain["share"] is None else f"{gain['share']:.2f}"
    bounds = f" [{gain['ci95'][0]:.2f}, {gain['ci95'][1]:.2f}]" if gain["ci95"] else ""
    return share + bounds + (f" ({100 * gain['undefined']:.1f} % undefined)" if gain["undefined"] else "")


def _difference(row: Record | None, error: str) -> str | None:
    found = row.get(f"{error}_minus_{_REFERENCE}") if row else None
    return f"{per_cent(found['difference'], sign=True)} {interval(found['ci95'])}" if found else None
