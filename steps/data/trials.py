"""Trial lists and score files: reading, writing, and making lists from a set of utterances.

A trial compares an enrolment utterance with a test utterance; it is a target trial where both are of the same
speaker. Lists that are made here never pair an utterance with itself and never hold a pair twice, in either
order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steps.core.errors import RecipeError
from steps.core.files import atomic_write
from steps.data.manifests import Utterance
from steps.data.names import nearest
from steps.data.score_files import line_of_trial, read_score_index, read_trial_index
from steps.data.trial_forms import NO_LABEL

# Two lists of references and one of bits: 20 million trials take about 350 MB, and as many scores again.
MAX_PAIRS = 20_000_000

# How often `balanced` looks for partners. Ordinary sets are done after a few rounds; the limit keeps a set in
# which a speaker has nobody to be compared with from taking hours.
_MAX_ROUNDS = 2000

_NUM_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Trials:
    """A trial list: item i compares enrol_ids[i] with test_ids[i]."""

    enrol_ids: list[str]
    test_ids: list[str]
    is_target: np.ndarray | None  # [N] bool; None: the list has no labels

    def __post_init__(self) -> None:
        num_labels = len(self.enrol_ids) if self.is_target is None else len(self.is_target)
        if not len(self.enrol_ids) == len(self.test_ids) == num_labels:
            raise ValueError(
                f"a trial list needs columns of one length, found {len(self.enrol_ids)} enrolment ids, "
                f"{len(self.test_ids)} test ids and {num_labels} labels"
            )

    def __len__(self) -> int:
        return len(self.enrol_ids)

    @property
    def num_target(self) -> int:
        """Number of target trials; 0 without labels."""
        return 0 if self.is_target is None else int(np.count_nonzero(self.is_target))

    @property
    def num_nontarget(self) -> int:
        """Number of non-target trials; 0 without labels."""
        return 0 if self.is_target is None else len(self) - self.num_target


def read_trials(path: Path) -> Trials:
    """Return the trials of a list, in its order; for very long ones see `score_files.read_trial_index`.

    One form per file (trial_forms.py): VoxCeleb's `<1|0> <enrolment id> <test id>`, Kaldi's
    `<enrolment id> <test id> <target|nontarget>`, lists without labels, CSV, TSV. Empty lines are passed over.

    Raises:
        RecipeError: missing or empty list, a malformed line, two forms in one file, or a pair that is a target trial in
            one line and a non-target trial in another.
    """
    index = read_trial_index(path)
    return Trials(index.enrol_ids, index.test_ids, index.is_target)


def write_trials(path: Path, trials: Trials) -> None:
    """Write lines `<1|0> <enrolment id> <test id>` in the order of the list, with `-` where there are no labels.

    Raises:
        RecipeError: there is no trial.
    """
    if not len(trials):
        raise RecipeError(f"{path}: the trial list is empty; expected at least one trial; check what the list is made from")
    labels = [NO_LABEL] * len(trials) if trials.is_target is None else trials.is_target.astype(int).tolist()
    rows = zip(labels, trials.enrol_ids, trials.test_ids, strict=True)
    with atomic_write(path) as file:
        file.writelines(f"{label} {enrol} {test}\n" for label, enrol, test in rows)


def write_scores(path: Path, enrol_ids: Sequence[str], test_ids: Sequence[str], scores: np.ndarray) -> None:
    """Write lines `<enrolment id> <test id> <score>`; nine significant digits keep every float32 as it is.

    Raises:
        ValueError: columns of different lengths, or a score that is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not len(enrol_ids) == len(test_ids) == len(scores):
        raise ValueError(f"{path}: {len(enrol_ids)} enrolment ids, {len(test_ids)} test ids and {len(scores)} scores")
    if not np.isfinite(scores).all():
        first = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(
            f"{path}: score {scores[first]} for '{enrol_ids[first]}' and '{test_ids[first]}'; expected finite scores"
        )
    rows = zip(enrol_ids, test_ids, scores.tolist(), strict=True)
    with atomic_write(path) as file:
        file.writelines(f"{enrol} {test} {score:.9g}\n" for enrol, test, score in rows)


def read_scores(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Return (enrolment ids, test ids, float64 scores [N]) of a score file, in its order.

    Raises:
        RecipeError: missing or empty file, a malformed line, or a score that is not a finite number.
    """
    ids, enrol_P, test_P, scores = read_score_index(path)
    return [ids[number] for number in enrol_P.tolist()], [ids[number] for number in test_P.tolist()], scores


def check_known(trials: Trials, ids: Collection[str], where: str, *, advice: Callable[[list[str]], str] | None = None) -> None:
    """Raise a RecipeError with the first utterances of the trials that are not among the ids, and counts.

    Args:
        trials: of a list.
        ids: of the utterances and models that there are.
        where: the list comes from; where it is a file of them, the first line is named.
        advice: what else is to be said, given the unknown names.
    """
    known = ids if isinstance(ids, set | frozenset | dict) else set(ids)
    counts: dict[str, int] = {}
    rows = []
    for row, pair in enumerate(zip(trials.enrol_ids, trials.test_ids, strict=True)):
        unknown = [name for name in pair if name not in known]
        rows += [row] * bool(unknown)
        for name in unknown:
            counts[name] = counts.get(name, 0) + 1
    if counts:
        shown = ", ".join(f"'{name}'" for name in list(counts)[:_NUM_SHOWN])
        like = nearest(next(iter(counts)), known)
        example = (
            f"such as {', '.join(map(repr, like))}" if like else f"such as '{min(known)}'" if known else "of which there are none"
        )
        more = advice(list(counts)) if advice else ""
        line = f":{line_of_trial(Path(where), rows[0])}" if Path(where).is_file() else ""
        raise RecipeError(
            f"{where}{line}: {len(counts)} utterances in {len(rows)} of {len(trials)} trials are unknown: {shown}"
            f"{', ...' if len(counts) > _NUM_SHOWN else ''}; expected some of the {len(known)} known, {example}; correct the "
            f"list, or add the recordings{more}"
        )


def all_pairs(
    utterances: Iterable[Utterance],
    *,
    cross_session: bool = False,
    same_gender: bool = False,
    within_corpus: bool = False,
    max_trials: int = MAX_PAIRS,
) -> Trials:
    """Return every pair of utterances as one trial, sorted by enrolment and test id.

    Args:
        utterances: of the test set.
        cross_session: leave out target pairs of one session (session names belong to their speaker).
        same_gender: only pairs of the same documented gender.
        within_corpus: only pairs of the same sub-corpus.
        max_trials: more pairs than this are an error.

    Raises:
        RecipeError: too many pairs, no target pair or no non-target pair.
    """
    items = _Columns(utterances)
    group_N = items.groups(same_gender=same_gender, within_corpus=within_corpus)
    sizes = np.bincount(group_N[group_N >= 0]) if (group_N >= 0).any() else np.zeros(1, dtype=np.int64)
    num_pairs = int((sizes.astype(np.int64) * (sizes - 1) // 2).sum())
    if num_pairs > max_trials:
        raise RecipeError(
            f"all pairs of {len(items)} utterances are {num_pairs} trials; expected at most {max_trials}; "
            "make a 'balanced' list instead, or compare within the sub-corpora only"
        )
    order_N = np.argsort(group_N, kind="stable")[np.count_nonzero(group_N < 0) :]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    blocks = [_upper_pairs(order_N[start:end]) for start, end in zip(starts[:-1], starts[1:], strict=True)]
    first_N, second_N = (np.concatenate(column) for column in zip(*blocks, strict=True))
    if cross_session:
        keep_N = ~items.share_session(first_N, second_N)
        first_N, second_N = first_N[keep_N], second_N[keep_N]
    return items.trials(first_N, second_N, "all pairs")


def balanced(
    utterances: Iterable[Utterance],
    rng: np.random.Generator,
    per_utterance: int = 8,
    *,
    cross_session: bool = False,
    same_gender: bool = False,
    within_corpus: bool = False,
) -> Trials:
    """Return a list of which half is target trials; up to `per_utterance` trials enrol each utterance.

    An utterance enrols per_utterance / 2 target and as many non-target trials, as in the list VoxCeleb1-O, or
    fewer where its speaker has too few others. Pairs are drawn from those that `all_pairs` would allow.

    Raises:
        RecipeError: no target pair, or no non-target pair.
    """
    if per_utterance < 2 or per_utterance % 2:
        raise ValueError(f"per_utterance must be even and at least 2, as half are targets; found {per_utterance}")
    items = _Columns(utterances)
    group_N = items.groups(same_gender=same_gender, within_corpus=within_corpus)

    def is_target_pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        allowed = group_N[first] == group_N[second]
        return allowed & ~items.share_session(first, second) if cross_session else allowed

    def is_nontarget_pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return items.speaker_N[first] != items.speaker_N[second]

    need_N = np.where(group_N >= 0, per_utterance // 2, 0)
    target_pairs = _draw_pairs(items.speaker_N, need_N, is_target_pair, rng)
    need_N = np.bincount(target_pairs[0], minlength=len(items))
    nontarget_pairs = _draw_pairs(group_N, need_N, is_nontarget_pair, rng)
    num = min(len(target_pairs[0]), len(nontarget_pairs[0]))
    # Where someone lacks impostors, both kinds are thinned at random to the same number.
    kept = [np.sort(rng.permutation(len(pairs[0]))[:num]) for pairs in (target_pairs, nontarget_pairs)]
    first_N, second_N = (np.concatenate([target_pairs[side][kept[0]], nontarget_pairs[side][kept[1]]]) for side in range(2))
    return items.trials(first_N, second_N, "balanced trials")


def same_gender_trials(trials: Trials, utterances: Iterable[Utterance]) -> Trials:
    """Return the trials whose utterances are of one documented gender, in their order; possibly none."""
    genders = {utterance.id: utterance.gender for utterance in utterances}
    return subset(trials, lambda enrol, test: bool(genders[enrol]) and genders[enrol] == genders[test])


def trials_by_corpus(trials: Trials, utterances: Iterable[Utterance]) -> dict[str, Trials]:
    """Return sub-corpus name -> the trials within it, sorted by name; only those with a trial."""
    corpora = {utterance.id: utterance.corpus for utterance in utterances}
    pairs = np.array(
        [
            corpora[enrol] if corpora[enrol] == corpora[test] else ""
            for enrol, test in zip(trials.enrol_ids, trials.test_ids, strict=True)
        ]
    )
    return {str(name): _select(trials, np.flatnonzero(pairs == name)) for name in np.unique(pairs) if name}


def subset(trials: Trials, keep: Callable[[str, str], bool]) -> Trials:
    """Return the trials for which keep(enrolment id, test id) holds, in their order."""
    rows = zip(trials.enrol_ids, trials.test_ids, strict=True)
    return _select(trials, np.flatnonzero(np.fromiter((keep(*row) for row in rows), dtype=bool, count=len(trials))))


class _Columns:
    """The utterances as integer columns, sorted by id, so that pairs are drawn without touching a string."""

    def __init__(self, utterances: Iterable[Utterance]) -> None:
        self.items = sorted(utterances, key=lambda utterance: utterance.id)
        self.speaker_N = _codes([item.speaker for item in self.items])
        self.session_N = _codes([item.session for item in self.items])

    def __len__(self) -> int:
        return len(self.items)

    def groups(self, *, same_gender: bool, within_corpus: bool) -> np.ndarray:
        """Return the number of the group an utterance is compared in; -1: none, for want of a gender."""
        labels = [(item.gender if same_gender else "", item.corpus if within_corpus else "") for item in self.items]
        names = {label: number for number, label in enumerate(sorted(set(labels)))}
        group_N = np.array([names[label] for label in labels], dtype=np.int64)
        if same_gender:
            group_N[[not item.gender for item in self.items]] = -1
        return group_N

    def share_session(self, first_N: np.ndarray, second_N: np.ndarray) -> np.ndarray:
        """Return where two utterances are of one speaker and one session."""
        same_speaker = self.speaker_N[first_N] == self.speaker_N[second_N]
        return same_speaker & (self.session_N[first_N] == self.session_N[second_N])

    def trials(self, first_N: np.ndarray, second_N: np.ndarray, what: str) -> Trials:
        """Return the pairs as trials sorted by the two ids."""
        order = np.lexsort((second_N, first_N))
        first_N, second_N = first_N[order], second_N[order]
        is_target_N = self.speaker_N[first_N] == self.speaker_N[second_N]
        num_target = int(np.count_nonzero(is_target_N))
        if num_target in (0, len(is_target_N)):
            raise RecipeError(
                f"{what} of {len(self)} utterances of {len(np.unique(self.speaker_N))} speakers: found "
                f"{num_target} target and {len(is_target_N) - num_target} non-target trials under the conditions "
                "given; expected some of both: two speakers, one of them with two utterances, with prepare.cross_session=true "
                "documented sessions (a column session, or prepare.session_level), and for same-gender "
                "trials documented genders; add recordings, or choose other trial lists"
            )
        ids = [item.id for item in self.items]
        return Trials([ids[i] for i in first_N.tolist()], [ids[i] for i in second_N.tolist()], is_target_N)


def _draw_pairs(
    block_N: np.ndarray,
    need_N: np.ndarray,
    allowed: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return up to need_N[i] allowed pairs (i, j) for each i, both in one block, no pair twice.

    Every block is put in random order on a ring. Round k pairs each item with the k-th after it; the rounds
    up to half the ring's length meet each unordered pair once, so nothing has to be remembered.
    """
    order_N = rng.permutation(len(block_N))
    order_N = order_N[np.argsort(block_N[order_N], kind="stable")]
    sorted_blocks = block_N[order_N]
    start_N = np.searchsorted(sorted_blocks, sorted_blocks, side="left")
    size_N = np.searchsorted(sorted_blocks, sorted_blocks, side="right") - start_N
    place_N = np.arange(len(order_N)) - start_N
    left_N = need_N[order_N].copy()
    found: list[tuple[np.ndarray, np.ndarray]] = []
    open_N = np.arange(len(order_N))
    for step in range(1, _MAX_ROUNDS + 1):
        open_N = open_N[(left_N[open_N] > 0) & (2 * step <= size_N[open_N])]
        if not len(open_N):
            break
        # At half of an even ring, the pairs from the second half repeat those from the first.
        once = open_N[(2 * step < size_N[open_N]) | (2 * place_N[open_N] < size_N[open_N])]
        partner = start_N[once] + (place_N[once] + step) % size_N[once]
        keep = allowed(order_N[once], order_N[partner])
        left_N[once[keep]] -= 1
        found.append((order_N[once[keep]], order_N[partner[keep]]))
    if not found:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _upper_pairs(members_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs (i, j), i before j, of the members."""
    rows, columns = np.triu_indices(len(members_M), k=1)
    return members_M[rows], members_M[columns]


def _codes(names: list[str]) -> np.ndarray:
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.array([numbers[name] for name in names], dtype=np.int64)


def _select(trials: Trials, rows: np.ndarray) -> Trials:
    kept = rows.tolist()
    is_target = None if trials.is_target is None else trials.is_target[rows]
    return Trials([trials.enrol_ids[i] for i in kept], [trials.test_ids[i] for i in kept], is_target)
