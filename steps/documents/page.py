"""report.html of a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from steps.documents.facts import RecipeFacts
from steps.documents.records import Records
from steps.tables.alignment import alignment_title
from steps.tables.alignment import render_html as alignment_html
from steps.tables.comparison import calibration_table, paired_table
from steps.tables.data import data_tables, of_records, remark_lines
from steps.tables.document import heading, missing_systems
from steps.tables.page import Section, commands, folded, listing, pictures, render_page
from steps.tables.results import (
    comparison_table,
    corpus_tables,
    decision_tables,
    figured,
    of_systems,
    pooled_table,
    repeat_command,
    runs_table,
    scored_only_table,
)
from steps.tables.sweep import published_table, sweep_tables
from steps.tables.table import to_html
from steps.tables.tasks import task_tables


@dataclass(kw_only=True)
class Findings:
    """What a report worked out and drew beyond the records: rows of tables, and pictures as SVG elements."""

    comparisons: dict[str, dict[str, Any]] = field(default_factory=dict)  # system -> its "comparison"
    calibration: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)  # list, system, figures
    dets: list[str] = field(default_factory=list)
    forests: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    by_system: dict[str, list[str]] = field(default_factory=dict)  # system -> histogram, Tippett plot, ... of each list
    tasks: list[str] = field(default_factory=list)
    sweeps: dict[str, list[str]] = field(default_factory=dict)  # name -> pictures
    training: list[str] = field(default_factory=list)
    embeddings: dict[str, list[str]] = field(default_factory=dict)  # system -> pictures of its embeddings


def report_page(records: Records, recipe: str, facts: RecipeFacts, found: Findings) -> str:
    """Return the whole page; `records.systems` in the order to show."""
    systems, only = figured(records.systems), scored_only_table(records.systems)
    comparison = comparison_table(systems, of_systems(facts.published))
    paired = paired_table(systems, facts.reference)
    pooled = to_html(pooled_table(systems)) if pooled_table(systems).rows else ""
    by_corpus = folded("Tables", "".join(map(to_html, corpus_tables(systems))))
    by_system = "".join(folded(system, pictures(svgs)) for system, svgs in found.by_system.items())
    calibration = to_html(calibration_table(found.calibration)) if found.calibration else ""
    sections = [
        Section(title="Results", body=pooled + pictures(found.forests[:1]) + (to_html(only) if only.rows else "")),
        Section(title="DET plots", body=pictures(found.dets)),
        Section(title=paired.title, body=to_html(paired) + pictures(found.differences) if paired.rows else ""),
        Section(title=comparison.title, body=to_html(comparison)),
        Section(title="Decisions", body="".join(map(to_html, decision_tables(systems)))),
        Section(title="Not run", body=listing(missing_systems(systems, facts.systems, facts.not_run))),
        Section(title="Other tasks", body="".join(map(to_html, task_tables(systems))) + pictures(found.tasks)),
        Section(title="Embeddings", body="".join(folded(system, pictures(svgs)) for system, svgs in found.embeddings.items())),
        Section(title="By corpus", body=pictures(found.forests[1:]) + by_corpus),
        Section(title="Scores and calibration", body=calibration + by_system),
        *_sweeps(records, found, facts),
        *(Section(title=f"Alignment {alignment_title(each)}", body=alignment_html(each)) for each in records.alignments),
        *(
            Section(title=f"Data of {', '.join(of)}", body="".join(map(to_html, data_tables(data))) + listing(remark_lines(data)))
            for of, data in of_records(systems)
        ),
        Section(title="Training", body=pictures(found.training)),
        Section(title="Runs", body=to_html(runs_table(systems)) + commands([repeat_command(r) for r in systems])),
    ]
    introduction = f"Recipe {recipe}: {len(systems)} systems. EER in per cent, with the 95% interval of a bootstrap over "
    introduction += "speakers; costs are divided by min(p, 1 - p); published figures are as published, not ours."
    return render_page(heading(recipe, facts.title), introduction, sections)


def _sweeps(records: Records, found: Findings, facts: RecipeFacts) -> Sequence[Section]:
    return [
        Section(
            title=f"Sweep: {sweep['title']}",
            body="".join(
                to_html(table) for table in (*sweep_tables(sweep), published_table(sweep, facts.published)) if table.rows
            )
            + pictures(found.sweeps.get(sweep["name"], []))
            + commands([sweep["command"]]),
        )
        for sweep in records.sweeps
    ]
