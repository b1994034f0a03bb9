"""What turns gradients into steps: Muon for matrices where a stage asks for it, AdamW for all else."""

from collections.abc import Sequence

import torch
from torch import Tensor

from robo_dream.training.muon import Muon


def optimisers(
    parameters: Sequence[Tensor], learning_rate: float, matrix_rate: float, weight_decay: float
) -> dict[torch.optim.Optimizer, float]:
    """Each optimiser with its highest learning rate. `matrix_rate` is Muon's; 0 leaves matrices to AdamW too."""
    matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    by_muon, by_adam = (matrices, []) if matrix_rate else ([], matrices)
    groups = [{"params": by_adam, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)
    return {adam: learning_rate, **({Muon(by_muon, matrix_rate, weight_decay): matrix_rate} if by_muon else {})}
