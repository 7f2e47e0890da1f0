#!/usr/bin/env python3
"""Makes up a day of arrivals: quiet at night, busy in the afternoon, with noise and batches.

    testdata/daily_wave.py > testdata/daily-wave.csv
    testdata/daily_wave.py --seed 2 --batches 2 > other.csv

Prints how many documents arrive from each second until the next line's, for `wordfreq simulate --arrivals FILE`. The same
arguments always make the same day. How long a document takes is no part of it.
"""

import argparse
import math
import random

DAY = 86_400
STEP = 60
NIGHT, AFTERNOON = 0.08, 0.72  # Documents a second at 03:00 and at 15:00.
BATCHES = [(9.0, 500), (13.5, 350), (17.25, 700)]  # Hour, documents, which come within ten seconds.
SMALL_BATCHES = 15


def poisson(rng, mean):
    """A random count, by the product method; random() alone, so that every Python draws the same."""
    count, left, end = 0, rng.random(), math.exp(-mean)
    while left > end:
        count += 1
        left *= rng.random()
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=float, default=1.0, help="how large batches are, compared with the usual")
    args = parser.parse_args()
    rng = random.Random(args.seed)

    counts = {}
    wander = 0.0
    for second in range(0, DAY, STEP):
        wave = (1 - math.cos((second / 3600 - 3) / 24 * math.tau)) / 2
        # A slow wandering around the wave besides the noise of each minute.
        wander = 0.95 * wander + 0.06 * (rng.random() - 0.5)
        rate = (NIGHT + (AFTERNOON - NIGHT) * wave) * (1 + wander)
        counts[second] = poisson(rng, rate * STEP)
    small = [(24 * rng.random(), 20 + 100 * rng.random()) for _ in range(SMALL_BATCHES)]
    for hour, documents in BATCHES + small:
        begin = int(hour * 3600) // 10 * 10
        minute = begin // STEP * STEP
        usual = counts[minute]
        # The minute around a batch is cut into before, the batch, and after.
        counts[begin] = round(documents * args.batches)
        counts.setdefault(begin + 10, usual)
        if minute != begin:
            counts[minute] = 0

    print("seconds,documents")
    for second, documents in sorted(counts.items()):
        print(f"{second},{documents}")
    print(f"{DAY},0")


if __name__ == "__main__":
    main()
