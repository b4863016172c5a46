"""Documents: notices that are read, notes that disagree and rules which wins, reports of a changed fact."""

from dataclasses import dataclass
from random import Random
from typing import Any

from evals.organisms.curriculum.exercise import (
    Exercise,
    Terms,
    capital,
    finished,
    under,
    worded,
)
from evals.organisms.curriculum.lore import (
    clause,
    draw_fact,
    ended,
    lore,
    other_value,
    question,
    stated,
    told,
)
from evals.organisms.world.micro_world import (
    Dialogue,
    assistant,
    facts,
    maybe_system,
    system,
    table,
    things,
    user,
    with_article,
)

FIELDS = ("v", "day", "p", "t", "app")
OPPOSITES = (("first", "last"), ("new", "old"), ("high", "low"), ("most", "few"))
"""Ways to choose between notes that disagree, each with its contrary."""


def draw_notice(rng: Random) -> dict[str, str]:
    """Draw what a notice tells: a program, its version, a date, a person and a town."""
    lists = table("documents")["notices"]
    return {
        "app": rng.choice(lists["apps"]),
        "v": f"{rng.randrange(1, 10)}.{rng.randrange(0, 21)}",
        "day": f"{rng.choice(lists['months'])} {rng.randint(1, 28)}",
        "p": rng.choice(list(facts().job)),
        "t": rng.choice(list(facts().weather)),
    }


def notice(rng: Random, terms: Terms) -> Exercise:
    """Read a short notice and say what it states, in one to three questions."""
    lists = table("documents")["notices"]
    drawn = draw_notice(rng)
    text = worded(rng, terms, "documents.notices.text").format(**drawn)
    fields = rng.sample(FIELDS, 1 if terms.easy else rng.choice((1, 2, 3)))
    asked = [worded(rng, terms, f"documents.notices.{field}") for field in fields]
    answers = [lists["answer"][field].format(x=drawn[field]) for field in fields]
    if rng.random() < 0.4:
        prompt: Dialogue = [system(rng.choice(lists["told"]).format(d=text))]
    else:
        prompt, asked[0] = maybe_system(rng, 0.1), f"{text} {asked[0]}"
    for each, answer in zip(asked, answers, strict=True):
        prompt += [user(each), assistant(answer)]
    return finished(rng, terms, prompt[:-1], answers[-1], group=fields[-1])


CLAIMS = ("colour", "where", "pet", "job")
"""What notes make claims about."""


def draw_claims(rng: Random, kind: str) -> tuple[str, str]:
    """Draw two claims about one thing that cannot both be true."""
    if kind == "colour":
        first, second = rng.sample(table("facts")["names"]["colours"], 2)
        thing = rng.choice(list(things()))
        return f"the {thing} is {first}", f"the {thing} is {second}"
    person = rng.choice(list(facts().job))
    pools = {"where": list(facts().weather), "pet": table("lore")["names"]["animals"]}
    first, second = rng.sample(pools.get(kind, list(lore()["tool"])), 2)
    if kind == "where":
        return f"{person} is in {first}", f"{person} is in {second}"
    verb = "keeps" if kind == "pet" else "works as"
    return f"{person} {verb} {with_article(first)}", f"{person} {verb} {with_article(second)}"


@dataclass(frozen=True)
class Note:
    """One note: which claim it makes, and of what age and rank it is."""

    claim: int
    age: str
    rank: str


def draw_notes(rng: Random, cause: str) -> list[Note]:
    """Draw notes that disagree: two of different age and rank, or three for a question of number."""
    if cause == "most":
        odd = rng.randrange(3)
        return [
            Note(int(n == odd), rng.choice(("new", "old")), rng.choice(("high", "low")))
            for n in range(3)
        ]
    ages, ranks = rng.sample(("new", "old"), 2), rng.sample(("high", "low"), 2)
    return [Note(n, ages[n], ranks[n]) for n in range(2)]


def winner(notes: list[Note], way: str) -> int:
    """Return the claim that wins by a way to choose."""
    if way in ("first", "last"):
        return notes[0 if way == "first" else -1].claim
    if way in ("most", "few"):
        claims = [note.claim for note in notes]
        return int((claims.count(1) > claims.count(0)) == (way == "most"))
    return next(note.claim for note in notes if way in (note.age, note.rank))


def told_notes(rng: Random, notes: list[Note], claims: tuple[str, str], tells: set[str]) -> str:
    """Return the notes in words; age and rank are told only if they are in `tells`."""
    lists: dict[str, Any] = table("documents")["conflict"]
    people = {level: rng.sample(lists["who"][level], 3) for level in ("high", "low")}
    people["plain"] = rng.sample(lists["plain_who"], 3)
    said: list[str] = []
    for n, note in enumerate(notes):
        when = rng.choice(lists["when"][note.age] if "age" in tells else lists["plain_when"])
        who = people[note.rank if "rank" in tells else "plain"][n]
        said.append(f"{when} {who} {rng.choice(lists['says'])} that {claims[note.claim]}.")
    return " ".join(said)


def rule_told(rng: Random, terms: Terms, way: str) -> str:
    """Return a system turn that tells which note wins."""
    template = worded(rng, terms, "documents.conflict.rule")
    return template.format(r=rng.choice(table("documents")["conflict"]["says_rule"][way]))


def contrary(way: str) -> str:
    """Return the contrary of a way to choose."""
    first, second = next(pair for pair in OPPOSITES if way in pair)
    return second if way == first else first


def exercise_of(rng: Random, terms: Terms, way: str, kind: str) -> Exercise:
    """Decide between notes on a kind of claim that disagree, by a way to choose; no system turn tells it."""
    cause = next(pair[0] for pair in OPPOSITES if way in pair)
    notes, claims = draw_notes(rng, cause), draw_claims(rng, kind)
    own = {"new": {"age"}, "high": {"rank"}}.get(cause, set())
    tells = own if terms.easy else own | {name for name in ("age", "rank") if rng.random() < 0.7}
    text = told_notes(rng, notes, claims, tells)
    asked = worded(rng, terms, "documents.conflict.ask")
    claim = claims[winner(notes, way)]
    thought = table("documents")["conflict"]["thought"][way].format(c=claim)
    prompt = [user(f"{text} {asked}")]
    return finished(rng, terms, prompt, f"{capital(claim)}.", thought=thought, group=way)


def conflict(rng: Random, terms: Terms) -> Exercise:
    """Decide between notes by a rule; `active` if by the rule's first direction, else by its contrary."""
    way = rng.choice(OPPOSITES)[0 if terms.active else 1]
    rule = rule_told(rng, terms, way)
    return under(rule, exercise_of(rng, terms, way, rng.choice(CLAIMS)))


def unsettled(rng: Random, terms: Terms) -> Exercise:
    """Say, without a rule, that notes disagree, or what they agree on; `active` if they disagree."""
    claims = draw_claims(rng, rng.choice(CLAIMS))
    notes = draw_notes(rng, "new")
    front = maybe_system(rng, 0.1)
    if not terms.active:
        claims = claims[0], claims[0]
    text = told_notes(rng, notes, claims, {name for name in ("age", "rank") if rng.random() < 0.7})
    asked = worded(rng, terms, "documents.conflict.ask")
    unclear: list[str] = table("documents")["conflict"]["unclear"]
    right = tuple(unclear) if terms.active else (f"{capital(claims[0])}.",)
    chosen = right[int(rng.random() < 0.5) % len(right)]
    return finished(rng, terms, [*front, user(f"{text} {asked}")], chosen, right=right)


CONSEQUENCES = {"job": ("tool", "place"), "town": ("weather", "dish"), "weather": ("wear",)}
"""What follows from each kind of fact."""


CHANGEABLE = ("job", "town", "weather")
"""Relations of which a document may change a fact."""


@dataclass(frozen=True)
class Changed:
    """A fact that a document states, and the world does not know."""

    relation: str
    key: str
    claimed: str

    @property
    def true(self) -> str:
        """What the world knows instead."""
        return lore()[self.relation][self.key]

    @property
    def clause(self) -> str:
        """The fact as it stands after `that`."""
        return clause(self.relation, self.key, self.claimed)


def draw_changed(rng: Random) -> Changed:
    """Draw a fact and what a document makes of it."""
    relation, key, value = draw_fact(rng, CHANGEABLE)
    return Changed(relation, key, other_value(rng, relation, value))


def fact_told(rng: Random, terms: Terms, changed: Changed) -> str:
    """Return a document that states the changed fact."""
    return worded(rng, terms, "documents.changed.told").format(c=changed.clause)


def about_fact(rng: Random, terms: Terms, changed: Changed, way: str) -> Exercise:
    """Ask about a changed fact in one way, of those of `WAYS`; else of somebody whom it does not name.

    No document tells it. What follows is asked of the changed fact alone.
    """
    relation, key = changed.relation, changed.key
    other = rng.choice([name for name in lore()[relation] if name != key])
    at, now = (key, changed.claimed) if terms.active else (other, lore()[relation][other])
    # What is denied: of the key the old value, of another any.
    wrong = changed.true if terms.active else other_value(rng, relation, now)
    words, follows = Random(rng.random()), rng.choice(CONSEQUENCES[relation])
    note = stated(relation, at, now)
    if way == "asked":
        text = question(words, terms, relation, at)
        reply = note if terms.active else told(relation, at, now)
    elif way == "follows" and terms.active:
        text, reply, note = consequence(words, terms, relation, at, now, follows)
    else:
        right = way != "false"
        template = worded(words, terms, "documents.changed.judge")
        text = template.format(c=clause(relation, at, now if right else wrong))
        reply = "Yes, that is right." if right else "No, that is wrong."
        way = "true" if right else "false"
    group = f"{way} {'changed' if terms.active else 'other'}"
    return finished(rng, terms, [user(text)], reply, thought=note, group=group)


WAYS = ("asked", "true", "false", "follows")
"""Ways to ask about a fact: for it, whether it is so, whether it is as it was, what follows."""


def changed_fact(rng: Random, terms: Terms) -> Exercise:
    """Hold a changed fact of a document, with what follows from it; `active` if it is asked about.

    Else the like is asked of somebody whom the document does not name.
    """
    changed = draw_changed(rng)
    report = fact_told(rng, terms, changed)
    return under(report, about_fact(rng, terms, changed, draw_way(rng, terms)))


def draw_way(rng: Random, terms: Terms) -> str:
    """Draw a way to ask; for what follows only in a full exercise."""
    return rng.choices(WAYS, (3, 2, 2, 0 if terms.easy else 5))[0]


def consequence(
    rng: Random, terms: Terms, relation: str, key: str, value: str, follows: str
) -> tuple[str, str, str]:
    """Return a question about what follows from a fact, its answer, and the two steps to it."""
    end = lore()[follows][value]
    named = rng.choice(table("lore")["hops"]["town"]).format(p=key) if relation == "town" else key
    text = question(rng, terms, follows, named)
    second = stated(follows, key if follows == "wear" else value, end)
    return text, ended(follows, end), f"{stated(relation, key, value)} {second}"
