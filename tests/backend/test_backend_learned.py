"""The learned scorer: its forward pass and one training step against torch modules, symmetry, and what it can learn."""

import numpy as np
import pytest
import torch

from steps.backend.cosine import cosine_pairs
from steps.backend.estimator import get_state, set_state
from steps.backend.learned import LearnedScorer
from steps.backend.pair_sampling import PairSampler
from steps.backend.windows import Windows
from steps.metrics.error_rates import eer

SMALL = {"width": 16, "num_layers": 2, "num_epochs": 1, "batches_per_epoch": 3, "num_pairs": 6}


def people(seed: int = 0, num_speakers: int = 10, each: int = 4, dim: int = 5):
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(num_speakers), each)
    return 3 * rng.normal(size=(num_speakers, dim))[speakers] + rng.normal(size=(speakers.size, dim)), speakers


def all_pairs(speakers):
    first, second = np.triu_indices(speakers.size, k=1)
    return first, second, speakers[first] == speakers[second]


def sum_features(x):
    """Two symmetric numbers about a pair."""
    return lambda i, j: np.stack([np.linalg.norm(x[i] - x[j], axis=1), x[i][:, 0] * x[j][:, 0]], axis=1)


def torch_modules(scorer):
    """The network in torch's own modules, with the weights of a scorer."""
    layers = []
    for index in range(scorer.num_layers + 1):
        weight = getattr(scorer, f"weight_{index}_")
        layer = torch.nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T.copy()), torch.tensor(getattr(scorer, f"bias_{index}_"))
        layers += [layer, torch.nn.LeakyReLU(0.3)]
    return torch.nn.Sequential(*layers[:-1]).double()


@pytest.mark.parametrize("difference", ["absolute", "both_orders"])
def test_forward_pass_is_that_of_torch_modules(difference):
    x, speakers = people()
    scorer = LearnedScorer(**SMALL, difference=difference).fit(x, speakers, pair_features=sum_features(x))
    first, second, _ = all_pairs(speakers)
    z = torch.tensor((x - x.mean(axis=0)) / x.std(axis=0))
    features = sum_features(x)(first, second)
    extra = torch.tensor((features - scorer.feature_mean_Q_) / scorer.feature_std_Q_)
    network = torch_modules(scorer)

    def log_odds(e, t):
        apart = (e - t).abs() if difference == "absolute" else e - t
        shares = torch.log_softmax(network(torch.cat([e + t, apart, e * t, extra], dim=1)), dim=1)
        return (shares[:, 1] - shares[:, 0]).detach().numpy()

    expected = log_odds(z[first], z[second])
    if difference == "both_orders":
        expected = (expected + log_odds(z[second], z[first])) / 2
    np.testing.assert_allclose(scorer.score_trials(x, first, second, features), expected, atol=1e-4)


def test_training_without_dropout_is_adam_on_the_cross_entropy():
    x, speakers = people()
    settings = {**SMALL, "dropout": 0.0, "input_dropout": 0.0, "learning_rate": 0.01, "weight_decay": 0.1}
    trained = LearnedScorer(**settings, learning_rate_decay=0.5).fit(x, speakers)
    network = torch_modules(trained).float()
    # What fit draws, in its order.
    rng = np.random.default_rng(1)
    rng.permutation(np.unique(speakers))
    rng.integers(1 << 62)
    sampler = PairSampler(speakers)
    batches = [sampler.draw(rng, 6) for _ in range(3)]
    for layer in network[::2]:
        std = np.sqrt(2 / (1.09 * layer.in_features))
        layer.weight.data = torch.tensor(rng.normal(0, std, layer.weight.T.shape).T.copy(), dtype=torch.float32)
        layer.bias.data.zero_()
    assert trained._optimizer(list(network.parameters())).defaults["amsgrad"]  # a few steps do not show it
    optimizer = torch.optim.Adam(network.parameters(), amsgrad=True, eps=1e-7)
    z = torch.tensor((x - x.mean(axis=0)) / x.std(axis=0), dtype=torch.float32)
    for step, (first, second) in enumerate(batches):
        e, t = z[first], z[second]
        logits = network(torch.cat([e + t, (e - t).abs(), e * t], dim=1))
        same = torch.tensor((speakers[first] == speakers[second]).astype(int))
        loss = torch.nn.functional.cross_entropy(logits, same) + 0.1 * sum((p.weight**2).sum() for p in network[::2])
        optimizer.param_groups[0]["lr"] = 0.01 / (1 + 0.5 * step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for index, layer in enumerate(network[::2]):
        np.testing.assert_allclose(getattr(trained, f"weight_{index}_"), layer.weight.detach().numpy().T, atol=2e-5)
        np.testing.assert_allclose(getattr(trained, f"bias_{index}_"), layer.bias.detach().numpy(), atol=2e-5)


@pytest.mark.parametrize("difference", ["absolute", "both_orders"])
def test_the_two_sides_are_alike_to_the_last_bit(difference):
    x, speakers = people(1)
    scorer = LearnedScorer(**SMALL, difference=difference).fit(x, speakers)
    first, second, _ = all_pairs(speakers)
    np.testing.assert_array_equal(scorer.score_trials(x, first, second), scorer.score_trials(x, second, first))


def test_it_learns_what_cosine_cannot_see():
    # A speaker is the absolute value of the first four coordinates; their signs, and the other four, are session.
    def draw(seed, num_speakers):
        rng = np.random.default_rng(seed)
        speakers = np.repeat(np.arange(num_speakers), 6)
        x = rng.uniform(0.5, 3, size=(num_speakers, 8))[speakers] + 0.1 * rng.normal(size=(speakers.size, 8))
        x[:, 4:] = 2 * rng.normal(size=(speakers.size, 4))
        x[:, :4] *= rng.choice([-1, 1], size=(speakers.size, 1))
        return x, speakers

    settings = {
        "width": 64,
        "num_layers": 3,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "batches_per_epoch": 250,
        "learning_rate": 2e-3,
    }
    scorer = LearnedScorer(**settings, num_epochs=3).fit(*draw(0, 400))
    x, speakers = draw(1, 25)
    first, second, truth = all_pairs(speakers)
    scores, cosines = scorer.score_trials(x, first, second), cosine_pairs(x - x.mean(axis=0), first, second)
    assert eer(cosines[truth], cosines[~truth]) > 0.35
    assert eer(scores[truth], scores[~truth]) < 0.2


def test_it_overfits_a_few_speakers_and_the_loss_says_so():
    x, speakers = people(2, num_speakers=4)
    settings = {"width": 32, "num_layers": 2, "num_epochs": 3, "batches_per_epoch": 100, "num_pairs": 20, "learning_rate": 5e-3}
    scorer = LearnedScorer(**settings, dropout=0, input_dropout=0)
    first, second, truth = all_pairs(speakers)
    scores = scorer.fit(x, speakers).score_trials(x, first, second)
    assert scores[truth].min() > 3
    assert scores[~truth].max() < -3
    assert scorer.losses_E_[2] < 0.02 < 0.1 < scorer.losses_E_[0]


def test_same_seed_same_weights_and_torch_is_left_alone():
    x, speakers = people(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    one, two = (get_state(LearnedScorer(**SMALL).fit(x, speakers)) for _ in range(2))
    other = get_state(LearnedScorer(**SMALL, seed=2).fit(x, speakers))
    assert one.keys() == two.keys()
    assert all((one[name] == two[name]).all() for name in one)
    assert (one["weight_0_"] != other["weight_0_"]).any()
    assert (torch.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads


def test_state_is_plain_and_a_second_fit_forgets_the_first():
    x, speakers = people(4)
    scorer = LearnedScorer(**SMALL, validation_share=0.3).fit(x, speakers, pair_features=sum_features(x))
    loaded = LearnedScorer(**SMALL)
    set_state(loaded, get_state(scorer))
    first, second, _ = all_pairs(speakers)
    features = sum_features(x)(first, second)
    expected = scorer.score_trials(x, first, second, features)
    np.testing.assert_array_equal(loaded.score_trials(x, first, second, features), expected)
    again, fresh = (get_state(each.fit(x, speakers)) for each in (scorer, LearnedScorer(**SMALL, validation_share=0.3)))
    assert again.keys() == fresh.keys()


def test_the_best_epoch_on_speakers_set_apart_is_kept():
    x, speakers = people(5, num_speakers=12)
    seen = []

    def criterion(target, nontarget):
        seen.append((target, nontarget))
        return [3.0, 1.0, 1.0, 2.0][len(seen) - 1]

    settings = {**SMALL, "num_epochs": 4, "validation_share": 0.25}
    scorer = LearnedScorer(**settings, criterion=criterion).fit(x, speakers)
    assert scorer.best_epoch_ == 1
    assert scorer.validation_E_.tolist() == [3, 1, 1, 2]
    assert scorer.losses_E_.shape == (4,)
    short = LearnedScorer(**{**settings, "num_epochs": 2}, criterion=lambda target, nontarget: -float(target.size)).fit(
        x, speakers
    )
    assert short.best_epoch_ == 0
    # The 2nd of 4 epochs and the 2nd of 2 are the same weights.
    last = LearnedScorer(**{**settings, "num_epochs": 2}, criterion=_Falling()).fit(x, speakers)
    np.testing.assert_array_equal(scorer.weight_1_, last.weight_1_)


class _Falling:
    """A criterion that gets better with each call."""

    cost = 0.0

    def __call__(self, target, nontarget):
        self.cost -= 1.0
        return self.cost


def test_windows_count_by_their_mean_and_matrices_by_rows():
    x, speakers = people(6)
    scorer = LearnedScorer(**SMALL).fit(x, speakers)
    doubled = Windows.of([np.stack([row + 1, row - 1]) for row in x])
    first, second, _ = all_pairs(speakers)
    np.testing.assert_allclose(scorer.score_trials(doubled, first, second), scorer.score_trials(x, first, second), atol=1e-5)
    matrix = scorer.score_matrix(x[:3], x[3:9])
    np.testing.assert_allclose(matrix.ravel(), scorer.score_trials(x, *np.indices((3, 6)).reshape(2, -1) + [[0], [3]]), atol=1e-5)


def test_pairs_are_what_they_should_be_and_speakers_come_evenly():
    speakers = np.repeat(np.arange(6), [1, 2, 3, 50, 2, 4])
    groups = np.array([0, 0, 0, 0, 1, 1])[speakers]
    order = np.random.default_rng(0).permutation(speakers.size)
    code, group = speakers[order], groups[order]
    rng = np.random.default_rng(1)
    batches = [PairSampler(code, group).draw(rng, 10) for _ in range(600)]
    first, second = (np.stack(side) for side in zip(*batches, strict=True))
    same = code[first] == code[second]
    assert same[:, :10].all()
    assert not same[:, 10:].any()
    assert (first != second).all()
    assert (group[first] == group[second]).all()
    np.testing.assert_array_equal(np.bincount(code[first[:, :10]].ravel()), [0, *[1200] * 5])  # 10 is two rounds of five
    drawn = np.bincount(code[first[:, 10:]].ravel())
    np.testing.assert_allclose(drawn, 1000, atol=5 * np.sqrt(1000))
    partners = np.bincount(code[second[:, 10:]][code[first[:, 10:]] == 3], minlength=6)
    np.testing.assert_allclose(partners[:3], partners.sum() / 3, atol=5 * np.sqrt(333))
    items = np.bincount(first[:, :10][code[first[:, :10]] == 3], minlength=code.size)[code == 3]
    np.testing.assert_allclose(items, 24, atol=5 * np.sqrt(24))


@pytest.mark.parametrize(
    ("settings", "speakers", "message"),
    [
        ({"width": 0}, None, "width: expected at least 1, found 0"),
        ({"dropout": 1.0}, None, "dropout: expected 0 to below 1"),
        ({"difference": "signed"}, None, "'absolute' or 'both_orders', found 'signed'"),
        ({"learning_rate": 0.0}, None, "learning_rate: expected more than 0"),
        ({"validation_share": 0.95}, None, "found 10 and 0"),
        ({}, np.arange(40), "found 40 speakers for 40 embeddings, 0 of them with two"),
        ({}, np.zeros(40), "two speakers"),
    ],
)
def test_bad_settings_and_speakers_are_refused(settings, speakers, message):
    x, usual = people()
    with pytest.raises(ValueError, match=message):
        LearnedScorer(**{**SMALL, **settings}).fit(x, usual if speakers is None else speakers)


def test_bad_calls_are_refused():
    x, speakers = people()
    with pytest.raises(ValueError, match="same numbers for a pair and its reverse"):
        LearnedScorer(**SMALL).fit(x, speakers, pair_features=lambda i, j: x[i] - x[j])
    with pytest.raises(ValueError, match="groups: expected one for each speaker"):
        LearnedScorer(**SMALL).fit(x, speakers, groups=np.arange(40) % 2)
    with pytest.raises(ValueError, match="the loss of epoch 1 is nan; set a lower learning_rate"):
        LearnedScorer(**{**SMALL, "batches_per_epoch": 20}, learning_rate=1e30).fit(x, speakers)
    with pytest.raises(ValueError, match="call fit first"):
        LearnedScorer().score_trials(x, [0], [1])
    scorer = LearnedScorer(**SMALL).fit(x, speakers)
    with pytest.raises(ValueError, match="trained without features of pairs"):
        scorer.score_trials(x, [0], [1], [[1.0]])
    with pytest.raises(ValueError, match="expected 5 dimensions as in training, found 4"):
        scorer.score_trials(x[:, :4], [0], [1])
    with pytest.raises(ValueError, match="expected 2 trials as in enrol_index"):
        scorer.score_trials(x, [0, 1], [1])
