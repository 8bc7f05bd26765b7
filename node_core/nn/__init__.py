"""Layers as pure functions of their parameters, losses, and NeuralODE, the layer that is a differential equation."""

from .conv import AvgPool2d, Conv2d, GroupNorm, ResidualBlock, TimeConv2d, conv2d
from .hyper import Hypernetwork
from .layers import MLP, Flatten, Layer, Linear, Module, Sequential, elu, relu, sigmoid
from .losses import bernoulli_log_likelihood, gaussian_log_likelihood, poisson_log_likelihood, softmax_cross_entropy
from .ode import NeuralODE
from .recurrent import GRUCell, RNNCell

__all__ = [
    "MLP",
    "AvgPool2d",
    "Conv2d",
    "Flatten",
    "GRUCell",
    "GroupNorm",
    "Hypernetwork",
    "Layer",
    "Linear",
    "Module",
    "NeuralODE",
    "RNNCell",
    "ResidualBlock",
    "Sequential",
    "TimeConv2d",
    "bernoulli_log_likelihood",
    "conv2d",
    "elu",
    "gaussian_log_likelihood",
    "poisson_log_likelihood",
    "relu",
    "sigmoid",
    "softmax_cross_entropy",
]
