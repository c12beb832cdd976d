"""What heads say without labels: by hand, and in agreement with the hits of the training loss."""

import pytest
import torch

from steps.monitor.agreement import CLASSIFIERS
from steps.nnet.heads.outputs import class_outputs, class_scores
from steps.nnet.models import HEADS, build_head
from steps.nnet.settings import HEAD_SETTINGS, Centre, Softmax

D, S, B = 5, 7, 40
COSINE = {"am", "aam", "combined", "sub_centre", "a_softmax", "sphereface2", "centre"}  # centre: of its default base


def made(name):
    torch.manual_seed(3)
    head = build_head(HEAD_SETTINGS[name](), D, S).double().eval()
    for vector in (each for key, each in head.named_parameters() if key.endswith("bias_S")):
        torch.nn.init.normal_(vector)
    return head, 3.0 * torch.randn(B, D, dtype=torch.float64), torch.arange(B) % S


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_largest_output_is_that_of_the_speaker_exactly_where_the_loss_says_so(name):
    head, x_BD, labels_B = made(name)
    outputs_BS = class_outputs(head, x_BD)
    assert outputs_BS.shape == (B, S)
    _, hits_B = head(x_BD, labels_B)
    assert 0 < hits_B.sum() < B
    assert torch.equal(outputs_BS.argmax(dim=1) == labels_B, hits_B)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_outputs_are_cosines_or_probabilities(name):
    head, x_BD, _ = made(name)
    outputs_BS = class_outputs(head, x_BD)
    is_cosine = name in COSINE and not (name == "centre" and Centre().base == "softmax")
    if is_cosine:
        assert outputs_BS.min() < 0
        torch.testing.assert_close(class_outputs(head, 10 * x_BD), outputs_BS)
        weight_SD = (head.base if name == "centre" else head).weight_SD.detach()
        cosine_BN = torch.nn.functional.cosine_similarity(x_BD[:, None], weight_SD[None], dim=2)
        torch.testing.assert_close(outputs_BS.detach(), cosine_BN.reshape(B, S, -1).amax(dim=2))
    else:
        torch.testing.assert_close(outputs_BS.sum(dim=1).detach(), torch.ones(B, dtype=torch.float64))
        assert outputs_BS.min() > 0


@pytest.mark.parametrize("bias", [True, False])
def test_the_outputs_of_a_softmax_give_its_loss(bias):
    torch.manual_seed(0)
    head, x_BD, labels_B = build_head(Softmax(bias=bias), D, S), torch.randn(B, D), torch.arange(B) % S
    losses_B, _ = head(x_BD, labels_B)
    torch.testing.assert_close(-class_outputs(head, x_BD)[torch.arange(B), labels_B].log(), losses_B)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_to_identify_by_are_outputs_or_their_logarithms(name):
    head, x_BD, _ = made(name)
    scores_BS, outputs_BS = class_scores(head, x_BD), class_outputs(head, x_BD)
    of_softmax = not torch.equal(scores_BS, outputs_BS)
    assert of_softmax == (outputs_BS.sum(dim=1) - 1.0).abs().lt(1e-9).all()
    torch.testing.assert_close(scores_BS.exp() if of_softmax else scores_BS, outputs_BS)


def test_a_speaker_without_a_chance_still_has_a_rank():
    head = build_head(Softmax(), D, S)
    scores_BS = class_scores(head, 1e5 * torch.randn(B, D))
    assert (class_outputs(head, 1e5 * torch.ones(1, D)) == 0).sum() > 1
    assert all(len(row_S.unique()) == S for row_S in scores_BS)


@pytest.mark.parametrize("name", sorted(set(HEADS) - set(CLASSIFIERS) - {"none"}))
def test_heads_without_an_output_for_each_speaker_are_refused(name):
    with pytest.raises(ValueError, match="expected one with an output for each speaker, found"):
        class_outputs(build_head(HEAD_SETTINGS[name](), D, S), torch.randn(B, D))
