"""Heads over pairs, triplets and episodes against loops over the formulas, in plain Python."""

import math
from itertools import combinations

import pytest
import torch
from torch import tensor

from steps.nnet.models import build_head, num_parameters
from steps.nnet.settings import (
    GE2E,
    HEAD_SETTINGS,
    AngularPrototypical,
    Contrastive,
    PairwiseKL,
    Prototypical,
    Siamese,
    Triplet,
)

DIM, SPEAKERS, N, M = 5, 7, 4, 3
GROUPED = tensor([6, 6, 6, 2, 2, 2, 0, 0, 0, 5, 5, 5])
PAIRED = tensor([3, 3, 1, 1, 3, 3, 6, 2, 0, 3, 1, 6])

PAIR_HEADS = [
    Contrastive(), Contrastive(normalise=False, margin=2.5, half=True), Siamese(), Siamese(distance="weighted_l1"),
    Siamese(loss="contrastive"), Siamese(distance="weighted_l1", loss="contrastive", margin=0.6), PairwiseKL(),
]  # fmt: skip
GROUP_HEADS = [
    Contrastive(pairs="all"), Contrastive(pairs="all", hardest_negatives=0.1), Triplet(), Triplet(mining="semi_hard"),
    Triplet(mining="hard", normalise=False, margin=3.0), PairwiseKL(margin=2.0), GE2E(), GE2E(form="contrast"), Prototypical(),
    Prototypical(queries=2), AngularPrototypical(), AngularPrototypical(queries=2, scale=3.0, bias=1.0),
]  # fmt: skip
CASES = [(each, PAIRED) for each in PAIR_HEADS] + [(each, GROUPED) for each in GROUP_HEADS]


def named(value):
    return None if isinstance(value, torch.Tensor) else repr(value)


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(12, DIM, generator=generator, dtype=torch.float64)


def head_of(settings, seed=0):
    torch.manual_seed(seed)
    return build_head(settings, DIM, SPEAKERS).double()


def unit(x):
    length = math.sqrt(sum(a * a for a in x))
    return [a / length for a in x]


def squared(x, y):
    return sum((a - b) ** 2 for a, b in zip(x, y, strict=True))


def dot(x, y):
    return sum(a * b for a, b in zip(x, y, strict=True))


def mean(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def expect(head, x_BD, labels_B, losses, hits):
    """The head's losses and hits are these, in any order."""
    losses_K, hits_K = head(x_BD, labels_B)
    assert not hits_K.requires_grad
    assert len(losses_K) == len(hits_K) == len(losses)
    found = sorted(zip(losses_K.tolist(), hits_K.tolist(), strict=True))
    for (loss, hit), (expected_loss, expected_hit) in zip(found, sorted(zip(losses, hits, strict=True)), strict=True):
        assert loss == pytest.approx(expected_loss, rel=1e-6, abs=1e-6)
        assert hit == expected_hit
    assert losses_K.mean().item() == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert len(set(hits)) == 2, "the example must have hits and misses"


def contrastive(distance, same, margin):
    return distance**2 if same else max(0.0, margin - distance) ** 2


@pytest.mark.parametrize(
    ("settings", "labels_B"),
    [
        (Contrastive(), PAIRED),
        (Contrastive(margin=3.0, normalise=False, half=True), PAIRED),
        (Contrastive(pairs="all", margin=1.7), PAIRED),
        (Contrastive(pairs="all", hardest_negatives=0.2), GROUPED),
        (Contrastive(margin=1.4, hardest_negatives=0.67), PAIRED),
    ],
    ids=repr,
)
def test_contrastive_losses_are_those_of_loops(settings, labels_B):
    x_BD = example() + 0.3
    x_BD[1] = x_BD[0] + 0.1
    x = [unit(row) if settings.normalise else row for row in x_BD.tolist()]
    chosen = [(2 * i, 2 * i + 1) for i in range(6)] if settings.pairs == "consecutive" else list(combinations(range(12), 2))
    found = [(labels_B[i] == labels_B[j], math.sqrt(squared(x[i], x[j]))) for i, j in chosen]
    apart = sorted(distance for same, distance in found if not same)
    kept = apart[: max(1, round(settings.hardest_negatives * len(apart)))]
    assert settings.hardest_negatives == 1 or len(kept) < len(apart)
    found = [(True, distance) for same, distance in found if same] + [(False, distance) for distance in kept]
    losses = [contrastive(distance, same, settings.margin) * (0.5 if settings.half else 1.0) for same, distance in found]
    expect(head_of(settings), x_BD, labels_B, losses, [(distance < settings.margin / 2) == same for same, distance in found])


def triplets(d, mining):
    """(anchor-positive, anchor-negative) distances of the triplets."""
    found = []
    for a in range(12):
        positives = [d[a][p] for p in range(12) if p != a and p // M == a // M]
        negatives = [d[a][n] for n in range(12) if n // M != a // M]
        if mining == "hard":
            found.append((max(positives), min(negatives)))
        for positive in positives if mining != "hard" else ():
            beyond = [negative for negative in negatives if negative > positive]
            chosen = negatives if mining == "all" else [min(beyond) if beyond else max(negatives)]
            found.extend((positive, negative) for negative in chosen)
    return found


@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
@pytest.mark.parametrize("normalise", [True, False])
def test_triplet_losses_are_those_of_loops(mining, normalise):
    x_BD = example(3)
    x_BD[0] *= 4.0  # some positives are farther than all negatives, also where there is nothing to normalise
    x_BD[1] = -x_BD[0] + 0.01
    x = [unit(row) if normalise else row for row in x_BD.tolist()]
    d = [[squared(a, b) for b in x] for a in x]
    found = triplets(d, mining)
    assert len(found) == {"all": 12 * 2 * 9, "semi_hard": 12 * 2, "hard": 12}[mining]
    assert mining != "semi_hard" or any(positive > negative for positive, negative in found)
    losses = [max(0.0, positive - negative + 0.2) for positive, negative in found]
    settings = Triplet(mining=mining, normalise=normalise)
    hits = [positive < negative for positive, negative in found]
    if mining != "hard":
        return expect(head_of(settings), x_BD, GROUPED, losses, hits)
    losses_K, hits_K = head_of(settings)(x_BD, GROUPED)
    torch.testing.assert_close(losses_K, tensor(losses, dtype=torch.float64))
    assert hits_K.tolist() == hits


@pytest.mark.parametrize("settings", [each for each in PAIR_HEADS if isinstance(each, Siamese)], ids=repr)
def test_siamese_losses_are_those_of_loops(settings):
    head = head_of(settings)
    torch.nn.init.constant_(head.output.bias, -0.8)
    torch.nn.init.uniform_(head.output.weight, 0.1, 0.5)
    x_BD = example(1)
    weights, bias = head.output.weight[0].tolist(), head.output.bias.item()
    losses, hits = [], []
    for first, second, same in zip(x_BD[::2].tolist(), x_BD[1::2].tolist(), PAIRED[::2] == PAIRED[1::2], strict=True):
        if settings.distance == "euclidean":
            logit = weights[0] * math.sqrt(squared(first, second)) + bias
        else:
            logit = sum(w * abs(a - b) for w, a, b in zip(weights, first, second, strict=True)) + bias
        p = 1.0 / (1.0 + math.exp(-logit))
        cross_entropy = -math.log(1.0 - p) if same else -math.log(p)
        losses.append(cross_entropy if settings.loss == "bce" else contrastive(p, same, settings.margin))
        hits.append((p > 0.5) != bool(same))
    expect(head, x_BD, PAIRED, losses, hits)


def test_a_siamese_head_has_a_weight_a_bias_and_tells_them():
    assert num_parameters(head_of(Siamese())) == 2
    assert num_parameters(head_of(Siamese(distance="weighted_l1"))) == DIM + 1
    for distance, count in (("euclidean", 1), ("weighted_l1", DIM)):
        head = head_of(Siamese(distance=distance))
        torch.nn.init.constant_(head.output.bias, 0.25)
        torch.nn.init.constant_(head.output.weight, -1.5)
        assert head.pair_head() == {"type": distance, "weights": [-1.5] * count, "bias": 0.25}


@pytest.mark.parametrize(("margin", "labels_B"), [(3.0, GROUPED), (2.0, PAIRED)])
def test_pairwise_divergences_are_those_of_loops(margin, labels_B):
    head = head_of(PairwiseKL(margin=margin))
    torch.nn.init.normal_(head.bias_S)
    torch.nn.init.normal_(head.weight_SD, std=0.8)
    assert num_parameters(head) == SPEAKERS * (DIM + 1)
    x_BD = example()
    weight, bias = head.weight_SD.tolist(), head.bias_S.tolist()
    probabilities = []
    for x in x_BD.tolist():
        powers = [math.exp(dot(w, x) + b) for w, b in zip(weight, bias, strict=True)]
        probabilities.append([power / sum(powers) for power in powers])

    def divergence(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    losses, hits = [], []
    for i, j in combinations(range(12), 2):
        same = bool(labels_B[i] == labels_B[j])
        there = divergence(probabilities[i], probabilities[j])
        back = divergence(probabilities[j], probabilities[i])
        losses.append(there + back if same else max(0.0, margin - there) + max(0.0, margin - back))
        hits.append((there + back < margin) == same)
    expect(head, x_BD, labels_B, losses, hits)
    assert head(x_BD, labels_B)[0].mean().item() == pytest.approx(sum(losses) / (12 * 11 / 2))


def test_divergences_are_finite_where_a_probability_vanishes():
    head = build_head(PairwiseKL(), DIM, SPEAKERS)
    x_BD = (1e4 * example().float()).requires_grad_()
    losses_K, _ = head(x_BD, GROUPED)
    losses_K.mean().backward()
    assert torch.isfinite(losses_K).all()
    assert torch.isfinite(x_BD.grad).all()


@pytest.mark.parametrize("form", ["softmax", "contrast"])
def test_ge2e_losses_are_those_of_loops(form):
    head = head_of(GE2E(form=form, scale=4.0, bias=-1.0))
    assert num_parameters(head) == 2
    x_BD = example() + 0.5
    e = [unit(row) for row in x_BD.tolist()]
    losses, hits = [], []
    for number in range(12):
        similarity = []
        for k in range(N):
            members = [e[other] for other in range(k * M, (k + 1) * M) if other != number]
            similarity.append(4.0 * dot(e[number], unit(mean(members))) - 1.0)
        own = similarity.pop(number // M)
        if form == "softmax":
            losses.append(-own + math.log(sum(math.exp(s) for s in [own, *similarity])))
        else:
            losses.append(1 - 1 / (1 + math.exp(-own)) + max(1 / (1 + math.exp(-s)) for s in similarity))
        hits.append(own > max(similarity))
    expect(head, x_BD, GROUPED, losses, hits)


@pytest.mark.parametrize("queries", [1, 2])
@pytest.mark.parametrize("angular", [False, True])
def test_prototypical_losses_are_those_of_loops(queries, angular):
    settings = AngularPrototypical(queries=queries, scale=6.0, bias=2.0) if angular else Prototypical(queries=queries)
    head = head_of(settings)
    assert num_parameters(head) == (2 if angular else 0)
    x_BD = example(1) + 0.2
    groups = x_BD.view(N, M, DIM).tolist()
    supports = [mean(group[queries:]) for group in groups]
    losses, hits = [], []
    for speaker, group in enumerate(groups):
        for query in group[:queries]:
            if angular:
                logits = [6.0 * dot(unit(query), unit(support)) + 2.0 for support in supports]
            else:
                logits = [-squared(query, support) for support in supports]
            losses.append(math.log(sum(math.exp(logit) for logit in logits)) - logits[speaker])
            hits.append(logits[speaker] == max(logits))
    expect(head, x_BD, GROUPED, losses, hits)


@pytest.mark.parametrize("settings", [GE2E(), AngularPrototypical(), GE2E(scale=0.01), GE2E(scale=800.0)], ids=repr)
def test_the_scale_begins_as_set_and_stays_above_0(settings):
    head = head_of(settings)
    assert head.similarity.scale.item() == pytest.approx(settings.scale, rel=1e-5)
    assert head.similarity.bias.item() == -5.0
    before = head.similarity.scale
    before.backward()
    assert head.similarity.raw_scale.grad > 0
    with torch.no_grad():
        head.similarity.raw_scale.sub_(before.item() + 20.0)
    assert 0 < head.similarity.scale.item() < 1e-8


@pytest.mark.parametrize(("settings", "labels_B"), CASES, ids=named)
def test_gradients_are_those_of_differences(settings, labels_B):
    head = head_of(settings)
    x_BD = example(2) + 0.5
    names, values = zip(*head.named_parameters(), strict=True) if num_parameters(head) else ((), ())

    def losses(x, *parameters):
        return torch.func.functional_call(head, dict(zip(names, parameters, strict=True)), (x, labels_B))[0]

    inputs = (x_BD.requires_grad_(), *(value.detach().clone().requires_grad_() for value in values))
    assert torch.autograd.gradcheck(losses, inputs)
    assert losses(*inputs).sum() > 0


@pytest.mark.parametrize(("settings", "labels_B"), CASES, ids=named)
def test_gradients_are_finite_where_embeddings_coincide(settings, labels_B):
    torch.manual_seed(0)
    head = build_head(settings, DIM, SPEAKERS)
    for x_BD in (torch.ones(12, DIM), torch.zeros(12, DIM), example().float()[:1].repeat(12, 1)):
        x_BD.requires_grad_()
        losses_K, _ = head(x_BD, labels_B)
        losses_K.mean().backward()
        assert torch.isfinite(losses_K).all()
        assert torch.isfinite(x_BD.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())


@pytest.mark.parametrize(("settings", "labels_B"), CASES, ids=named)
def test_heads_compute_in_float32_under_autocast(settings, labels_B):
    torch.manual_seed(0)
    head = build_head(settings, DIM, SPEAKERS)
    x_BD = example().to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        losses_K, hits_K = head(x_BD, labels_B)
    expected_K, expected_hits_K = head(x_BD.float(), labels_B)
    assert losses_K.dtype == torch.float32
    assert torch.equal(losses_K, expected_K)
    assert torch.equal(hits_K, expected_hits_K)


@pytest.mark.parametrize("settings", [Contrastive(), Triplet(), Siamese(loss="contrastive"), PairwiseKL()], ids=repr)
def test_the_margin_can_be_set_and_a_larger_one_costs_more(settings):
    labels_B = PAIRED if "pairs" in settings.batches else GROUPED
    head = head_of(settings)
    costs = []
    for margin in (0.1, 0.5, 1.0):
        head.margin = margin
        costs.append(head(example(), labels_B)[0].mean().item())
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


SINGLE = torch.full((12,), 4)


@pytest.mark.parametrize(
    ("settings", "labels_B", "message"),
    [
        *((each, SINGLE, "found none|found one|found 1") for each in PAIR_HEADS + GROUP_HEADS),
        (Contrastive(), PAIRED[:11], "even number of examples, found 11"),
        (Siamese(), PAIRED[:11], "even number of examples, found 11"),
        *(
            (each, labels_B, message)
            for each in GROUP_HEADS
            if each.batches == ("groups",)
            for labels_B, message in (
                (tensor([0, 0, 1, 1, 1, 2, 2]), "found runs of 2, 3"),
                (tensor([0, 0, 1, 1, 0, 0]), "found runs of 2"),
                (tensor([0, 1, 0, 1]), "found runs of 1"),
                (torch.arange(6), "expected at least [23] of each speaker .train.group_size., found 1"),
            )
        ),
        (Prototypical(queries=3), GROUPED, "expected at least 4 of each speaker"),
    ],
    ids=named,
)
def test_batches_that_are_not_so_built_are_refused(settings, labels_B, message):
    with pytest.raises(ValueError, match=message):
        head_of(settings)(example()[: len(labels_B)], labels_B)


def test_settings_say_which_batches_they_need():
    found = {name: getattr(HEAD_SETTINGS[name], "batches", None) for name in ("softmax", "triplet", "siamese", "contrastive")}
    assert found == {"softmax": None, "triplet": ("groups",), "siamese": ("pairs",), "contrastive": ("pairs", "groups")}
    assert Contrastive().batches == ("pairs",)
    assert Contrastive(pairs="all").batches == ("pairs", "groups")
    assert "speaker" not in PairwiseKL().batches


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (Contrastive, {"pairs": "some"}, "found 'some'"),
        (Contrastive, {"margin": 0.0}, "above 0, found 0"),
        (Contrastive, {"hardest_negatives": 0.0}, "above 0"),
        (Contrastive, {"hardest_negatives": 1.1}, "expected 0 to 1"),
        (Triplet, {"mining": "soft"}, "found 'soft'"),
        (Triplet, {"margin": -1.0}, "above 0"),
        (Siamese, {"distance": "cosine"}, "found 'cosine'"),
        (Siamese, {"loss": "l2"}, "found 'l2'"),
        (Siamese, {"margin": 2.0}, "only with loss = 'contrastive'"),
        (PairwiseKL, {"margin": 0.0}, "above 0"),
        (GE2E, {"form": "max"}, "found 'max'"),
        (GE2E, {"scale": 0.0}, "above 0"),
        (Prototypical, {"queries": 0}, "at least 1"),
        (AngularPrototypical, {"scale": -1.0}, "above 0"),
    ],
)
def test_wrong_settings_are_refused(settings, changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
