import subprocess
import sys

from evoprompt.seeding import Stream, generator


def test_the_same_coordinates_give_the_same_numbers_whatever_was_drawn_before():
    first = generator(5, Stream.VARIATION, 3, 0, 2).integers(2**40, size=4).tolist()
    generator(5, Stream.MATING, 3, 0).integers(10, size=100)
    assert generator(5, Stream.VARIATION, 3, 0, 2).integers(2**40, size=4).tolist() == first


def test_streams_seeds_and_coordinates_are_independent():
    draws = {
        generator(seed, stream, *at).integers(2**60)
        for seed in (0, 1)
        for stream in (Stream.MATING, Stream.VARIATION)
        for at in ((0,), (1,), (0, 1), (1, 0))
    }
    assert len(draws) == 16


def test_another_process_with_another_hash_seed_draws_the_same():
    code = (
        "from evoprompt.seeding import *; print(generator(1, Stream.SURVIVAL, 2).integers(2**60))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": h},
            check=True,
        ).stdout
        for h in ("1", "2")
    }
    assert len(runs) == 1
