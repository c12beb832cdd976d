"""Files from elsewhere are data: reading them runs nothing, and nothing that is written is open to everybody."""

import os
import pickle
import stat

import numpy as np
import pytest

from steps.core import files
from steps.core.errors import RecipeError
from steps.data.archive import Archive
from steps.nnet import checkpoint


class _Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("read", [checkpoint.load, checkpoint.load_tensors])
def test_reading_a_model_or_a_checkpoint_runs_nothing(tmp_path, read):
    import torch

    torch.save({"state": _Evil(tmp_path / "pwned")}, tmp_path / "torch.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(_Evil(tmp_path / "pwned")))
    for name in ("torch.pt", "pickle.pt"):
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("place", ["touch {0} |", "| touch {0}", "touch {0} |:0", "$(touch {0}):0", "`touch {0}`:5"])
def test_a_pipe_in_an_scp_is_refused(tmp_path, place):
    evil = place.format(tmp_path / "pwned")
    (tmp_path / "feats.scp").write_text(f"utt1 {evil}\n")
    with pytest.raises((RecipeError, OSError)):
        Archive(tmp_path)["utt1"]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_have_the_rights_that_the_umask_gives(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.write_json(tmp_path / "a.json", {})
        checkpoint.save(tmp_path / "b.pt", {"a": 1})
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_lhotse_s_reader_refuses_pipes(tmp_path):
    from steps.data.lhotse_reader import _KaldiioReader

    for evil in (f"touch {tmp_path / 'pwned'} |", f"touch {tmp_path / 'pwned'} |:0"):
        with pytest.raises((RecipeError, OSError, ValueError)):
            np.asarray(_KaldiioReader(evil).read(""))
    assert not (tmp_path / "pwned").exists()
