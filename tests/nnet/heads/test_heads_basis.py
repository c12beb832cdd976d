"""Centre loss and the losses on speaker bases against double loops over the formulas."""

import itertools
import math

import pytest
import torch

from steps.nnet.heads import basis
from steps.nnet.heads.basis import log_mean_exp_square, mean_cosine
from steps.nnet.settings import AAM, AM, Centre, Heo, Softmax
from tests.nnet.heads.loops import DIM, SPEAKERS, cosine, cosines, cross_entropy, dot, example, head_of, hit


def moved(centres, x, labels, rate):
    """The centres after one batch, as lists."""
    result = []
    for j, centre in enumerate(centres):
        own = [row for row, label in zip(x, labels, strict=True) if label == j]
        result.append([c - rate * sum(c - row[d] for row in own) / (1 + len(own)) for d, c in enumerate(centre)])
    return result


BASES = [
    (Centre(weight=0.3), Softmax()),
    (Centre(base="am", scale=8.0, margin=0.1), AM(scale=8.0, margin=0.1)),
    (Centre(base="aam", scale=8.0, margin=0.2, weight=2.0, rate=0.9), AAM(scale=8.0, margin=0.2)),
]


@pytest.mark.parametrize(("settings", "base"), BASES)
def test_centre_loss_is_that_of_loops_and_its_centres_move_once_a_training_batch(settings, base):
    head = head_of(settings)
    plain = head_of(base)
    plain.load_state_dict(head.base.state_dict())
    centres = head.centres_SD.tolist()
    for seed in range(3):
        x_BD, labels_B = example(seed)
        losses_B, hits_B = head(x_BD, labels_B)
        base_losses_B, base_hits_B = plain(x_BD, labels_B)
        rows = zip(x_BD.tolist(), labels_B.tolist(), losses_B.tolist(), base_losses_B.tolist(), strict=True)
        for x, label, loss, base_loss in rows:
            distance = sum((p - q) ** 2 for p, q in zip(x, centres[label], strict=True))
            assert loss == pytest.approx(base_loss + settings.weight / 2 * distance, rel=1e-9)
        assert torch.equal(hits_B, base_hits_B)
        centres = moved(centres, x_BD.tolist(), labels_B.tolist(), settings.rate)
        torch.testing.assert_close(head.centres_SD, torch.tensor(centres, dtype=torch.float64))


def test_centres_begin_at_zero_are_saved_and_rest_in_eval_mode():
    head = head_of(Centre())
    assert head.margin == 0.0
    fresh = type(head)(Centre(), DIM, SPEAKERS)
    assert fresh.state_dict()["centres_SD"].abs().sum() == 0
    assert "centres_SD" not in dict(fresh.named_parameters())
    before = head.centres_SD.clone()
    head.eval()(*example())
    assert torch.equal(head.centres_SD, before)


def test_the_margin_of_the_base_is_that_of_the_head():
    head = head_of(BASES[2][0]).eval()
    full = head(*example())[0].mean()
    head.margin = 0.0
    assert head(*example())[0].mean() < full


@pytest.mark.parametrize("wrong", [{"base": "softmax", "margin": 0.2}, {"base": "aam", "margin": 0.2}, {"base": "heo"}])
def test_centre_settings_without_effect_or_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        Centre(**wrong)


def between_by_loops(weight, form):
    """The mean over all pairs; the diagonal counts with a cosine of 0."""
    pairs = [0.0 if i == j else 5 * cosine(a, b) for (i, a), (j, b) in itertools.product(enumerate(weight), repeat=2)]
    if form == "form1":
        return sum(pairs) / len(pairs)
    return math.log(sum(math.exp(value**2) for value in pairs) / len(pairs))


def hard_by_loops(row, label, s, k):
    nearest = sorted((c for j, c in enumerate(row) if j != label), reverse=True)[:k]
    if s.hard == "log_sum":
        scale = s.hard_scale or 10.0
        return math.log(1 + sum(math.exp(max(scale * c, 0.0) - scale * row[label]) for c in nearest))
    scale = s.hard_scale or 1.0
    return sum(math.log(1 + math.exp(scale * (c - row[label]))) for c in nearest)


HEO = [
    Heo(between="none", hard="none"),
    Heo(between="form2", hard="none"),
    Heo(between="form1", hard="none", between_weight=1.0),
    Heo(between="none", hard="log_sum", num_hard=3),
    Heo(between="none", hard="sum_log", num_hard=4),
    Heo(between="form2", hard="log_sum", num_hard=2, hard_scale=6.0),
    Heo(between="form1", hard="sum_log", num_hard=2, hard_scale=10.0),
    Heo(),
]


@pytest.mark.parametrize("settings", HEO)
def test_losses_of_all_parts_are_those_of_loops(settings):
    head = head_of(settings)
    x_BD, labels_B = example()
    x_BD = 10 * torch.nn.functional.normalize(x_BD)
    losses_B, hits_B = head(x_BD, labels_B)
    weight, bias = head.weight_SD.tolist(), head.bias_S.tolist()
    between = 0.0 if settings.between == "none" else settings.between_weight * between_by_loops(weight, settings.between)
    rows = cosines(x_BD, head.weight_SD)
    for x, row, label, loss, is_hit in zip(
        x_BD.tolist(), rows, labels_B.tolist(), losses_B.tolist(), hits_B.tolist(), strict=True
    ):
        logits = [dot(x, w) + b for w, b in zip(weight, bias, strict=True)]
        hard = 0.0 if settings.hard == "none" else hard_by_loops(row, label, settings, settings.num_hard)
        assert loss == pytest.approx(cross_entropy(logits, label) + between + hard, rel=1e-9)
        assert is_hit == hit(logits, label)


def test_without_its_parts_the_head_is_softmax():
    x_BD, labels_B = example()
    for found, expected in zip(head_of(HEO[0])(x_BD, labels_B), head_of(Softmax())(x_BD, labels_B), strict=True):
        assert torch.equal(found, expected)


def test_the_parts_on_directions_do_not_see_the_length_of_the_embedding():
    x_BD, labels_B = example()
    head, plain = head_of(Heo(num_hard=3)), head_of(Softmax())
    extra = [head(scale * x_BD, labels_B)[0] - plain(scale * x_BD, labels_B)[0] for scale in (1.0, 7.0)]
    torch.testing.assert_close(*extra)


def test_the_defaults_are_those_of_the_published_configuration():
    s = Heo()
    assert (s.between, s.between_weight, s.hard, s.num_hard) == ("form2", 0.1, "log_sum", 25)


@pytest.mark.parametrize("block_size", [1, 20, 63, 10**6])
def test_blocks_give_the_same_between_loss_and_gradient(monkeypatch, block_size):
    monkeypatch.setattr(basis, "BLOCK_SIZE", block_size)
    torch.manual_seed(3)
    weight_SD = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    basis_SD = torch.nn.functional.normalize(weight_SD)
    found = log_mean_exp_square(basis_SD)
    pairs_SS = (5 * basis_SD @ basis_SD.T) * (1 - torch.eye(9))
    expected = pairs_SS.square().exp().mean().log()
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    gradients = [torch.autograd.grad(loss, weight_SD, retain_graph=True)[0] for loss in (3 * found, 3 * expected)]
    torch.testing.assert_close(*gradients)


def test_between_losses_of_many_equal_or_opposite_bases_neither_overflow_nor_cancel():
    basis_SD = torch.nn.functional.normalize(torch.ones(3000, 8))
    share = 2999 / 3000
    assert mean_cosine(basis_SD).item() == pytest.approx(5 * share, rel=1e-4)
    assert log_mean_exp_square(basis_SD).item() == pytest.approx(25 + math.log(share), rel=1e-5)
    basis_SD[::2] *= -1
    assert mean_cosine(basis_SD).item() == pytest.approx(-5 / 3000, rel=1e-3)
    assert log_mean_exp_square(basis_SD).item() == pytest.approx(25 + math.log(share), rel=1e-5)
