"""Of what a stage makes in pieces only the damaged ones are made anew, to the same bytes."""

import os
import shutil
from pathlib import Path

import pytest


def _inodes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.rglob("*.ark")}


@pytest.mark.parametrize("verb", ["extract", "bank", "copies", "embed"])
@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_the_other_pieces_stay_the_files_that_they_were(stages, tmp_path, verb, harm):
    settings, inputs = stages.FBANK, {"manifests": stages.manifests}
    name, more = {"extract": ("extract", ()), "bank": ("augment", stages.ONLINE), "copies": ("augment", stages.COPIES)}.get(
        verb, ("embed", (*stages.NETWORK, 'embed.class_scores=["test"]'))
    )
    if verb == "embed":
        inputs = {"features": stages.features, "model": stages.model}
    out = stages.run(name, tmp_path / "out", *settings, *more, **inputs)
    content, before = stages.content(out), _inodes(out)
    assert len(before) > 1
    damaged = sorted(before)[-1]
    data = (out / damaged).read_bytes()
    (out / damaged).unlink()
    (out / damaged).write_bytes(data[:-100] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    stages.run(name, out, *settings, *more, **inputs, flags=("--verify",) if harm == "flip" else ())
    assert stages.content(out) == content
    assert (out / damaged).read_bytes() == data
    after = _inodes(out)
    others = set(before) - {damaged}  # whose own number may be used again
    assert {each for each in others if after[each] == before[each]} == others
    for old in tmp_path.glob("out.old-*"):
        shutil.rmtree(old)
    assert os.listdir(tmp_path) == ["out"]
