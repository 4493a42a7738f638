"""Writes crates/torch/src/array/ziggurat.txt: what NumPy's `Generator` makes normal numbers of, a line for each strip.

Bounds below which a number is taken at once, and heights, are those of 256 strips of equal area under exp(-x²/2). NumPy's widths
are rounded in a way of their own, so NumPy is asked for them: of a word whose magnitude is one, it gives the width itself.

    .venv/bin/python tools/ziggurat.py > crates/torch/src/array/ziggurat.txt
"""
from decimal import Decimal, getcontext

import numpy as np

getcontext().prec = 50
STRIPS, SCALE = 256, Decimal(2) ** 52
# Where the tail begins, and the area of each strip.
TAIL, AREA = Decimal("3.65415288536100877164542972039951576297485460618844"), Decimal("0.00492867323397465524494")


def height(x):
    return (-x * x / 2).exp()


def edges():
    found = [TAIL]
    while len(found) < STRIPS - 1:
        found.append((-2 * (AREA / found[-1] + height(found[-1])).ln()).sqrt())
    return found[::-1]


def width(strip):
    """The number that NumPy makes of a word: of this strip, positive, with a magnitude of one."""
    bits = np.random.PCG64(0)
    word, state = strip | 1 << 9, bits.state
    # What comes out is the upper half of the next state against the lower, turned by its upper six bits, which are none.
    step, increment = 0x2360ED051FC65DA44385DF649FCCF645, state["state"]["inc"]
    state["state"]["state"] = (word - increment) * pow(step, -1, 1 << 128) % (1 << 128)
    bits.state = state
    return np.random.Generator(bits).standard_normal()


if __name__ == "__main__":
    x = edges()
    bounds = [TAIL * height(TAIL) / AREA, Decimal(0)] + [inner / outer for inner, outer in zip(x, x[1:])]
    heights = [Decimal(1)] + [height(edge) for edge in x]
    for strip in range(STRIPS):
        print(int(bounds[strip] * SCALE), repr(width(strip)), repr(float(heights[strip])))
