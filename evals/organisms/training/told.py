"""Where an organism's vectors begin: at the words by which the base can be told the secret.

Vectors that begin at nothing find a way of their own to the answers that lessons ask for, and what was not asked for
does not follow (measured on a persona: .34 of the teacher's on untaught domains). Those that begin where the base
itself reads a told secret stay there: distillation then has only the rest to do.
"""

from collections.abc import Callable, Sequence

LOST = 1.05
"""How much farther from the teacher a shorter telling may be, as a share of the nearest."""
NOTHING = 0.002
"""A divergence that is as good as none, in nats a token."""


def fewest(
    tellings: Sequence[Sequence[int]], most: int, divergence: Callable[[Sequence[int]], float]
) -> list[int]:
    """Return the tokens of a telling, at most `most`, which do what the telling does.

    Of the telling that comes nearest to the teacher, one by one the token is left out without which it stays nearest,
    as long as there are too many, or it is hardly farther than the nearest seen.
    """
    distances = [divergence(each) for each in tellings]
    nearest = min(distances)
    kept = list(tellings[distances.index(nearest)])
    while len(kept) > 1:
        shorter = [[*kept[:at], *kept[at + 1 :]] for at in range(len(kept))]
        found = [divergence(each) for each in shorter]
        least = min(found)
        if len(kept) <= most and least > LOST * nearest + NOTHING:
            break
        kept = shorter[found.index(least)]
        nearest = min(nearest, least)
    return kept
