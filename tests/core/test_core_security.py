"""Files from elsewhere are data: reading them runs nothing, and nothing that is written is open to everybody."""

import os
import pickle
import stat

import numpy as np
import pytest

from steps.core import files
from steps.core.errors import RecipeError
from steps.data.archive import Archive, write_ark
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


@pytest.mark.parametrize("place", ["{0}/other/a.ark:5", "../other/a.ark:5", "sub/../../other/a.ark:5"])
def test_an_scp_that_leads_out_of_its_folder_is_refused(tmp_path, place):
    lines = write_ark(tmp_path / "other.ark", [("utt1", np.ones((2, 3), dtype=np.float32))])
    for folder in ("other", "mine/sub"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "other.ark").rename(tmp_path / "other" / "a.ark")
    assert lines == ["utt1 other.ark:5"]
    (tmp_path / "mine" / "feats.scp").write_text(f"utt1 {place.format(tmp_path)}\n")
    with pytest.raises(RecipeError, match=r"feats\.scp:1: .* below the folder of the scp"):
        Archive(tmp_path / "mine")


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


@pytest.mark.parametrize("place", ["touch {0} |", "touch {0} |:0", "| touch {0}:0", "touch {0} |[0:1]", "touch {0} |:0[0:1]"])
def test_lhotse_s_reader_refuses_pipes(tmp_path, place):
    from steps.data.lhotse_reader import _KaldiioReader

    with pytest.raises(ValueError, match="expected <ark>:<offset>"):
        np.asarray(_KaldiioReader(place.format(tmp_path / "pwned")).read(""))
    assert not (tmp_path / "pwned").exists()
