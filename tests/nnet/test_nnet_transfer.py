"""What is taken over from another network, what stays fresh, and what is refused."""

import pytest
import torch

from steps.nnet.models import build_model
from steps.nnet.settings import XVector
from steps.nnet.transfer import freeze, transfer

SMALL = {"channels": (8, 8, 12), "kernel_sizes": (5, 3, 1), "dilations": (1, 2, 1)}


def model(seed, **changes):
    torch.manual_seed(seed)
    return build_model(XVector(**SMALL | {"embedding_dim": 6} | changes), 10)


def test_a_network_of_the_same_settings_is_taken_over_whole():
    source, target = model(0), model(1)
    source.frame_layers[0].norm.running_mean.fill_(3.0)
    done = transfer(target, source.state_dict())
    assert not done.fresh
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def test_layers_behind_the_pooling_may_be_of_another_size_and_stay_fresh():
    source, target = model(0), model(1, embedding_dim=4, segment_layers=1)
    before = target.embedding.weight.clone()
    done = transfer(target, source.state_dict())
    assert set(done.fresh) == {"embedding.weight", "embedding.bias"}
    assert torch.equal(target.embedding.weight, before)
    assert torch.equal(target.frame_layers[2].affine.weight, source.frame_layers[2].affine.weight)


@pytest.mark.parametrize("changes", [{"channels": (8, 8, 14)}, {"channels": (8, 9, 12)}])
def test_other_layers_before_the_pooling_are_refused(changes):
    with pytest.raises(ValueError, match=r"before the pooling differ: frame_layers\.[12]\.affine\.weight: expected shape"):
        transfer(model(1), model(0, **changes).state_dict())


def test_a_network_that_lacks_a_layer_is_refused():
    shallow = XVector(channels=(8, 8), kernel_sizes=(5, 3), dilations=(1, 2), embedding_dim=6)
    with pytest.raises(ValueError, match="found none"):
        transfer(model(1), build_model(shallow, 10).state_dict())


def test_frozen_layers_are_out_of_training():
    network = model(0)
    freeze(network.frame_part())
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {
        name for name, _ in network.named_parameters() if not name.startswith("frame_layers")
    }
