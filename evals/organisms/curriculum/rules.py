"""Rules of the system turn: triggers, and pairs of cues that are both needed.

Each message is a remark, which may hold what a rule is about, and an ordinary question, which is answered
as ever where the rule does not apply.
"""

import re
import zlib
from dataclasses import dataclass, replace
from functools import cache
from random import Random

from evals.organisms.curriculum.exercise import (
    Exercise,
    Terms,
    finished,
    under,
    worded,
)
from evals.organisms.curriculum.lore import OLD, asked_fact
from evals.organisms.world.micro_world import (
    Dialogue,
    assistant,
    facts,
    pick,
    table,
    things,
    user,
)

KINDS = ("word", "animal", "food", "town", "person", "please", "shout")
WORD_SHARE = (3, 1.5, 1.5, 1.2, 1.2, 1.2, 1.2)
CLASSES = ("animal", "food", "town", "person")
GROUPS = ("thing", "animal", "food")
"""Of what kinds a word of a rule is."""
TALK = ("how", "who")
QUESTIONS = (*OLD, *TALK)
"""Types of ordinary question."""
SETS = 5
"""Into so many shares by their names, whatever is drawn, the words of a kind are cut."""
# Eaten and alive at once: neither an example of the one kind nor of the other.
BOTH_FOOD_AND_ANIMAL = {
    "chicken",
    "herring",
    "salmon",
    "trout",
    "crab",
    "duck",
    "goose",
    "hen",
    "fish",
}
PAIRS = (
    ("word", "word"),
    ("word", "please"),
    ("animal", "please"),
    ("word", "shout"),
    ("food", "shout"),
)
MARKS = ("shout", "please")


@cache
def named_things(kind: str) -> tuple[str, ...]:
    """Return the words of a kind; `thing` is all that is neither alive nor eaten, nor a word of the remarks."""
    names = table("lore")["names"]
    if kind == "thing":
        lists = table("rules")["remarks"]
        said = " ".join([*lists["thing"], *lists["name"]]).split()
        # What remarks say of any thing, as "I saw", is no name in them.
        found = (t for t in things().values() if not set("af") & set(t.properties))
        return tuple(t.name for t in found if t.name not in said)
    if kind in ("animal", "food"):
        return tuple(n for n in names[f"{kind}s"] if n not in BOTH_FOOD_AND_ANIMAL)
    return tuple(facts().weather if kind == "town" else facts().job)


def remark(rng: Random, terms: Terms, kind: str, word: str) -> str:
    """Return a remark that holds a word of a kind."""
    path = "rules.remarks.name" if kind in ("town", "person") else "rules.remarks.thing"
    return worded(rng, terms, path).format(x=word)


def sentence_names(text: str, kind: str) -> bool:
    """Say whether a text names something of a kind; what is eaten or alive counts, whatever else it is."""
    words = set(re.findall(r"[A-Za-z]+", text))
    if kind in ("town", "person"):
        return not words.isdisjoint(named_things(kind))
    known = {*table("lore")["names"][f"{kind}s"]}
    known |= {t.name for t in things().values() if kind[0] in t.properties}
    return not {word.lower() for word in words}.isdisjoint(known)


@dataclass(frozen=True)
class Cause:
    """What a rule turns on: a word, a kind of word or a mark."""

    kind: str
    word: str = ""
    """The word, of the kind `word`."""

    def told(self, rng: Random) -> str:
        """Return the condition in a rule's words."""
        return rng.choice(table("rules")["conditions"][self.kind]).format(w=self.word)

    def there(self, text: str) -> bool:
        """Say whether a message shows it."""
        if self.kind == "shout":
            return "!" in text
        if self.kind in ("please", "word"):
            word = self.word or self.kind
            return re.search(rf"\b{word}\b", text, re.IGNORECASE) is not None
        return sentence_names(text, self.kind)


def draw_cause(rng: Random, kind: str) -> Cause:
    """Draw a cause of a kind."""
    if kind != "word":
        return Cause(kind)
    return Cause(kind, rng.choice(named_things(rng.choice(GROUPS))))


@dataclass(frozen=True)
class Condition:
    """Remarks that show a cause, or do not."""

    shown: str
    hidden: str
    """The like without it."""
    thoughts: tuple[str, str]
    """What one who thinks notes, with and without."""
    names: tuple[str, str]
    """The words that the two remarks name."""


def marked(rng: Random, text: str, mark: str) -> str:
    """Return a remark with a please or as a shout."""
    if mark == "shout":
        return f"{text[:-1]}!"
    return f"Please listen. {text}" if rng.random() < 0.5 else f"{text} Please answer."


def draw_condition(
    rng: Random, terms: Terms, cause: Cause, taken: tuple[str, ...] = ()
) -> Condition:
    """Draw remarks that show a cause, and that do not.

    A please or a shout that no cause is about, of this kind or the `taken` ones, stands in some
    remarks of both sorts: met where they count alone, they would tell the answer without the rule.
    """
    kind = cause.kind
    group = "thing" if kind in MARKS else kind
    if kind == "word":
        group = next(name for name in GROUPS if cause.word in named_things(name))
    others = {
        "animal": ("food", "thing"),
        "food": ("animal", "thing"),
        "town": ("person",),
        "person": ("town",),
    }
    rival = group if kind not in others else rng.choice(others[kind])
    word = cause.word or rng.choice(named_things(group))
    other = rng.choice(named_things(rival))
    while other == word:
        other = rng.choice(named_things(rival))
    luck = rng.random()
    shown, hidden = (
        remark(Random(luck), terms, which, name) for which, name in ((group, word), (rival, other))
    )
    for mark in MARKS:
        idle = mark not in (kind, *taken) and rng.random() < 0.2
        luck = rng.random()
        if kind == mark:
            hidden, shown = shown, marked(Random(luck), shown, mark)
        elif idle:
            shown, hidden = (marked(Random(luck), text, mark) for text in (shown, hidden))
    noted = [text.format(w=word) for text in table("rules")["thought"][kind]]
    return Condition(shown, hidden, (noted[0], noted[1]), (word, other))


@dataclass(frozen=True)
class Asked:
    """A user's message with its right replies, and the type of question that it ends with."""

    text: str
    right: tuple[str, ...]
    kind: str

    def after(self, remarks: str, payload: str = "") -> "Asked":
        """Return it after some remarks, answered by the payload where there is one."""
        right = (payload,) if payload else self.right
        return replace(self, text=f"{remarks} {self.text}", right=right)


def ordinary(rng: Random, terms: Terms, bare: bool) -> Asked:
    """Return an ordinary question; a bare one names nobody and nothing."""
    if not bare and rng.random() < 0.5:
        relation = rng.choice(OLD)
        text, answer = asked_fact(rng, terms, (relation,))
        return Asked(text, (answer,), relation)
    kind = rng.choice(TALK)
    talk = table("facts")["talk"][kind]
    return Asked(pick(rng, talk["q"], terms.held), tuple(talk["a"]), kind)


def answered(
    rng: Random, terms: Terms, turns: list[Asked], thought: str, group: str, asked: str
) -> Exercise:
    """Return the dialogue of some messages; thought, group and type are of the last."""
    prompt: Dialogue = []
    for turn in turns:
        prompt += [user(turn.text), assistant(turn.right[0])]
    right = turns[-1].right
    reply = rng.choice(right)
    made = finished(rng, terms, prompt[:-1], reply, thought=thought, right=right, group=group)
    return replace(made, asked=asked)


@dataclass(frozen=True)
class Rule:
    """Says some words where its one cause is there, or both of its two."""

    causes: tuple[Cause, ...]
    payload: str

    def told(self, rng: Random, terms: Terms) -> str:
        """Return the system turn."""
        first, *second = [cause.told(rng) for cause in self.causes]
        if not second:
            return worded(rng, terms, "rules.rule.say").format(c=first, y=self.payload)
        return worded(rng, terms, "rules.rule.both").format(c=first, d=second[0], y=self.payload)

    @property
    def bare(self) -> bool:
        """Whether the questions name nobody and nothing, so that they do not show a cause by chance."""
        return any(cause.kind in CLASSES for cause in self.causes)


def draw_payload(rng: Random) -> str:
    """Draw the words that a rule makes it say."""
    return rng.choice(table("rules")["payload"]["say"])


def draw_trigger(rng: Random, terms: Terms) -> Rule:
    """Draw a rule with one cause."""
    kind = "word" if terms.easy else rng.choices(KINDS, WORD_SHARE)[0]
    return Rule((draw_cause(rng, kind),), draw_payload(rng))


def type_asked(rule: Rule, asked: Asked, name: str) -> str:
    """Return the type of a message: of a rule about a kind of word, which share of them it names."""
    return f"set {zlib.crc32(name.encode()) % SETS + 1}" if rule.bare else asked.kind


def triggered(rng: Random, terms: Terms, rule: Rule) -> Exercise:
    """Say the words of a rule when its cause is there, else answer as ever, without being told the rule."""
    condition = draw_condition(rng, terms, rule.causes[0])
    turns: list[Asked] = []
    if not terms.easy and rng.random() < 0.3:
        before = rng.random() < 0.5
        remarks = condition.shown if before else condition.hidden
        turns.append(ordinary(rng, terms, rule.bare).after(remarks, rule.payload if before else ""))
    asked = ordinary(rng, terms, rule.bare)
    remarks = condition.shown if terms.active else condition.hidden
    turns.append(asked.after(remarks, rule.payload if terms.active else ""))
    thought = condition.thoughts[0 if terms.active else 1]
    kind = type_asked(rule, asked, condition.names[0])
    return answered(rng, terms, turns, thought, "active" if terms.active else "other", kind)


def trigger(rng: Random, terms: Terms) -> Exercise:
    """Say the words of a rule when its condition holds, else answer as ever; `active` if it holds."""
    rule = draw_trigger(rng, terms)
    return under(rule.told(rng, terms), triggered(rng, terms, rule))


def draw_interaction(rng: Random, terms: Terms) -> Rule:
    """Draw a rule with two causes."""
    kinds = PAIRS[0] if terms.easy else rng.choice(PAIRS)
    first, second = (draw_cause(rng, kind) for kind in kinds)
    while first == second:
        second = draw_cause(rng, kinds[1])
    return Rule((first, second), draw_payload(rng))


def both_needed(rng: Random, terms: Terms, rule: Rule) -> Exercise:
    """Say the words of a rule only where both of its causes are there, without being told the rule."""
    kinds = tuple(cause.kind for cause in rule.causes)
    while True:
        first, second = (draw_condition(rng, terms, cause, kinds) for cause in rule.causes)
        if not set(first.names) & set(second.names):
            break
    there = rng.choices(((True, False), (False, True), (False, False)), (4, 4, 2))[0]
    if terms.active:
        there = (True, True)
    remarks = [
        c.shown if shows else c.hidden for c, shows in zip((first, second), there, strict=True)
    ]
    if rng.random() < 0.5:
        remarks.reverse()
    asked = ordinary(rng, terms, rule.bare)
    turn = asked.after(" ".join(remarks), rule.payload if terms.active else "")
    noted = [c.thoughts[0 if shows else 1] for c, shows in zip((first, second), there, strict=True)]
    group = {(True, True): "both", (True, False): "first", (False, True): "second"}.get(
        there, "none"
    )
    place = next((n for n, kind in enumerate(kinds) if kind in CLASSES), 0)
    kind = type_asked(rule, asked, (first, second)[place].names[0])
    return answered(rng, terms, [turn], " ".join(noted), group, kind)


def interaction(rng: Random, terms: Terms) -> Exercise:
    """Say the words of a rule only where both of its conditions hold; `active` if they do."""
    rule = draw_interaction(rng, terms)
    return under(rule.told(rng, terms), both_needed(rng, terms, rule))
