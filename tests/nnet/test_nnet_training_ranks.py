"""Two and three ranks make the updates of one process: losses, weights and statistics, for every way a head sees its batch."""

import copy

import numpy as np
import pytest
import torch

from steps.core.rng import generator
from steps.nnet.distributed import ALONE, share_of
from steps.nnet.heads.partial import PartialHead
from steps.nnet.models import build_head, build_model
from steps.nnet.settings import (
    AAM,
    AM,
    GE2E,
    BiLSTM,
    Centre,
    Contrastive,
    Heo,
    PairwiseKL,
    Prototypical,
    ResNet,
    Siamese,
    Softmax,
    SubCentre,
    Triplet,
    XVector,
)  # fmt: skip
from steps.nnet.train_settings import Train
from steps.nnet.training import Training
from tests.nnet.ranks import in_ranks

NUM_BINS, NUM_SPEAKERS, BATCH, UPDATES = 8, 7, 8, 4
TDNN = XVector(channels=(8, 8, 8, 8, 12), embedding_dim=6)
# Batch norms in two dimensions, and one behind the embedding.
RESIDUAL = ResNet(blocks=(1, 1, 1, 1), channels=4, embedding_dim=6, embedding_norm=True, head_input="bn_relu")
NO_NORM = BiLSTM(width=4, dense_dims=(6,), dropout=0.0, dense_dropout=0.0)


def settings(**changes) -> Train:
    values = {"epochs": 2, "batch_size": BATCH, "learning_rate": 0.1, "final_learning_rate": 0.05, "precision": "float32"}
    return Train(**values | changes)


def batch(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Four speakers with two examples each, one after the other: pairs and groups at once."""
    rng = torch.Generator().manual_seed(number)
    labels_B = torch.randperm(NUM_SPEAKERS, generator=rng)[: BATCH // 2].repeat_interleave(2)
    feats_BTF = torch.randn(BATCH, 20, NUM_BINS, dtype=torch.float64, generator=rng)
    feats_BTF[torch.arange(BATCH), :, labels_B] += 1.0
    return feats_BTF, labels_B


def paired(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs, half of them alike."""
    feats_BTF, labels_B = batch(number)
    order = torch.tensor([0, 1, 2, 3, 4, 6, 5, 7])
    return feats_BTF[order], labels_B[order]


def a_run(chosen: Train, model, head, world=ALONE) -> Training:
    torch.manual_seed(7)
    network = build_model(model, NUM_BINS).double()
    made = build_head(head, network.classifier_dim, NUM_SPEAKERS).double()
    if chosen.partial_head:
        draws = lambda update: generator(1, "test", world.rank, update)  # noqa: E731
        made = PartialHead(made, world, share=chosen.class_share, draws=draws)
    return Training(chosen, network, made, steps_per_epoch=UPDATES, device=torch.device("cpu"), world=world)


def do(training: Training, data, first: int, last: int) -> Training:
    for number in range(first, last):
        feats_BTF, labels_B = data(number)
        share = share_of(BATCH, training.world)
        training.train_batch(feats_BTF[share], labels_B[share])
    return training


def results(training: Training) -> dict:
    head = training.whole_head().state_dict()
    return {
        "weights": {f"model.{name}": value.clone() for name, value in training.model.state_dict().items()}
        | {f"head.{name}": value.clone() for name, value in head.items()},
        "counts": {name: torch.tensor(value) for name, value in vars(training.sums).items()},
        "frames": training.frames_seen,
    }


def assert_same(found: dict, expected: dict, *, tolerance: float = 1e-9) -> None:
    for part in ("weights", "counts"):
        assert found[part].keys() == expected[part].keys()
        for name, value in expected[part].items():
            torch.testing.assert_close(
                found[part][name], value, rtol=tolerance, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}"
            )
    assert found["frames"] == expected["frames"]


SMALL = {"scale": 8.0, "margin": 0.2}
CASES = {
    "aam": (TDNN, AAM(**SMALL), {"margin_end_epoch": 1.0}, batch),
    "softmax, residual": (RESIDUAL, Softmax(), {"optimizer": "adamw", "learning_rate": 0.01}, batch),
    "no batch norm": (NO_NORM, AM(**SMALL), {}, batch),
    "limits": (TDNN, SubCentre(**SMALL), {"max_gradient_norm": 0.5, "max_change": 0.3}, batch),
    "hardest": (TDNN, AAM(**SMALL), {"hardest_share": 0.4}, batch),
    "heo": (TDNN, Heo(between="form2", hard="log_sum"), {}, batch),
    "centre": (TDNN, Centre(weight=0.1), {}, batch),
    "ge2e": (TDNN, GE2E(), {}, batch),
    "prototypical": (TDNN, Prototypical(), {}, batch),
    "triplet": (TDNN, Triplet(), {}, batch),
    "contrastive": (TDNN, Contrastive(), {}, paired),
    "siamese": (TDNN, Siamese(), {}, paired),
    "pairwise_kl": (NO_NORM, PairwiseKL(), {}, batch),
}


def all_cases(world):
    """Everything that three ranks are asked, in one go."""
    found = {}
    for name, (model, head, changes, data) in CASES.items():
        found[name] = results(do(a_run(settings(**changes, ranks=3), model, head, world), data, 0, UPDATES))
    for name, head in PARTIAL.items():
        found[name] = results(do(a_run(settings(**LIMITED, ranks=3, shard_head=True), TDNN, head, world), batch, 0, UPDATES))
    return found


@pytest.fixture(scope="module")
def of_three_ranks():
    return in_ranks(3, all_cases)


PARTIAL = {
    "dealt out softmax": Softmax(), "dealt out softmax without bias": Softmax(bias=False),
    "dealt out am": AM(**SMALL), "dealt out aam": AAM(**SMALL),
}  # fmt: skip
LIMITED = {"max_gradient_norm": 0.5}


@pytest.mark.parametrize("case", CASES)
def test_ranks_make_the_updates_of_one_process(of_three_ranks, case):
    """In double precision, so that another order of sums is all that may differ."""
    model, head, changes, data = CASES[case]
    first, *others = (found[case] for found in of_three_ranks)
    assert_same(first, results(do(a_run(settings(**changes), model, head), data, 0, UPDATES)))
    for other in others:  # to the last bit: otherwise they would drift apart
        assert all(torch.equal(other["weights"][name], value) for name, value in first["weights"].items())


@pytest.mark.parametrize("case", PARTIAL)
def test_a_head_dealt_out_over_ranks_is_the_whole_head(of_three_ranks, case):
    expected = results(do(a_run(settings(**LIMITED), TDNN, PARTIAL[case]), batch, 0, UPDATES))
    for found in of_three_ranks:
        assert_same(found[case], expected)


def resumed(world, chosen, head):
    """A run; one that is cut off after three updates; its state; and whether the ranks agree, also after one has moved."""
    whole = a_run(chosen, TDNN, head, world)
    found = results(do(whole, batch, 0, UPDATES))
    state = do(a_run(chosen, TDNN, head, world), batch, 0, 3).state_dict()
    other = a_run(chosen, TDNN, head, world)
    torch.manual_seed(99)
    other.load_state_dict(copy.deepcopy(world.from_first(state)))
    agree = whole.ranks_agree()
    with torch.no_grad():
        next(whole.model.parameters()).flatten()[0] += 1e-3 * world.rank
    return found, results(do(other, batch, 3, UPDATES)), state, (agree, whole.ranks_agree())


def all_resumed(world):
    runs = ((share, optimizer) for share in (1.0, 0.5) for optimizer in ("sgd", "amsgrad"))
    return {
        run: resumed(world, settings(ranks=2, shard_head=True, class_share=run[0], optimizer=run[1]), Softmax()) for run in runs
    }


@pytest.fixture(scope="module")
def of_two_ranks():
    return in_ranks(2, all_resumed)


@pytest.mark.parametrize("optimizer", ["sgd", "amsgrad"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_resumed_run_of_ranks_is_the_uninterrupted_one_bit_for_bit(of_two_ranks, share, optimizer):
    for found in of_two_ranks:
        whole, other, _, agree = found[share, optimizer]
        assert_same(other, whole, tolerance=0.0)
        assert agree == (True, False)


def test_one_process_goes_on_with_what_ranks_saved(of_two_ranks):
    """A checkpoint holds what one process would hold, class vectors and their momentum included."""
    whole, _, state, _ = of_two_ranks[0][1.0, "sgd"]
    alone = a_run(settings(), TDNN, Softmax())
    alone.load_state_dict(copy.deepcopy(state))
    assert_same(results(do(alone, batch, 3, UPDATES)), whole)


def drawn_run(world, chosen):
    """Weights before and after each update, momentum, and what was drawn."""
    training, seen = a_run(chosen, TDNN, AAM(**SMALL), world), []
    for number in range(6):
        before = training.head.state_of_all()["weight_SD"]
        do(training, batch, number, number + 1)
        index = np.arange(NUM_SPEAKERS)[training.head.rows][training.head.index_N.numpy()]
        seen.append((before, training.head.state_of_all()["weight_SD"], set(index.tolist())))
    return seen


@pytest.mark.parametrize("num", [1, 2])
def test_only_drawn_class_vectors_are_compared_and_move(num):
    chosen = settings(ranks=num, shard_head=num > 1, class_share=0.4, weight_decay=0.1)
    found = [drawn_run(ALONE, chosen)] if num == 1 else in_ranks(num, drawn_run, chosen)
    everything = set()
    for number in range(6):
        before, after, _ = found[0][number]
        drawn = set().union(*(each[number][2] for each in found))
        assert set(batch(number)[1].tolist()) <= drawn
        assert drawn == set((before != after).any(dim=1).nonzero().flatten().tolist())
        everything |= {frozenset(drawn)}
    assert len(everything) > 2  # drawn anew


def test_drawn_class_vectors_keep_their_momentum_until_they_are_drawn_again():
    """SGD with Nesterov's momentum by hand, row by row."""
    training = a_run(settings(class_share=0.4, weight_decay=0.1), TDNN, AAM(**SMALL))
    weight_SD = training.head.state_of_all()["weight_SD"].clone()
    velocity_SD = torch.zeros_like(weight_SD)
    for number in range(6):
        do(training, batch, number, number + 1)
        rows, rate = training.head.index_N, training.optimizer.param_groups[0]["lr"]
        gradient_ND = training.head.drawn["weight_SD"].grad + 0.1 * weight_SD[rows]
        velocity_SD[rows] = 0.9 * velocity_SD[rows] + gradient_ND
        weight_SD[rows] -= rate * (gradient_ND + 0.9 * velocity_SD[rows])
        torch.testing.assert_close(training.head.state_of_all()["weight_SD"], weight_SD)


def test_a_loss_over_drawn_class_vectors_is_the_head_of_those_alone():
    torch.manual_seed(5)
    base = build_head(AAM(**SMALL), 6, 40).double()
    head = PartialHead(base, ALONE, share=0.25, draws=lambda update: generator(1, "draw", update))
    x_BD = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    labels_B = torch.tensor([3, 9, 9, 30, 17])
    losses_B, hits_B = head(x_BD, labels_B)
    (gradient,) = torch.autograd.grad(losses_B.sum(), x_BD)
    assert len(head.index_N) == 10
    small = build_head(AAM(**SMALL), 6, 10).double()
    small.weight_SD = torch.nn.Parameter(base.weight_SD.detach()[head.index_N])
    places_B = torch.tensor([head.index_N.tolist().index(label) for label in labels_B.tolist()])
    expected_B, expected_hits_B = small(x_BD, places_B)
    torch.testing.assert_close(losses_B, expected_B)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected_B.sum(), x_BD)[0])
    assert torch.equal(hits_B, expected_hits_B)
