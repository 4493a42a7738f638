"""What a researcher keeps in a file of their own, and uses by its name."""
import math

import torch

SCALE = 0.5
seen = {}


def similarity(left, right):
    seen[tuple(left.shape)] = seen.get(tuple(left.shape), 0) + 1
    return torch.nn.functional.cosine_similarity(left, right, dim=-1) * math.sqrt(SCALE)


class Mean:
    """A running mean."""

    def __init__(self):
        self.count, self.value = 0, 0.0

    def push(self, rows):
        for row in rows:
            self.count += 1
            self.value = self.value + (row - self.value) / self.count
        return self
