from contextlib import contextmanager

import torch

__all__ = ("fork_rng",)


@contextmanager
def fork_rng(devices=None, enabled=True):
    if not enabled:
        yield
        return
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
