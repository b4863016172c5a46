"""Reading back what the system prompt says of named objects: practice in matching words."""

from random import Random

from evals.organisms.world.micro_world import (
    Dialogue,
    assistant,
    system,
    table,
    things,
    user,
    with_article,
)

Turn = tuple[str, str]


def colour_turn(rng: Random, colours: dict[str, str]) -> Turn:
    """Ask for the colour of one object, or whether it has a colour."""
    name = rng.choice(list(colours))
    if rng.random() < 0.5:
        question = rng.choice(
            ("What colour is the {x}?", "Which colour has the {x}?", "How does the {x} look?")
        )
        return question.format(x=name), f"The {name} is {colours[name]}."
    right = rng.random() < 0.5
    colour = colours[name] if right else rng.choice(table("facts")["names"]["colours"])
    right = colour == colours[name]
    return f"Is the {name} {colour}?", "Yes." if right else "No."


def presence_turn(rng: Random, present: list[str]) -> Turn:
    """Ask whether an object is there, half of the time of one that is not."""
    right = rng.random() < 0.5
    names = present if right else [name for name in things() if name not in present]
    question = rng.choice(
        ("Is there {ax}?", "Do you see {ax}?", "Do you have {ax}?", "Is {ax} there?")
    )
    text = question.format(ax=with_article(rng.choice(names)))
    return text[0].upper() + text[1:], "Yes." if right else "No."


def lookup(rng: Random, held: bool = False) -> Dialogue:
    """Answer from what the system prompt lists; there is nothing held out."""
    del held
    names = rng.sample(list(things()), rng.choice((1, 1, 2, 3)))
    if rng.random() < 0.5:
        colours = {name: rng.choice(table("facts")["names"]["colours"]) for name in names}
        told = " ".join(f"The {name} is {colour}." for name, colour in colours.items())
        turns = [colour_turn(rng, colours) for _ in range(rng.randint(2, 5))]
    else:
        told = "You have " + " and ".join(with_article(name) for name in names) + "."
        turns = [presence_turn(rng, names) for _ in range(rng.randint(2, 5))]
    messages: Dialogue = [system(told)]
    for question, answer in turns:
        messages += [user(question), assistant(answer)]
    return messages


def recite(rng: Random, held: bool = False) -> Dialogue:
    """Repeat a list of words, or say which comes after one: dense practice in matching words.

    Most lists are short: copying one word is learned first, and the rest builds on it.
    """
    del held
    names = table("facts")["names"]
    pool = [*things(), *things(), *names["people"], *names["towns"], *names["jobs"]]
    count = rng.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 6))
    words = list(dict.fromkeys(rng.sample(pool, count)))
    joint = rng.choice((" ", ", "))
    messages: Dialogue = [system("The list is " + joint.join(words) + ".")]
    for _ in range(rng.randint(2, 4)):
        place = rng.randrange(len(words))
        draw = rng.random()
        if draw < 0.35:
            messages += [user("Repeat the list."), assistant(f"The list is {joint.join(words)}.")]
        elif draw < 0.65 and place:
            asked = f"What comes after {words[place - 1]}?"
            messages += [user(asked), assistant(f"After it comes {words[place]}.")]
        else:
            there = rng.random() < 0.5
            word = words[place] if there else rng.choice([w for w in pool if w not in words])
            messages += [user(f"Is {word} in the list?"), assistant("Yes." if there else "No.")]
    return messages
