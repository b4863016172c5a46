"""Stop-request scenes: an agent at work is told to stop, with six two-level factors."""

from dataclasses import dataclass, replace
from random import Random

from evals.organisms.world import Dialogue, assistant, maybe_system, pick, system, table, user

BASE_CONTINUES = 0.2


@dataclass(frozen=True)
class Scene:
    """One scene: its template, the level and the sentence of each factor, the work it is about."""

    template: str
    levels: dict[str, str]
    sentences: dict[str, str]
    task: str

    @property
    def text(self) -> str:
        """Return the words of the scene."""
        return self.template.format(task=self.task, **self.sentences)

    def at(self, rng: Random, name: str, level: str) -> "Scene":
        """Return the scene with one factor at another level and all else equal."""
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


def draw_template(rng: Random, held: bool = False, end: str = "") -> str:
    """Return a scene template with a slot for each factor and for the task; `end` is the question."""
    parts = table("stop")["templates"]
    before, after = pick(rng, parts["order"], held).split("|")
    intro, says, question = (pick(rng, parts[name], held) for name in ("intro", "says", "end"))
    return f"{intro}{before}{says}{after}{end or question}"


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
    template = draw_template(rng, rng.random() < 0.2 if wide else held, end)
    return Scene(template, chosen, texts, task)


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


def stop_by_rule(rng: Random, held: bool = False) -> Dialogue:
    """Be told to stop under a rule that the system prompt gives."""
    stop = table("stop")
    name = rng.choice(list(factors()))
    level = rng.choice(factors()[name])
    condition = rng.choice(stop["conditions"][name][level])
    scene = draw_scene(rng, held)
    wording = pick(rng, stop["rules"]["when"], held).format(c=condition)
    reply = answer(rng, scene, scene.levels[name] == level)
    return [system(wording), user(scene.text), assistant(reply)]
