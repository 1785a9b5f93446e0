"""Named random streams: a generator follows from its coordinates, never from the order of calls.

So a run draws the same numbers with one worker or many, after a kill and a resume, and when
somebody adds an operator.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a generator is for. The numbers are part of every recorded run: add new ones, never
    renumber.
    """

    MATING = 1
    VARIATION = 2
    SURVIVAL = 3
    BOOTSTRAP = 4
    PROBE = 5
    EXPECTATION = 6
    GENERATION = 7
    SWEEP = 9
    QUESTIONS = 10
    CONTEXT = 11
    PREDICTION = 12
    DECODING = 13
    PLAY = 14
    STARTING = 15
    IMITATION = 16
    EXAMPLES = 17
    STRATEGY = 18
    IMMIGRANTS = 19
    FEEDBACK = 20
    SHOTS = 27
    ROBUSTNESS = 28
    CHANGES = 29
    AUXILIARY = 31
    INSTRUCTIONS = 41
    CURRICULUM = 53


def generator(seed: int, stream: Stream, *coordinates: int) -> np.random.Generator:
    """Return the generator at (stream, coordinates), e.g. generation, island and index of a
    birth.
    """
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(int(stream), *coordinates))
    )
