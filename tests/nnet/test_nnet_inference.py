"""Embeddings in batches: as one by one, and in batches that lengths alone decide."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steps.nnet.inference import embed, length_batches
from steps.nnet.models import build_model
from steps.nnet.settings import ResNet, XVector

MODELS = {
    "xvector": XVector(channels=(8, 8, 8, 8, 12), embedding_dim=6),
    "resnet": ResNet(blocks=(1, 1, 1, 1), channels=4, embedding_dim=6),
    "centred": ResNet(blocks=(1, 1, 1, 1), channels=4, embedding_dim=6, embedding_norm=True),
}
LENGTHS = [60, 3, 41, 17, 60, 25, 100, 16, 15]


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(3)
    network = build_model(MODELS[request.param], 8)
    network.train()
    for _ in range(3):  # running statistics that are not 0 and 1
        network(torch.randn(6, 40, 8) * 2 + 1)
    return network


def feats(index: int) -> np.ndarray:
    return np.random.default_rng(index).normal(1.0, 2.0, size=(LENGTHS[index], 8)).astype(np.float32)


def run(model, batches) -> dict[int, np.ndarray]:
    return dict(embed(model, batches, feats, device=torch.device("cpu"), autocast=nullcontext))


def test_a_batch_gives_what_its_utterances_give_one_by_one(model):
    together = run(model, length_batches(LENGTHS, batch_frames=250, max_batch=4))
    alone = run(model, [[index] for index in range(len(LENGTHS))])
    assert sorted(together) == list(range(len(LENGTHS)))
    for index, embedding_D in alone.items():
        np.testing.assert_allclose(together[index], embedding_D, atol=1e-5)
        assert together[index].dtype == np.float32


def test_an_embedding_is_that_of_the_network_in_evaluation_mode(model):
    found = run(model, [[0, 4]])
    assert not model.training
    with torch.no_grad():
        expected = model(torch.from_numpy(np.stack([feats(0), feats(4)]))).numpy()
    np.testing.assert_allclose(np.stack([found[0], found[4]]), expected, atol=1e-6)


def test_short_features_are_repeated_until_they_are_long_enough(model):
    short = LENGTHS.index(3)
    repeats = -(-model.min_frames // 3)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(np.tile(feats(short), (repeats, 1)))[None])[0].numpy()
    np.testing.assert_allclose(run(model, [[short]])[short], expected, atol=1e-6)


@given(st.lists(st.integers(1, 500), max_size=60), st.integers(1, 1000), st.integers(1, 8))
def test_batches_hold_each_utterance_once_within_both_bounds(lengths, batch_frames, max_batch):
    batches = length_batches(lengths, batch_frames, max_batch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= max_batch
        # A single utterance may be longer than a batch should be: it has to go somewhere.
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= batch_frames
    flat = [lengths[index] for batch in batches for index in batch]
    assert flat == sorted(flat)


@given(st.lists(st.integers(1, 500), max_size=60), st.randoms(use_true_random=False))
def test_the_lengths_alone_decide_the_batches(lengths, random):
    order = list(range(len(lengths)))
    random.shuffle(order)
    shuffled = [lengths[index] for index in order]
    sizes = [[lengths[index] for index in batch] for batch in length_batches(lengths, 900, 6)]
    assert [[shuffled[index] for index in batch] for batch in length_batches(shuffled, 900, 6)] == sizes
