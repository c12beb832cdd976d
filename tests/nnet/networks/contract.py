"""What every network has to hold to: call these from a test of each network, with small settings."""

from contextlib import nullcontext

import pytest
import torch

from steps.nnet.models import build_model
from steps.nnet.precision import runs_in_bf16


def small_model(settings, num_bins=20, seed=0):
    """Returns a network in eval mode whose batch norms have statistics and affines that are not trivial."""
    torch.manual_seed(seed)
    model = build_model(settings, num_bins)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            if module.affine:
                torch.nn.init.normal_(module.bias)
    return model.eval()


def feats(batch, num_frames, num_bins=20, seed=1):
    """Returns normal random features."""
    return torch.randn(batch, num_frames, num_bins, generator=torch.Generator().manual_seed(seed))


def check_contract(settings, num_bins=20, num_frames=61, atol=1e-5):
    """Shapes, padding, the shortest clip, the frame part, gradients that reach every weight, and training in bfloat16."""
    model = small_model(settings, num_bins)
    _check_padding(model, num_bins, num_frames, atol)
    _check_shortest(model, num_bins, num_frames)
    assert {id(p) for part in model.frame_part() for p in part.parameters()} < {id(p) for p in model.parameters()}
    model.train()
    embedding_BD = model(feats(4, num_frames, num_bins))
    assert embedding_BD.shape == (4, model.embedding_dim)
    assert embedding_BD.dtype == torch.float32
    x_BD = model.classifier_input(embedding_BD)
    assert x_BD.shape == (4, model.classifier_dim)
    (x_BD * torch.randn(x_BD.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not silent, f"without a finite gradient: {silent}"
    _check_bfloat16(model, num_bins, num_frames)


def _check_bfloat16(model, num_bins, num_frames):
    """On any CPU a network trains in bfloat16, unless it names a layer that does not run there: then it does not."""
    runs = all(runs_in_bf16(torch.device("cpu"), layer) for layer in model.bf16_layers)
    model.zero_grad()
    with nullcontext() if runs else pytest.raises(RuntimeError):
        with torch.autocast("cpu", torch.bfloat16):
            x_BD = model.classifier_input(model(feats(4, num_frames, num_bins)))
        x_BD.float().square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def _check_padding(model, num_bins, num_frames, atol):
    lengths_B = torch.tensor([num_frames, max(model.min_frames, num_frames * 2 // 3), model.min_frames, num_frames - 1])
    feats_BTF = feats(4, num_frames, num_bins)
    for clip, length in zip(feats_BTF, lengths_B, strict=True):
        clip[length:] = 1e3
    with torch.no_grad():
        batch_BD = model(feats_BTF, lengths_B)
        single_BD = torch.cat([model(clip[None, :n]) for clip, n in zip(feats_BTF, lengths_B, strict=True)])
    torch.testing.assert_close(batch_BD, single_BD, rtol=1e-4, atol=atol)


def _check_shortest(model, num_bins, num_frames):
    with torch.no_grad():
        assert torch.isfinite(model(feats(1, model.min_frames, num_bins))).all()
        with pytest.raises(ValueError, match=rf"needs {model.min_frames} frames, found {model.min_frames - 1}"):
            model(feats(1, model.min_frames - 1, num_bins))
