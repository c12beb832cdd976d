"""Where an utterance is cut into windows of one length: plain arithmetic on numbers of frames.

Source: "tiled": the evaluation of ZHAW_deep_voice (edualc/ZHAW_deep_voice, pairwise_lstm/lstm_controller.py). "even": ten
    crops of Chung, Nagrani and Zisserman, "VoxCeleb2: deep speaker recognition", Interspeech 2018, spread and
    repeated as in clovaai/voxceleb_trainer, since the paper does not say; with one window it is the first fragment, as in
    voicemap's own evaluation (oscarknagg/voicemap, voicemap/librispeech.py, stochastic=False). "centre": later ones of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

CUTS = ("last", "tiled", "even", "centre")


class Cutting(NamedTuple):
    """Which frames make windows.

    Attributes:
        num_frames: of the utterance, repeated from its start as often as needed for so many.
        length: frames of each window.
        starts: first frame of each window.
    """

    num_frames: int
    length: int
    starts: tuple[int, ...]


def cut_last(num_frames: int, length: int, hop: int) -> Cutting:
    """Return windows `hop` frames apart, the last one ending with the utterance; a short utterance is one window."""
    if num_frames <= length:
        return Cutting(num_frames, num_frames, (0,))
    return Cutting(num_frames, length, (*range(0, num_frames - length, hop), num_frames - length))


def cut_tiled(num_frames: int, length: int, hop: int) -> Cutting:
    """Return windows `hop` frames apart that start before the last place where one fits; at least four.

    An utterance under length + 4 hop (at half overlapping, three windows' length) is repeated (length + 4 hop) // T + 1
    times, T being its frames. The last window never ends with the utterance, but for what is cut off.
    """
    least = length + 4 * hop
    if num_frames < least:
        num_frames *= least // num_frames + 1
    return Cutting(num_frames, length, tuple(range(0, num_frames - length, hop)))


def cut_even(num_frames: int, length: int, num_windows: int) -> Cutting:
    """Return so many windows spread evenly, the first at the start and, of two or more, the last at the end.

    Starts are rounded down. An utterance shorter than a window is repeated up to that length: then all windows are one.
    """
    num_frames = max(num_frames, length)
    gaps = max(1, num_windows - 1)
    return Cutting(num_frames, length, tuple(index * (num_frames - length) // gaps for index in range(num_windows)))


def cut_centre(num_frames: int, length: int) -> Cutting:
    """Return the one window in the middle; of an odd number of frames around it the larger half is behind it.

    An utterance shorter than a window is repeated up to that length.
    """
    num_frames = max(num_frames, length)
    return Cutting(num_frames, length, ((num_frames - length) // 2,))


def cutting(how: str, num_frames: int, length: int, *, hop: int = 0, num_windows: int = 0) -> Cutting:
    """Return the windows of an utterance.

    Args:
        how: one of `CUTS`.
        num_frames: of the utterance, at least 1.
        length: frames of a window, at least 1.
        hop: frames from one window to the next, at least 1; of "last" and "tiled".
        num_windows: at least 1; of "even".

    Raises:
        ValueError: another way, or numbers below 1.
    """
    if how not in CUTS:
        raise ValueError(f"cut: expected one of {', '.join(CUTS)}, found {how!r}")
    needed = {"num_frames": num_frames, "length": length} | _needed_by(how, hop, num_windows)
    if min(needed.values()) < 1:
        found = ", ".join(map(str, needed.values()))
        raise ValueError(f"{', '.join(needed)}: expected at least 1 each, found {found}")
    if how == "centre":
        return cut_centre(num_frames, length)
    if how == "even":
        return cut_even(num_frames, length, num_windows)
    return (cut_tiled if how == "tiled" else cut_last)(num_frames, length, hop)


def _needed_by(how: str, hop: int, num_windows: int) -> dict[str, int]:
    if how == "centre":
        return {}
    return {"num_windows": num_windows} if how == "even" else {"hop": hop}


def repeated(feats_TF: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the features, repeated from their start until there are `num_frames` of them; no copy if there are enough."""
    import numpy as np  # here, so that settings can be checked without it

    if len(feats_TF) >= num_frames:
        return feats_TF
    return np.concatenate([feats_TF] * -(-num_frames // len(feats_TF)))[:num_frames]
