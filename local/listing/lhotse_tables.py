"""Manifests of lhotse as tables: cuts, or supervisions with the recordings beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local.listing.text_tables import Table, read_json_lines, text
from steps.core.errors import RecipeError

_HEADER = ("path", "speaker", "id", "session", "gender", "corpus", "start", "duration", "channel")
_WHOLE = 1e-3  # s by which a supervision of a whole recording may differ from it
_NO_CHANGE = "Resample"  # of what lhotse does to a recording as it reads it, what leaves voice and times as they are

Lines = Sequence[tuple[int, dict[str, Any]]]


def table(path: Path, lines: Lines) -> Table | None:
    """Return lhotse's cuts or supervisions as a table; None where the lines are neither.

    Raises:
        RecipeError: a cut of several recordings, no file of recordings, or an entry that lacks something.
    """
    first = lines[0][1] if lines else {}
    try:
        if {"supervisions", "start"} <= first.keys() or {"tracks", "id"} <= first.keys():
            return Table(path, _HEADER, tuple(each for number, cut in lines for each in _of_cut(path, number, cut)))
        if {"recording_id", "start", "duration"} <= first.keys():
            return Table(path, _HEADER, tuple(_of_supervisions(path, lines)))
        if {"sources", "sampling_rate"} <= first.keys():
            raise RecipeError(
                f"{path}: lhotse's recordings, which name no speaker; expected its supervisions or cuts; name these"
            )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise RecipeError(f"{path}: not as lhotse writes it ({type(error).__name__}: {error}); write it anew") from None
    return None


def _of_cut(path: Path, number: int, cut: Mapping[str, Any]) -> list[tuple[int, dict[str, str]]]:
    if "recording" not in cut or "tracks" in cut:
        raise RecipeError(
            f"{path}:{number}: a cut of several recordings, or of none, which is not read; expected cuts of one recording each "
            "(lhotse: MonoCut with its recording); write the mixed audio to files"
        )
    if not cut["supervisions"]:
        raise RecipeError(f"{path}:{number}: the cut has no supervision, so nobody says who speaks; remove it")
    where = f"{path}:{number}"
    return [(number, _values(where, _within(where, cut, each), cut["recording"])) for each in cut["supervisions"]]


def _within(where: str, cut: Mapping[str, Any], supervision: Mapping[str, Any]) -> dict[str, Any]:
    """Return a supervision by the times of the recording, without what lies outside its cut."""
    start, end = max(supervision["start"], 0), min(supervision["start"] + supervision["duration"], cut["duration"])
    if end <= start:
        raise RecipeError(f"{where}: supervision '{supervision['id']}' lies outside its cut; expected times within; remove it")
    is_cut = start > supervision["start"] or end < supervision["start"] + supervision["duration"]
    length = end - start if is_cut else supervision["duration"]
    return dict(supervision) | {"start": cut["start"] + start, "duration": length}


def _of_supervisions(path: Path, lines: Lines) -> list[tuple[int, dict[str, str]]]:
    beside = path.with_name(path.name.replace("supervisions", "recordings"))
    if beside == path or not beside.is_file():
        raise RecipeError(
            f"{path}: lhotse's supervisions, and no file {beside.name if beside != path else 'of their recordings'} beside them; "
            "expected supervisions.jsonl and recordings.jsonl (or lhotse's cuts, which hold both); put it there"
        )
    recordings: dict[str, Any] = {}
    for number, each in read_json_lines(beside):
        if recordings.setdefault(each["id"], each) != each:
            raise RecipeError(f"{beside}:{number}: recording '{each['id']}' is there already, and is another; remove one")
    found = []
    for number, each in lines:
        if each["recording_id"] not in recordings:
            raise RecipeError(f"{path}:{number}: recording '{each['recording_id']}' is not in {beside}; complete it")
        found.append((number, _values(f"{path}:{number}", each, recordings[each["recording_id"]])))
    return found


def _values(where: str, supervision: Mapping[str, Any], recording: Mapping[str, Any]) -> dict[str, str]:
    changes = sorted({str(each.get("name")) for each in recording.get("transforms") or ()} - {_NO_CHANGE})
    if changes:
        raise RecipeError(
            f"{where}: recording '{recording['id']}' is to be changed as it is read ({', '.join(changes)}), which is not done "
            "here; expected recordings as they lie on disk; leave these out (training changes speed and adds noise itself: "
            "[augment]), or write the changed audio to files"
        )
    source, channel = _source(where, supervision.get("channel", 0), recording)
    length = recording["num_samples"] / recording["sampling_rate"]
    is_whole = supervision["start"] < _WHOLE and abs(supervision["duration"] - length) < _WHOLE
    custom = supervision.get("custom") or {}
    return {
        "path": str(source["source"]),
        "speaker": text(supervision.get("speaker")),
        "id": text(supervision["id"]),
        "session": text(custom.get("session")),
        "gender": text(supervision.get("gender")),
        "corpus": text(custom.get("corpus")),
        "start": "" if is_whole else repr(float(supervision["start"])),
        "duration": "" if is_whole else repr(float(supervision["duration"])),
        "channel": channel,
    }


def _source(where: str, channel: Any, recording: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the file that has a channel, which lhotse counts from 0, and its place in that file; "" of one with one channel."""
    wanted = channel if isinstance(channel, list) else [channel]
    source = next((each for each in recording["sources"] if set(wanted) <= set(each["channels"])), None)
    if source is None or source["type"] != "file":
        what = "no file has" if source is None else f"its source is a {source['type']}, not a file, for"
        raise RecipeError(f"{where}: {what} channel {channel} of recording '{recording['id']}'; expected a file; write it to one")
    if len(wanted) > 1 or len(source["channels"]) == 1:
        return source, ""
    return source, "AB"[place] if (place := source["channels"].index(wanted[0])) < 2 else str(place + 1)
