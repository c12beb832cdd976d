"""A part of a training set: so many speakers, with as much speech of each."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np


def draw_subset(
    rng: np.random.Generator,
    utt2spk: Mapping[str, str],
    durations: Mapping[str, float],
    *,
    num_speakers: int,
    minutes: float = 0.0,
) -> list[str]:  # fmt: skip
    """Return the utterances, sorted, of `num_speakers` speakers drawn evenly, of each what comes nearest to an equal share.

    With `minutes`, speakers with less than minutes / num_speakers of speech are not drawn, and of the others utterances are
    taken in a drawn order until another one would lead further away from that share than it brings nearer.

    Args:
        rng: draws speakers, then utterances.
        utt2spk: utterance -> speaker.
        durations: utterance -> seconds.
        num_speakers: of the part.
        minutes: of speech in the whole part, about; 0: all of their utterances.

    Source: the idea of experiments with a fixed total that is spread over few or many speakers is that of
    oscarknagg/voicemap ("wide vs tall"); speakers are drawn here without regard to their gender.

    Raises:
        ValueError: fewer such speakers.
    """
    names: dict[str, list[str]] = defaultdict(list)
    for name in sorted(utt2spk):
        names[utt2spk[name]].append(name)
    share = 60.0 * minutes / num_speakers
    eligible = [speaker for speaker in sorted(names) if sum(durations[name] for name in names[speaker]) >= share]
    if len(eligible) < num_speakers:
        what = f" with at least {share:g} s of speech" if minutes else ""
        raise ValueError(
            f"num_speakers: expected at most the {len(eligible)} speakers{what} that there are, found {num_speakers}"
        )
    chosen = [eligible[place] for place in rng.permutation(len(eligible))[:num_speakers]]
    if not minutes:
        return sorted(name for speaker in chosen for name in names[speaker])
    return sorted(name for speaker in chosen for name in _nearest(rng, names[speaker], durations, share))


def _nearest(rng: np.random.Generator, names: list[str], durations: Mapping[str, float], share: float) -> list[str]:
    """Utterances in a drawn order, the first ones whose length together is nearest to `share`."""
    order = [names[place] for place in rng.permutation(len(names))]
    total_N = np.cumsum([durations[name] for name in order])
    return order[: int(np.abs(total_N - share).argmin()) + 1]
