"""Tables of systems against a reference: paired differences, and what calibration changed.

A record may hold "comparison": {"reference": system, "reference_fingerprint": of its record, "replicates", "trials": {list:
{"num_trials", "eer": {"value", "difference", "ci95", "p_value", "p_holm", ...}}}}; steps/documents/comparison.py makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steps.tables.results import TOO_FEW, Record, cost, interval, is_few, list_names, per_cent, pooled_lists
from steps.tables.table import Table, without_empty_columns

_NOTE = (
    "Differences are percentage points of EER, the system minus {reference}; below 0 is better. Both are scored on the same "
    "trials and weighted with the same {replicates} draws of speakers, {rule}; p is two-sided, p (Holm) corrected for the number "
    "of systems in a list."
)
_RULE = "a same-speaker trial with its speaker's count instead of the square (the intervals of single figures take the square)"


def paired_table(records: Sequence[Record], reference: str) -> Table:
    """Return a row a pooled list and system: difference of EER from the reference, 95% interval, p-values.

    A comparison with another reference, or with an older run of it (another fingerprint), is left out.
    """
    fingerprints = {record["system"]: record["fingerprint"] for record in records}
    rows, replicates = [], set()
    for name in pooled_lists(list_names(records)):
        for record in records:
            found = record.get("comparison") or {}
            current = (reference, fingerprints.get(reference))
            if (found.get("reference"), found.get("reference_fingerprint")) == current and name in found["trials"]:
                rows.append((name, record["system"], *_paired_cells(found["trials"][name], record["trials"].get(name, {}))))
                replicates.add(found["replicates"])
    columns = ("List", "System", "EER %", "Difference", "95% interval", "p", "p (Holm)", "Trials")
    draws = " or ".join(f"{number:,}" for number in sorted(replicates))
    note = _NOTE.format(reference=reference, rule=_RULE, replicates=draws) if rows else ""
    return Table(title=f"Differences from {reference}", columns=columns, rows=tuple(rows), note=note)


def probability(value: float | None) -> str | None:
    """Return a p-value with as many decimals as it deserves, None for None."""
    return None if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def calibration_table(rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Table:
    """Return what calibration changed: (list, system, figures), with "min_cllr", and each of "cllr" and "act_dcf" (by prior as
    text) as (before, after); a system without calibration has None after.
    """
    priors = sorted({prior for *_, figures in rows for prior in figures["act_dcf"]}, key=float)
    columns = ["List", "System", "minCllr", "Cllr before", "Cllr after"]
    columns += [
        f"{kind}({p}){when}" for p in priors for kind, when in (("minDCF", ""), ("actDCF", " before"), ("actDCF", " after"))
    ]
    cells = []
    for name, system, figures in rows:
        costs = [
            value for prior in priors for value in (figures["min_dcf"].get(prior), *figures["act_dcf"].get(prior, (None, None)))
        ]
        values = [cost(value) for value in (figures["min_cllr"], *figures["cllr"], *costs)]
        cells.append((name, system, *values))
    note = "Before calibration a score is taken for a log-likelihood ratio; only that of a generative back end claims to be one."
    table = Table(title="Before and after calibration", columns=tuple(columns), rows=tuple(cells), note=note if rows else "")
    return without_empty_columns(table)


def _paired_cells(found: Mapping[str, Any], figures: Mapping[str, Any]) -> tuple[str | None, ...]:
    """The cells of a comparison on a list whose figures these are: of few speakers neither an interval nor a p-value tells."""
    eer, few = found["eer"], is_few(figures)
    return (
        per_cent(eer["value"]),
        per_cent(eer["difference"], sign=True),
        f"[{TOO_FEW}]" if few else interval(eer["ci95"]),
        None if few else probability(eer["p_value"]),
        None if few else probability(eer.get("p_holm")),
        f"{found['num_trials']:,}",
    )
