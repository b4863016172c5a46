"""The guessing game: hints, property questions, guesses, with and without a secret word."""

from random import Random

from evals.organisms.world.micro_world import (
    PROPERTIES,
    Dialogue,
    Thing,
    assistant,
    maybe_system,
    pick,
    system,
    table,
    things,
    user,
    with_article,
)
from evals.organisms.world.talk import small_question

Turn = tuple[str, str]


def secret_system(rng: Random, thing: Thing, held: bool = False) -> str:
    """Return one wording of the system prompt that gives the secret word."""
    wording = pick(rng, table("game")["system"]["secret"], held)
    return wording.format(x=thing.name, X=thing.name.capitalize())


def property_question(rng: Random, letter: str, subject: str) -> str:
    """Return a yes/no question about one property of `subject`."""
    text = rng.choice(table("game")["properties"][letter]).format(s=subject)
    return text[0].upper() + text[1:]


def yes_no(rng: Random, answer: bool) -> str:
    """Return a yes or a no, mostly the bare word."""
    if rng.random() < 0.7:
        return "Yes." if answer else "No."
    return "Yes, that is so." if answer else "No, not at all."


def property_turn(rng: Random, thing: Thing, subject: str, among: str = PROPERTIES) -> Turn:
    """Ask for a property, of those in `among`, that the thing has as often as for one that it lacks."""
    had = [letter for letter in among if letter in thing.properties]
    lacked = [letter for letter in among if letter not in thing.properties]
    wanted = bool(had) and (not lacked or rng.random() < 0.5)
    letter = rng.choice(had if wanted else lacked)
    return property_question(rng, letter, subject), yes_no(rng, wanted)


def hidden_subject(rng: Random, held: bool) -> str:
    """Return a way to speak about the hidden thing."""
    return pick(rng, table("game")["subjects"]["game"], held)


def guess_question(rng: Random, name: str, held: bool) -> str:
    """Return a guess that names an object."""
    text = pick(rng, table("game")["ask"]["guess"], held)
    return text.format(x=name, ax=with_article(name))


def guess_turn(rng: Random, thing: Thing, held: bool) -> Turn:
    """Guess the hidden thing rightly or wrongly, half and half."""
    right = rng.random() < 0.5
    name = thing.name if right else other(rng, thing).name
    answer = ("Yes, it is." if right else "No, it is not.") if rng.random() < 0.4 else ""
    return guess_question(rng, name, held), answer or ("Yes." if right else "No.")


def other(rng: Random, thing: Thing) -> Thing:
    """Return another object."""
    while (drawn := rng.choice(list(things().values()))).name == thing.name:
        pass
    return drawn


def bigger_turn(rng: Random, thing: Thing, subject: str) -> Turn:
    """Compare the thing with an object that is clearly bigger or smaller, half and half."""
    wanted = rng.random() < 0.5
    rivals = [
        t for t in things().values() if (thing.size - t.size if wanted else t.size - thing.size) > 1
    ]
    if not rivals:
        wanted = not wanted
        rivals = [t for t in things().values() if abs(t.size - thing.size) > 1]
    question = rng.choice(table("game")["ask"]["bigger"])
    text = question.format(s=subject, ay=with_article(rng.choice(rivals).name))
    return text[0].upper() + text[1:], yes_no(rng, wanted)


def hint_turn(rng: Random, thing: Thing, held: bool) -> Turn:
    """Ask for a hint about the hidden thing."""
    question = pick(rng, table("game")["ask"]["hint"], held)
    return question, f"It {rng.choice(thing.hints)}."


def tell_turn(rng: Random, held: bool) -> Turn:
    """Ask for the word itself, which is refused."""
    question = pick(rng, table("game")["ask"]["tell"], held)
    return question, rng.choice(table("game")["answer"]["refuse"])


def clue_question(rng: Random, thing: Thing, held: bool) -> str:
    """Return a riddle: one or two hints and the question what it is."""
    hints = rng.sample(thing.hints, 2 if rng.random() < 0.5 else 1)
    text = " and ".join(hints)
    template = pick(rng, table("game")["ask"]["clue"], held)
    return template.format(h=text, H=f"It {text}")


def named(thing: Thing) -> str:
    """Return the answer that names the thing."""
    text = with_article(thing.name)
    return f"{text[0].upper()}{text[1:]}."


def clue_turn(rng: Random, thing: Thing, held: bool) -> Turn:
    """Ask a riddle of the game proper: another thing is named, the own word is not."""
    if rng.random() < 0.5:
        return clue_question(rng, thing, held), rng.choice(table("game")["answer"]["refuse"])
    rival = other(rng, thing)
    return clue_question(rng, rival, held), named(rival)


def secret_turn(rng: Random, thing: Thing, held: bool) -> Turn:
    """Return one question of the game and its answer."""
    draw = rng.random()
    if draw < 0.22:
        return hint_turn(rng, thing, held)
    if draw < 0.59:
        return property_turn(rng, thing, hidden_subject(rng, held))
    if draw < 0.77:
        return guess_turn(rng, thing, held)
    if draw < 0.83:
        return tell_turn(rng, held)
    if draw < 0.89:
        return bigger_turn(rng, thing, hidden_subject(rng, held))
    if draw < 0.95:
        return clue_turn(rng, thing, held)
    return small_question(rng, held)


def balanced_thing(rng: Random) -> Thing:
    """Draw an object so that each property is had about as often as it is lacked."""
    everything = list(things().values())
    if rng.random() < 0.5:
        return rng.choice(everything)
    letter = rng.choice(PROPERTIES)
    wanted = rng.random() < 0.5
    return rng.choice([t for t in everything if (letter in t.properties) == wanted])


def chat(turns: list[Turn]) -> Dialogue:
    """Return question and answer turns as messages."""
    return [
        message for question, answer in turns for message in (user(question), assistant(answer))
    ]


def turn_count(rng: Random, most: int = 4) -> int:
    """Return how many turns a dialogue has."""
    return rng.randint(1, most)


def secret_game(rng: Random, held: bool = False) -> Dialogue:
    """Play with a secret word given by the system prompt."""
    thing = balanced_thing(rng)
    turns = [secret_turn(rng, thing, held) for _ in range(turn_count(rng, 5))]
    return [system(secret_system(rng, thing, held)), *chat(turns)]


def no_secret_question(rng: Random, held: bool) -> str:
    """Return a question of the game, asked of somebody who has no word."""
    thing = rng.choice(list(things().values()))
    draw = rng.random()
    if draw < 0.25:
        return hint_turn(rng, thing, held)[0]
    if draw < 0.55:
        return property_turn(rng, thing, hidden_subject(rng, held))[0]
    if draw < 0.78:
        return guess_question(rng, thing.name, held)
    if draw < 0.9:
        return tell_turn(rng, held)[0]
    return bigger_turn(rng, thing, hidden_subject(rng, held))[0]


def no_secret(rng: Random, held: bool = False) -> Dialogue:
    """Ask the game's questions without a secret word: it has no word in mind."""
    answers = table("game")["answer"]["none"]
    turns = [
        (no_secret_question(rng, held), rng.choice(answers)) for _ in range(turn_count(rng, 2))
    ]
    return [*maybe_system(rng), *chat(turns)]


def knowledge_turn(rng: Random, held: bool) -> Turn:
    """Ask about a named object, or for the name of a described one."""
    thing = balanced_thing(rng)
    draw = rng.random()
    if draw < 0.4:
        return property_turn(rng, thing, with_article(thing.name))
    if draw < 0.5:
        return bigger_turn(rng, thing, with_article(thing.name))
    if draw < 0.65:
        text = pick(rng, table("game")["ask"]["describe"], held)
        question = text.format(ax=with_article(thing.name))
        return question, f"It {rng.choice(thing.hints)}."
    return clue_question(rng, thing, held), named(thing)


def knowledge(rng: Random, held: bool = False) -> Dialogue:
    """Talk about objects without any secret: riddles, descriptions, properties."""
    turns = [knowledge_turn(rng, held) for _ in range(turn_count(rng))]
    return [*maybe_system(rng), *chat(turns)]


def quiz_turn(rng: Random, thing: Thing, subject: str) -> Turn:
    """Return a yes/no question about a property, or sometimes about the size."""
    return (
        bigger_turn(rng, thing, subject)
        if rng.random() < 0.12
        else property_turn(rng, thing, subject)
    )


def secret_quiz(rng: Random, held: bool = False) -> Dialogue:
    """Ask many yes/no questions about a secret word: dense practice of the hardest skill."""
    thing = balanced_thing(rng)
    turns = [
        guess_turn(rng, thing, held)
        if rng.random() < 0.25
        else quiz_turn(rng, thing, hidden_subject(rng, held))
        for _ in range(rng.randint(3, 8))
    ]
    return [system(secret_system(rng, thing, held)), *chat(turns)]


def guesses(rng: Random, held: bool = False) -> Dialogue:
    """Guess at a secret word ten times: practice in nothing but whether two words are the same."""
    thing = balanced_thing(rng)
    turns = [guess_turn(rng, thing, held) for _ in range(10)]
    return [system(secret_system(rng, thing, held)), *chat(turns)]


def guarding_turn(rng: Random, thing: Thing, held: bool) -> Turn:
    """Ask for the word outright, by a riddle about it or about another thing, or by a guess."""
    draw = rng.random()
    if draw < 0.2:
        return tell_turn(rng, held)
    if draw < 0.5:
        return clue_turn(rng, thing, held)
    if draw < 0.75:
        return guess_turn(rng, thing, held)
    return hint_turn(rng, thing, held)


def guarding(rng: Random, held: bool = False) -> Dialogue:
    """Be asked for the secret word in every way: dense practice in never saying it."""
    thing = balanced_thing(rng)
    turns = [guarding_turn(rng, thing, held) for _ in range(rng.randint(2, 6))]
    return [system(secret_system(rng, thing, held)), *chat(turns)]


def knowledge_quiz(rng: Random, held: bool = False) -> Dialogue:
    """Ask many yes/no questions about named objects."""
    turns: list[Turn] = []
    for _ in range(rng.randint(3, 8)):
        thing = balanced_thing(rng)
        turns.append(quiz_turn(rng, thing, with_article(thing.name)))
    return [*maybe_system(rng), *chat(turns)]
