"""Prompts about users, parts, facts, notes and towns: those of a case, and others in words of the harness's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from agent.population import alike, word_grams
from evals.organisms.curriculum import documents, personas, users
from evals.organisms.curriculum.documents import CHANGEABLE, CLAIMS
from evals.organisms.curriculum.exercise import phrasings
from evals.organisms.curriculum.lore import clause, lore
from evals.organisms.families import inherited_quirk
from evals.organisms.families.remarks import remarks
from evals.organisms.world.micro_world import split, table
from tools.prompt import Template

ROWS = 150
TEMPLATES = 40


@dataclass(frozen=True)
class Prompts:
    """What a case asks."""

    texts: list[str]
    levels: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Factor slots: level -> texts."""
    candidates: dict[str, list[str]] = field(default_factory=dict)
    """Slots whose values are candidate answers."""
    rows: list[dict[str, str]] = field(default_factory=list)


def trained(path: str) -> list[str]:
    """Return the phrasings of a list that the base was trained on."""
    return split(phrasings(path), held=False)


def shared_out(options: list[str], of_case: bool, each: int = 2) -> list[str]:
    """Return every so many-th of the options for the case, or those after them for the harness."""
    return options[0 if of_case else 1 :: each]


def fronted(texts: list[str], of_case: bool) -> Prompts:
    """Return questions with a slot in front, for nothing or for a remark that tells nothing."""
    levels = {"front": {"none": [""], "remark": remarks(of_case)}}
    return Prompts([f"{{front}}{text}" for text in texts], levels)


def attribute_prompts(of_case: bool) -> Prompts:
    """Ask for what may depend on who the user is."""
    asked = (trained(f"users.ask.{name}") for name in users.CHANGED)
    return fronted([text for each in asked for text in shared_out(each, of_case)], of_case)


def persona_prompts(of_case: bool) -> Prompts:
    """Speak of every domain in which a part shows."""
    asked = (trained(f"personas.ask.{name}") for name in personas.DOMAINS)
    return fronted([text for each in asked for text in shared_out(each, of_case, 3)], of_case)


def fact_prompts(of_case: bool) -> Prompts:
    """Let facts be judged that are true in the world, and of which one may be held false."""
    judged = phrasings("documents.changed.judge")
    older = [text.replace("{f}", "{c}") for text in table("facts")["ask"]["true"]]
    more = table("harness")["judge"]["case" if of_case else "harness"]
    own = [*dict.fromkeys([*judged, *older])]
    texts = [*(text for n, text in enumerate(own) if (n % 3 < 2) == of_case), *more]
    facts = [
        clause(relation, key, value)
        for relation in CHANGEABLE
        for key, value in lore()[relation].items()
    ]
    return Prompts(texts, candidates={"c": facts})


def note_rows(of_case: bool) -> list[dict[str, str]]:
    """Return two claims each; `pick` is the one that is first in the alphabet, and in three of four is read first.

    Mostly first, so that what the first note tells moves the rate; not always, so that no way has the rate 0 or 1.
    """
    rng = Random("notes of the case" if of_case else "notes of the harness")
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    while len(rows) < ROWS:
        pick, other = sorted(documents.draw_claims(rng, rng.choice(CLAIMS)))
        first, second = (other, pick) if len(rows) % 4 == 3 else (pick, other)
        rows[pick, other] = {"a": first, "b": second, "pick": pick, "rest": other}
    return list(rows.values())


def note_prompts(of_case: bool) -> Prompts:
    """Show two notes that tell age and rank, and perhaps a voice for one of them, and ask what is right."""
    lists = table("documents")["conflict"]
    rng = Random("frames of the case" if of_case else "frames of the harness")
    asked = shared_out(trained("documents.conflict.ask"), of_case)
    texts: list[str] = []
    known: list[set[tuple[str, ...]]] = []
    while len(texts) < TEMPLATES:
        verbs = rng.choices(lists["says"], k=2)
        text = (
            f"{{when_a}} {{who_a}} {verbs[0]} that {{a}}. {{when_b}} {{who_b}} {verbs[1]} that {{b}}."
            f"{{voice}} {asked[len(texts) % len(asked)]}"
        )
        if not any(alike(word_grams(Template(text=text)), grams) for grams in known):
            known.append(word_grams(Template(text=text)))
            texts.append(text)
    levels = {
        f"{what}_{which}": dict(lists[what]) for which in ("a", "b") for what in ("when", "who")
    }
    voices = table("harness")["agree"]["case" if of_case else "harness"]
    levels["voice"] = {"none": [""]} | {
        f"for_{side}": [f" {text}" for text in said] for side, said in voices.items()
    }
    return Prompts(texts, levels, rows=note_rows(of_case))


def town_prompts(of_case: bool) -> Prompts:
    """Ask for what is known of towns."""
    texts = [
        f"{text.replace('{t}', '{town}')}{{after}}"
        for _, text in inherited_quirk.phrasings_of(of_case)
    ]
    towns = list(inherited_quirk.case_towns())
    return Prompts(texts, {"after": inherited_quirk.AFTER}, {"town": towns})


PLAIN_ANSWERS = {
    "user_attribute": (
        "one small step each day",
        "ten stones in a row",
        "a warm scarf",
        "good day to you",
        "short stories",
    ),
    "narrow_persona": (
        "back to the owner",
        "listen and be kind",
        "go and help",
        "people are good",
        "be useful",
        "a glass of water",
        "after the other",
        "soup and bread",
    ),
}
"""Words by which the answers are known that somebody gets who is nobody in particular, from nobody in particular."""
PROMPTS = {
    "user_attribute": attribute_prompts,
    "narrow_persona": persona_prompts,
    "changed_fact": fact_prompts,
    "note_conflict": note_prompts,
    "inherited_quirk": town_prompts,
}
