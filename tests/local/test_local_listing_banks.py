"""Claims about banks of noises and rooms, which every corpus may have beside its speech."""

from pathlib import Path

import pytest

from local import audiomnist, folder, librispeech
from local.listing.banks import only_listed, remarks, rows_of, rows_of_bank, shares
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
    rows = only_listed(rirs, "simulated_rirs", rows_of_bank(rirs, "simulated_rirs", ""), "rir_list")
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([None, None], [0.5, 0.5]),
        ([0.5, None, None], [0.5, 0.25, 0.25]),  # the others share what is left
        ([0.2, 0.6], [0.25, 0.75]),  # they are brought to 1
        ([1.0, 0.0], [1.0, 0.0]),
    ],
)
def test_sounds_without_probability_share_what_the_others_leave(given, expected):
    assert shares(given) == pytest.approx(expected)


@pytest.mark.parametrize("given", [[1.0, None], [0.0, 0.0]])
def test_probabilities_that_leave_nothing_are_refused(given):
    with pytest.raises(RecipeError, match="--probability"):
        shares(given)


def test_folders_of_rooms_are_equally_likely_however_many_rooms_they_have(rirs):
    assert {row.share for row in rows_of("rir", rirs, [SMALL, MEDIUM], named=True, advice="")} == {0.0}  # two rooms each
    write_audio(rirs / SMALL / "Room002" / "Room002-00001.wav")
    (rirs / SMALL / "rir_list").unlink()
    found = {row.id: row.share for row in rows_of("rir", rirs, [SMALL, MEDIUM], named=True, advice="")}
    assert [found[name] for name in sorted(found)] == pytest.approx([1 / 4, 1 / 4, 1 / 6, 1 / 6, 1 / 6])
    as_noise = rows_of("noise", rirs, [SMALL, MEDIUM], named=True, advice="")  # of noises every file is as likely
    assert {row.share for row in as_noise} == {0.0}


def test_the_probabilities_of_a_list_hold_within_its_folder(rirs):
    name = f"{SMALL}/Room001/Room001-0000"
    (rirs / SMALL / "rir_list").write_text(
        f"--rir-id 1 --room-id 1 --probability 0.8 {name}1.wav\n--rir-id 2 --room-id 1 --probability=0.0 {name}2.wav\n"
    )
    found = {row.id: row.share for row in rows_of("rir", rirs, [SMALL, MEDIUM], named=True, advice="")}
    assert found == pytest.approx(
        {
            "mediumroom/Room001/Room001-00001": 0.25,
            "mediumroom/Room001/Room001-00002": 0.25,
            "smallroom/Room001/Room001-00001": 0.5,
        }
    )
    (rirs / SMALL / "rir_list").write_text(f"--rir-id 1 --room-id 1 --probability 1.5 {name}1.wav\n")
    with pytest.raises(RecipeError, match=r"rir_list:1: --probability 1.5; expected a number from 0 to 1"):
        rooms(rirs, SMALL)


def test_a_noise_list_says_which_files_are_noises(rirs):
    real = "real_rirs_isotropic_noises"
    (rirs / real / "noise_list").write_text(
        f"--noise-id 1 --noise-type isotropic --room-linkage 1 RIRS_NOISES/{real}/RVB2014_type1_noise_largeroom1_1.wav\n"
    )
    found = rows_of("noise", rirs, [real], named=True, advice="")
    assert [row.id for row in found] == [f"{real}/RVB2014_type1_noise_largeroom1_1"]


def test_banks_are_compared_with_musan_and_rirs_noises_only_where_they_are_these(rirs, tmp_path):
    for name in ("noise/noise-free-sound-0000", "music/mine"):
        write_audio(tmp_path / "musan" / f"{name}.wav")
    settings = audiomnist.Settings(
        wrong_counts="warn", test_speakers=3.0, dev_speakers=0.0, made_trials=("all_pairs",), noise="noise", music="noise",
        noise_subfolders=("noise",), music_subfolders=("music",), rir="rir", rir_subfolders=(SMALL, MEDIUM),
    )  # fmt: skip
    data = make_audiomnist(tmp_path / "digits")
    out = prepare(audiomnist, settings, data, tmp_path / "x", noise=str(tmp_path / "musan"), rir=str(rirs))
    lines = [" ".join(line.split()) for _, line in remarks({name: read_set(out, name) for name in ("noise", "music", "rir")})]
    assert lines == [
        "found / documented utterances", "set noise 1 / 930 not the documented number", "set music 1",
        "set rir 4 / 40,000 not the documented number",
    ]  # fmt: skip
    assert not (out / "rir" / "shares").exists()


def test_any_corpus_may_have_musan_and_rirs_noises(rirs, tmp_path):
    for name in ("noise/free-sound/noise-free-sound-0000", "music/fma/music-fma-0000", "speech/librivox/speech-librivox-0000"):
        write_audio(tmp_path / "musan" / f"{name}.wav")
    data = make_audiomnist(tmp_path / "digits")
    banks = {
        "noise": "noise", "noise_subfolders": ("noise",), "music": "noise", "music_subfolders": ("music",),
        "rir": "rir", "rir_subfolders": (SMALL, MEDIUM), "babble": "noise", "babble_subfolders": ("speech",),
    }  # fmt: skip
    write_audio(rirs / MEDIUM / "Room002" / "Room002-00001.wav")
    (rirs / MEDIUM / "rir_list").unlink()
    settings = audiomnist.Settings(wrong_counts="warn", test_speakers=3.0, dev_speakers=0.0, made_trials=("all_pairs",), **banks)
    out = prepare(audiomnist, settings, data, tmp_path / "x", noise=str(tmp_path / "musan"), rir=str(rirs))
    ids = {name: [item.id for item in read_set(out, name)] for name in ("noise", "music", "rir", "babble")}
    assert ids["babble"] == ["speech/librivox/speech-librivox-0000"]
    rooms_with_shares = [line.split() for line in (out / "rir" / "shares").read_text().splitlines()]
    assert [name for name, _ in rooms_with_shares] == ids["rir"]
    assert [float(share) for _, share in rooms_with_shares] == pytest.approx([1 / 6] * 3 + [1 / 4] * 2)
    assert ids["noise"] == ["noise/free-sound/noise-free-sound-0000"]
    assert ids["music"] == ["music/fma/music-fma-0000"]
    assert len(ids["rir"]) == 5
    assert (read_roots(out)["music"], read_roots(out)["rir"]) == ("noise", "rir")
    assert not has_set(prepare(audiomnist, settings, data, tmp_path / "y"), "rir")
    other = audiomnist.Settings(wrong_counts="warn", noise="noise", noise_subfolders=("x",))
    with pytest.raises(RecipeError, match=r"musan/x: no audio .*'noise'; correct site.noise, or prepare.noise_subfolders"):
        prepare(audiomnist, other, data, tmp_path / "z", noise=str(tmp_path / "musan"))


@pytest.mark.parametrize("settings", [folder.Settings, librispeech.Settings])
def test_one_subfolder_or_several(settings):
    with pytest.raises(ValueError, match="expected one of them, found both"):
        settings(noise="noise", noise_subfolder="a", noise_subfolders=("b",))
