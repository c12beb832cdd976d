"""Claims about banks of noises and rooms, which every corpus may have beside its speech."""

from pathlib import Path

import pytest

from local import audiomnist, folder, librispeech
from local.listing.banks import only_listed, rows_of, rows_of_bank
from steps.core.errors import RecipeError
from steps.data.manifests import has_set, read_roots, read_set
from tests.local.miniatures import make_audiomnist, prepare, write_audio

SMALL, MEDIUM = "simulated_rirs/smallroom", "simulated_rirs/mediumroom"


@pytest.fixture
def rirs(tmp_path) -> Path:
    """RIRS_NOISES as published: rooms numbered from 1 in each size; noises among the real rooms, which rir_list leaves out."""
    root = tmp_path / "RIRS_NOISES"
    for size in (SMALL, MEDIUM):
        lines = []
        for number in (1, 2):
            name = f"{size}/Room001/Room001-{number:05d}.wav"
            write_audio(root / name, number)
            lines.append(f"--rir-id {size[15:]}-Room001-{number:05d} --room-id {size[15:]}-Room001 RIRS_NOISES/{name}\n")
        (root / size / "rir_list").write_text("".join(lines))
    real = "real_rirs_isotropic_noises"
    for name in ("air_type1_air_binaural_aula_carolina_0.wav", "RVB2014_type1_noise_largeroom1_1.wav"):
        write_audio(root / real / name, channels=8)
    (root / real / "rir_list").write_text(
        f"--rir-id 00001 --room-id 001 RIRS_NOISES/{real}/air_type1_air_binaural_aula_carolina_0.wav"
    )
    return root


def rooms(root: Path, *subfolders: str) -> list[str]:
    return [row.id for row in rows_of("rir", root, subfolders, named=True, advice="")]


def test_rooms_are_named_by_their_size(rirs):
    assert rooms(rirs, SMALL, MEDIUM) == [
        "mediumroom/Room001/Room001-00001", "mediumroom/Room001/Room001-00002",
        "smallroom/Room001/Room001-00001", "smallroom/Room001/Room001-00002",
    ]  # fmt: skip


def test_a_rir_list_says_which_files_are_rooms(rirs):
    real = ["real_rirs_isotropic_noises/air_type1_air_binaural_aula_carolina_0"]
    assert rooms(rirs, "real_rirs_isotropic_noises") == real
    (rirs / "real_rirs_isotropic_noises" / "rir_list").unlink()
    assert len(rooms(rirs, "real_rirs_isotropic_noises")) == 2
    assert len(rooms(rirs.rename(rirs.parent / "rooms"), SMALL)) == 2  # the root may have another name than in the list


def test_lists_of_folders_further_down_hold_for_these(rirs):
    (rirs / SMALL / "rir_list").write_text(f"--rir-id 1 --room-id 1 RIRS_NOISES/{SMALL}/Room001/Room001-00002.wav\n")
    rows = only_listed(rirs, "simulated_rirs", rows_of_bank(rirs, "simulated_rirs", ""))
    assert [row.id for row in rows] == [
        "mediumroom/Room001/Room001-00001", "mediumroom/Room001/Room001-00002", "smallroom/Room001/Room001-00002",
    ]  # fmt: skip


def test_paths_of_a_list_may_begin_in_the_root(rirs):
    (rirs / SMALL / "rir_list").write_text(f"--rir-id 1 --room-id 1 {SMALL}/Room001/Room001-00001.wav\r\n\r\n")
    assert rooms(rirs, SMALL) == ["smallroom/Room001/Room001-00001"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--rir-id 1 --room-id 1 RIRS_NOISES/none.wav\n", r"smallroom/rir_list: 1 of its 1 files are not there: none.wav"),
        ("--rir-id 1 --room-id 1 sox a.wav -t wav - |\n", r"smallroom/rir_list:1: expected '--rir-id"),
        ("--rir-id --room-id\n", r"smallroom/rir_list:1: expected"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(rirs, text, words):
    (rirs / SMALL / "rir_list").write_text(text)
    with pytest.raises(RecipeError, match=words):
        rooms(rirs, SMALL)


def test_any_corpus_may_have_musan_and_rirs_noises(rirs, tmp_path):
    for name in ("noise/free-sound/noise-free-sound-0000", "music/fma/music-fma-0000", "speech/librivox/speech-librivox-0000"):
        write_audio(tmp_path / "musan" / f"{name}.wav")
    data = make_audiomnist(tmp_path / "digits")
    banks = {
        "noise": "noise", "noise_subfolders": ("noise",), "music": "noise", "music_subfolders": ("music",),
        "rir": "rir", "rir_subfolders": (SMALL, MEDIUM),
    }  # fmt: skip
    settings = audiomnist.Settings(wrong_counts="warn", test_speakers=3.0, dev_speakers=0.0, made_trials=("all_pairs",), **banks)
    out = prepare(audiomnist, settings, data, tmp_path / "x", noise=str(tmp_path / "musan"), rir=str(rirs))
    ids = {name: [item.id for item in read_set(out, name)] for name in ("noise", "music", "rir")}
    assert ids["noise"] == ["noise/free-sound/noise-free-sound-0000"]
    assert ids["music"] == ["music/fma/music-fma-0000"]
    assert len(ids["rir"]) == 4
    assert (read_roots(out)["music"], read_roots(out)["rir"]) == ("noise", "rir")
    assert not has_set(prepare(audiomnist, settings, data, tmp_path / "y"), "rir")
    other = audiomnist.Settings(wrong_counts="warn", noise="noise", noise_subfolders=("x",))
    with pytest.raises(RecipeError, match=r"musan/x: no audio .*'noise'; correct site.noise, or prepare.noise_subfolders"):
        prepare(audiomnist, other, data, tmp_path / "z", noise=str(tmp_path / "musan"))


@pytest.mark.parametrize("settings", [folder.Settings, librispeech.Settings])
def test_one_subfolder_or_several(settings):
    with pytest.raises(ValueError, match="expected one of them, found both"):
        settings(noise="noise", noise_subfolder="a", noise_subfolders=("b",))
