"""Stage 5: embeddings are those of the network on each utterance by itself, whoever computes them."""

import numpy as np
import pytest
import torch

from steps.core import stage
from steps.core.errors import RecipeError
from steps.data.archive import Archive, read_embeddings
from steps.embed import STAGE, cut
from steps.nnet.checkpoint import load_model
from steps.nnet.models import build_model


def network(stages) -> torch.nn.Module:
    """The trained network as anybody would rebuild it: from the model folder alone."""
    settings, _ = stage.load_settings(
        {name: STAGE.sections[name] for name in ("features", "model")}, [stages.model / "settings.toml"], []
    )
    model = build_model(settings.model, settings.features.num_bins)
    load_model(stages.model / "model.safetensors", model)
    return model.eval()


def assert_near(found: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5 of the length of an embedding: float32 keeps seven digits of the largest number in it."""
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected, axis=-1).max() < 1e-5 * np.linalg.norm(expected, axis=-1).min()


def embedded(stages, out, *settings: str, jobs: int = 1):
    more = (*stages.FBANK, *stages.NETWORK, *settings)
    return stages.run("embed", out, *more, features=stages.features, model=stages.model, jobs=jobs)


def test_three_jobs_write_what_one_writes(stages, tmp_path):
    one, three = (embedded(stages, tmp_path / str(jobs), jobs=jobs) for jobs in (1, 3))
    assert stages.content(one) == stages.content(three)
    assert len(list((one / "train").glob("*.ark"))) == 5  # 18 utterances in batches of 4


def test_each_embedding_is_that_of_its_utterance_alone(stages, tmp_path):
    out, model = embedded(stages, tmp_path / "embeddings"), network(stages)
    for set_name in ("train", "dev", "test"):
        ids, matrix_ND = read_embeddings(out / set_name)
        archive = Archive(stages.features / set_name)
        assert ids == archive.ids
        for name, found_D in zip(ids, matrix_ND, strict=True):
            with torch.inference_mode():
                alone_D = model(torch.from_numpy(archive[name])[None])[0].numpy()
            assert_near(found_D, alone_D)


def test_windows_are_embedded_one_by_one(stages, tmp_path):
    out = embedded(stages, tmp_path / "windows", "embed.window=0.4", "embed.hop=0.15", jobs=2)
    model, archive, found = network(stages), Archive(stages.features / "test"), Archive(out / "test")
    for name in archive:
        feats_TF = archive[name]
        starts = [*range(0, len(feats_TF) - 40, 15), len(feats_TF) - 40]
        with torch.inference_mode():
            expected = [model(torch.from_numpy(feats_TF[start : start + 40])[None])[0].numpy() for start in starts]
        assert len(starts) > 4  # more than a batch, see conftest
        assert_near(found[name], np.stack(expected))


@pytest.mark.parametrize(
    ("num_frames", "spans"),
    [
        (10, [(0, 10)]),
        (9, [(0, 9)]),
        (11, [(0, 10), (1, 11)]),
        (14, [(0, 10), (4, 14)]),
        (19, [(0, 10), (4, 14), (8, 18), (9, 19)]),
    ],
)
def test_windows_cover_the_utterance_and_the_last_ends_with_it(num_frames, spans):
    feats_TF = np.arange(num_frames)[:, None]
    assert [(int(each[0, 0]), int(each[-1, 0]) + 1) for each in cut(feats_TF, 10, 4)] == spans


def test_what_is_known_of_the_network_goes_along(stages, tmp_path):
    from steps.core.files import read_json

    known = read_json(embedded(stages, tmp_path / "embeddings") / "model.json")
    assert known["num_parameters"] == sum(p.numel() for p in network(stages).parameters())
    assert known["num_speakers"] == 6


def test_a_network_of_other_settings_is_refused(stages, tmp_path):
    with pytest.raises(RecipeError, match=r"belongs to a model of other settings(.|\n)*settings\.toml beside the model"):
        embedded(stages, tmp_path / "x", "model.embedding_dim=9")


def test_a_missing_gpu_is_said(stages, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=r"embed\.device = 'cuda', but there is no GPU"):
        embedded(stages, tmp_path / "x", "embed.device=cuda")


def test_a_folder_without_features_is_refused(stages, tmp_path):
    more = (*stages.FBANK, *stages.NETWORK)
    with pytest.raises(RecipeError, match="holds no features"):
        stages.run("embed", tmp_path / "x", *more, features=stages.none, model=stages.model)


@pytest.mark.parametrize(
    "setting", ["embed.hop=0.1", "embed.window=-1.0", "embed.precision=half", "embed.device=tpu", "embed.threads=0"]
)
def test_settings_that_cannot_be_are_refused(stages, tmp_path, setting):
    with pytest.raises(RecipeError, match=setting.partition("=")[0].removeprefix("embed.")):
        embedded(stages, tmp_path / "x", setting)
