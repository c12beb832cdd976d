"""Examples for the heads, and what their losses are made of in plain Python numbers."""

import math

import torch

from steps.nnet.models import build_head

DIM, SPEAKERS, BATCH = 5, 7, 12


def example(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x_BD = torch.randn(BATCH, DIM, generator=generator, dtype=torch.float64)
    labels_B = torch.randint(SPEAKERS, (BATCH,), generator=generator)
    return x_BD, labels_B


def head_of(settings, seed=0):
    """A head in double, its biases and centres drawn at random too."""
    torch.manual_seed(seed)
    head = build_head(settings, DIM, SPEAKERS).double()
    for name, value in head.state_dict().items():
        if "bias" in name or "centres" in name:
            torch.nn.init.normal_(value)
    return head


def dot(a, b):
    return sum(p * q for p, q in zip(a, b, strict=True))


def norm(a):
    return math.sqrt(dot(a, a))


def cosine(a, b):
    return dot(a, b) / (norm(a) * norm(b))


def cosines(x_BD, weight_SD):
    return [[cosine(x, w) for w in weight_SD.tolist()] for x in x_BD.tolist()]


def cross_entropy(logits, label):
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def hit(scores, label):
    """Whether the speaker's score is above every other one's."""
    return all(score < scores[label] for other, score in enumerate(scores) if other != label)
