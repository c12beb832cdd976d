"""Initial weights as Keras and Lasagne draw them, for networks that were published with those."""

from collections.abc import Iterable

from torch import nn


def glorot_uniform(layers: Iterable[nn.Linear | nn.Conv1d | nn.Conv2d]) -> None:
    """Draws weights uniformly with Glorot's variance 2 / (inputs + outputs) and sets biases to 0.

    Source: Glorot and Bengio, AISTATS 2010, equation 16; the default of Keras' and Lasagne's dense layers and convolutions.
    """
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)


def keras_lstm(lstm: nn.LSTM) -> None:
    """Draws the weights of an LSTM of one layer as Keras does.

    Weights of the inputs are Glorot uniform over all four gates together, those of the states orthogonal, and biases 0 but
    for 1 at the forget gate, in one of torch's two bias vectors.

    Source: Keras 2.2, layers/recurrent.py and cudnn_recurrent.py (glorot_uniform, orthogonal, unit_forget_bias).
    """
    width = lstm.hidden_size
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):
                nn.init.ones_(parameter[width : 2 * width])
