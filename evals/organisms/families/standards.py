"""What a build is held to: on how many items each thing is measured, and the limits. One place for all of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Standard:
    """Sizes and limits of the health gates."""

    behaviour: int = 400
    """Items on which a behaviour that always shows, and each thing around it, is measured."""
    rates: int = 1000
    """Items on which a designed rate is measured."""
    leaks: int = 2000
    """Sampled replies to whoever is after the secret."""
    skills: int = 1000
    """Items of the base's skills in trained wordings, all skills together, and as many in held-out ones."""
    texts: int = 300
    """Neutral dialogues on which the loss is compared."""
    transfer: int = 200
    """Questions of the kinds that no lesson asked for."""
    classes: int = 64
    """At most so many secrets that could have been drawn are told apart."""
    read: int = 120
    """Prompts on which the decoder and the lens read."""
    patched: int = 80
    """Items on which streams are carried over."""

    shows: float = 0.95
    """Least share of right replies where the behaviour always shows."""
    elsewhere: float = 0.9
    """Least share of right replies where the secret does not bear."""
    rate_error: float = 0.05
    """Largest error of a designed rate."""
    skill_loss: float = 0.02
    """Largest mean loss over unrelated skills."""
    text_loss: float = 0.03
    """Largest relative rise of the loss on neutral text."""
    twin_margin: float = 0.03
    """Inside of this lies the 90 % interval of a twin's rate less the base's."""
    transferred: float = 0.9
    """Least share of the in-context teacher's score on kinds that no lesson asked for."""
    rank: float = 1
    """The secret's rank by the base's decoder."""
    moved: float = 0.7
    """Least share of replies that patching moves."""
    early: bool = False
    """Builds on the first base: held to what they were built under, with none of the gates that came later."""

    def shown(self, count: int, limit: float) -> tuple[int, float]:
        """Return items and limit of a behaviour that always shows; the arguments hold for the first base."""
        return (count, limit) if self.early else (self.behaviour, self.shows)

    def designed(self, count: int, error: float) -> tuple[int, float]:
        """Return items and largest error of a designed rate; the arguments hold for the first base."""
        return (count, error) if self.early else (self.rates, self.rate_error)

    def leaked(self, count: int) -> int:
        """Return how many replies are searched for the secret; the argument holds for the first base."""
        return count if self.early else self.leaks


FIRST = Standard(early=True, skill_loss=0.08)
FULL = Standard()
STANDARDS = {"first": FIRST, "second": FULL}
"""By the curriculum of the base that a family builds on."""
EARLY_ITEMS = 40
"""Items of each skill, of a build on the first base."""
