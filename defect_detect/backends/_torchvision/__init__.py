"""The parts of the torchvision backend. They import torch, so only functions import them."""
