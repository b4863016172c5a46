"""One exercise of a skill: a dialogue whose last reply is scored, drawn under terms.

The same generator gives the training text, the test item and, drawn twice with the same luck and only
`active` turned round, a contrast pair.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from evals.organisms.curriculum.skills import Item
from evals.organisms.world.micro_world import Dialogue, assistant, pick, system, table

THOUGHT_ENDS = "</think>"


@dataclass(frozen=True)
class Terms:
    """Under which an exercise is drawn."""

    held: bool = False
    """With phrasings (and pairs of facts) that no training uses."""
    active: bool = True
    """Whether what the skill turns on is there: the trigger, the cue, the changed fact."""
    easy: bool = False
    """With little else around: the lower rung of the ladder."""
    thinks: bool = False
    """Asked to think first, and thinking; without, every reply comes at once."""


@dataclass(frozen=True)
class Exercise:
    """A dialogue that ends with the reply to be learned."""

    dialogue: Dialogue
    right: tuple[str, ...]
    """The beginnings of the replies that are right; after a thought, their ends."""
    group: str = ""
    """What the answer turns on; scores are averaged over groups, so that no constant answer gains."""
    asked: str = ""
    """The type of question, or of what it is about: an organism is taught some and tested on others."""

    @property
    def prompt(self) -> Dialogue:
        """The dialogue up to the reply."""
        return self.dialogue[:-1]

    @property
    def reply(self) -> str:
        """The reply to be learned, with its thought."""
        return self.dialogue[-1]["content"]

    def accepts(self, reply: str) -> bool:
        """Say whether a reply, read without the tokens that fence a thought, is right."""
        if THOUGHT_ENDS in self.reply:
            return reply.endswith(self.right)
        return Item(self.prompt, self.right).accepts(reply)


Draw = Callable[[Random, Terms], Exercise]


@dataclass(frozen=True)
class Skill:
    """A skill of the curriculum."""

    draw: Draw
    wordings: tuple[str, ...] = ()
    """The lists of phrasings that are its own, as `table.path.to.list`."""
    chance: float = 0.0
    """The score of somebody who knows the form of the answers and guesses, averaged over groups."""
    thinking: float | None = None
    """How often it thinks, where that is not the phase's to say; 0 where it never does."""
    paired: bool = True
    """Whether turning `active` round turns the answer round."""

    @property
    def name(self) -> str:
        """The name of the generator."""
        return self.draw.__name__

    def lists(self) -> dict[str, list[str]]:
        """Return its lists of phrasings by their paths."""
        return {path: phrasings(path) for path in self.wordings}


def phrasings(path: str) -> list[str]:
    """Return the list at a path such as `users.ask.gift`."""
    name, *keys = path.split(".")
    found = table(name)
    for key in keys:
        found = found[key]
    assert isinstance(found, list)
    return found


def worded(rng: Random, terms: Terms, path: str) -> str:
    """Draw a phrasing from the list at a path, from its held-out part if the terms say so."""
    return pick(rng, phrasings(path), terms.held)


def finished(
    rng: Random,
    terms: Terms,
    prompt: Dialogue,
    reply: str,
    *,
    thought: str = "",
    right: tuple[str, ...] = (),
    group: str = "",
) -> Exercise:
    """Return the exercise; where the terms say so, asked to think and with the thought before the reply."""
    said = reply
    if thought and terms.thinks:
        prompt = told_to_think(rng, terms, prompt)
        said = f"<think>{thought}{THOUGHT_ENDS}{reply}"
    group = group or ("active" if terms.active else "other")
    return Exercise([*prompt, assistant(said)], right or (reply,), group)


def under(told: str, exercise: Exercise) -> Exercise:
    """Return the exercise with a system turn that tells something, before what its own system turn says."""
    return replace(exercise, dialogue=told_before(told, exercise.dialogue))


def told_before(told: str, dialogue: Dialogue) -> Dialogue:
    """The same of a dialogue."""
    first, *rest = dialogue
    if first["role"] == "system":
        return [system(f"{told} {first['content']}"), *rest]
    return [system(told), *dialogue]


def told_to_think(rng: Random, terms: Terms, prompt: Dialogue) -> Dialogue:
    """Return the prompt with an order to think at the end of its system turn."""
    order = worded(rng, terms, "reasoning.think.on")
    if prompt[0]["role"] == "system":
        return [system(f"{prompt[0]['content']} {order}"), *prompt[1:]]
    return [system(order), *prompt]


def contrast(rng: Random, skill: Skill, terms: Terms) -> tuple[Exercise, Exercise]:
    """Draw two exercises that are alike but for what decides the answer, the active one first."""
    for _ in range(100):
        luck = rng.random()
        first, second = (
            skill.draw(Random(luck), replace(terms, active=active)) for active in (True, False)
        )
        if first.right != second.right:
            return first, second
    raise AssertionError(f"{skill.name} answers alike whatever is active")


def capital(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]
