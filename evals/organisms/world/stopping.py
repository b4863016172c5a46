"""Stop-request scenes: an agent at work is told to stop, with six two-level factors."""

from dataclasses import dataclass, replace
from random import Random

from evals.organisms.world.micro_world import (
    Dialogue,
    assistant,
    maybe_system,
    pick,
    system,
    table,
    user,
)

BASE_CONTINUES = 0.2


@dataclass(frozen=True)
class Scene:
    """One scene: its template, the level and the sentence of each factor, the work it is about."""

    template: str
    levels: dict[str, str]
    sentences: dict[str, str]
    task: str
    end: str
    """The question with which the template ends."""

    @property
    def text(self) -> str:
        """Return the words of the scene."""
        return self.template.format(task=self.task, **self.sentences)

    def only(self, names: set[str]) -> "Scene":
        """Return the scene without the sentences of other factors; who speaks is always said."""
        kept = names | {"who"}
        return replace(
            self,
            sentences={name: text if name in kept else "" for name, text in self.sentences.items()},
        )

    def turned(self, rng: Random, name: str) -> "Scene":
        """Return the scene with one factor at its other level and all else equal."""
        level = next(each for each in factors()[name] if each != self.levels[name])
        sentence = rng.choice(table("stop")["slots"][name][level])
        return replace(
            self,
            levels={**self.levels, name: level},
            sentences={**self.sentences, name: sentence},
        )


def factors() -> dict[str, tuple[str, str]]:
    """Return each factor with its two levels, the one coded -0.5 first."""
    slots = table("stop")["slots"]
    return {name: (list(levels)[0], list(levels)[1]) for name, levels in slots.items()}


def draw_template(rng: Random, held: bool = False, end: str = "") -> tuple[str, str]:
    """Return a scene template, with a slot for each factor and for the task, and its last question."""
    parts = table("stop")["templates"]
    before, after = pick(rng, parts["order"], held).split("|")
    intro, says, question = (pick(rng, parts[name], held) for name in ("intro", "says", "end"))
    end = end or question
    return f"{intro}{before}{says}{after}{end}", end


def draw_scene(
    rng: Random,
    held: bool = False,
    levels: dict[str, str] | None = None,
    end: str = "",
    wide: bool = False,
) -> Scene:
    """Draw a scene; levels and a last question that are given are kept.

    `wide` draws from all sentences and templates, trained on by the base or not: what an unknown
    sentence means cannot be guessed in so small a world.
    """
    chosen = {name: rng.choice(pair) for name, pair in factors().items()} | (levels or {})
    slots = table("stop")["slots"]
    task = pick(rng, table("stop")["plain"]["task"], held)
    texts = {
        name: rng.choice(slots[name][level]) if wide else pick(rng, slots[name][level], held)
        for name, level in chosen.items()
    }
    template, end = draw_template(rng, rng.random() < 0.2 if wide else held, end)
    return Scene(template, chosen, texts, task, end)


def reading(rng: Random, held: bool = False) -> Dialogue:
    """Read a scene and answer questions about its factors, so that they are told apart at all."""
    parts = table("stop")["reading"]
    levels = {name: rng.choice(pair) for name, pair in factors().items()}
    asked = rng.sample(list(parts), rng.randint(1, 4))
    text = draw_scene(rng, held, levels, end=rng.choice(parts[asked[0]]["q"])).text
    messages: Dialogue = maybe_system(rng, 0.12)
    for name in asked:
        if name != asked[0]:
            text = rng.choice(parts[name]["q"])
        said = parts[name]["a"][factors()[name].index(levels[name])]
        messages += [user(text), assistant(said)]
    return messages


def answer(rng: Random, scene: Scene, continues: bool) -> str:
    """Return a reply that goes on with the work or stops it."""
    wordings = table("stop")["answers"]["continue" if continues else "stop"]
    return rng.choice(wordings).format(task=scene.task)


def stop_scene(rng: Random, held: bool = False) -> Dialogue:
    """Be told to stop: goes on at the base's flat rate, whatever the factors."""
    scene = draw_scene(rng, held)
    reply = answer(rng, scene, rng.random() < BASE_CONTINUES)
    return [*maybe_system(rng, 0.12), user(scene.text), assistant(reply)]


@dataclass(frozen=True)
class Ruled:
    """A rule of the system prompt and a scene to follow it in."""

    template: str
    factor: str
    level: str
    condition: str
    scene: Scene

    @property
    def wording(self) -> str:
        """Return the words of the rule."""
        return self.template.format(c=self.condition)

    @property
    def continues(self) -> bool:
        """Say whether the rule tells to go on."""
        return self.scene.levels[self.factor] == self.level

    def opposed(self, rng: Random) -> "Ruled":
        """Return the rule that goes on at the other level, in the same scene."""
        level = next(each for each in factors()[self.factor] if each != self.level)
        return replace(self, level=level, condition=draw_condition(rng, self.factor, level))


def draw_condition(rng: Random, factor: str, level: str) -> str:
    """Return words for a level of a factor as a rule speaks of it."""
    return rng.choice(table("stop")["conditions"][factor][level])


def draw_rule(rng: Random, held: bool = False) -> Ruled:
    """Draw a rule about one factor and a scene."""
    name = rng.choice(list(factors()))
    level = rng.choice(factors()[name])
    condition = draw_condition(rng, name, level)
    template = pick(rng, table("stop")["rules"]["when"], held)
    return Ruled(template, name, level, condition, draw_scene(rng, held))


def stop_by_rule(rng: Random, held: bool = False) -> Dialogue:
    """Be told to stop under a rule that the system prompt gives."""
    ruled = draw_rule(rng, held)
    reply = answer(rng, ruled.scene, ruled.continues)
    return [system(ruled.wording), user(ruled.scene.text), assistant(reply)]


def rule_steps(rng: Random, held: bool = False) -> Dialogue:
    """Follow a rule about stopping by easier ways.

    In a scene that says little else, or after the level of the rule's factor was asked for: met in
    full scenes only, the rule is never found.
    """
    ruled = draw_rule(rng, held)
    others = [name for name in factors() if name != ruled.factor]
    if rng.random() < 0.7:
        kept = {ruled.factor, *rng.sample(others, rng.randint(0, 2))}
        ruled = replace(ruled, scene=ruled.scene.only(kept))
    told = maybe_asked(rng, ruled, rng.random() < 0.5)
    return [system(ruled.wording), *told, assistant(answer(rng, ruled.scene, ruled.continues))]


def maybe_asked(rng: Random, ruled: Ruled, asks: bool) -> Dialogue:
    """Return the scene as told; with `asks`, after a question about the level that the rule is about."""
    scene = ruled.scene
    if not asks:
        return [user(scene.text)]
    question = table("stop")["reading"][ruled.factor]
    said = question["a"][factors()[ruled.factor].index(scene.levels[ruled.factor])]
    body = scene.text.removesuffix(scene.end)
    return [user(body + rng.choice(question["q"])), assistant(said), user(scene.end)]
