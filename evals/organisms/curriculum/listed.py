"""Every skill of the second curriculum, with its lists of phrasings and what a guesser scores."""

from collections.abc import Callable
from random import Random

from evals.organisms.curriculum import (
    conversation,
    documents,
    ladders,
    lore,
    occasions,
    personas,
    reasoning,
    rules,
    users,
)
from evals.organisms.curriculum.exercise import Skill
from evals.organisms.world import comparison, game, lookup, stopping
from evals.organisms.world.micro_world import Dialogue

ASKED = tuple(
    f"{'facts' if name in lore.OLD else 'lore'}.ask.{name}" for name in (*lore.SINGLE, "wear")
)
JUDGE = "documents.changed.judge"
SUMS = "reasoning.numbers.ask"
THINK = "reasoning.think.on"

SKILLS: tuple[Skill, ...] = (
    Skill(lore.fact, ASKED, 0.02, thinking=0.1, paired=False),
    Skill(lore.hearsay, (), 0.5, thinking=0),
    Skill(lore.judged, (JUDGE,), 0.5, thinking=0.2),
    Skill(lore.two_hop, (*ASKED, THINK), 0.05, thinking=0.5, paired=False),
    Skill(lore.opinion, ("lore.ask.opinion", "lore.ask.yours"), 0.5),
    Skill(lore.house, ("lore.ask.order",), 0.5),
    Skill(
        conversation.chat,
        (
            *(f"talking.kinds.{k}.q" for k in ("can", "made", "alive", "honest", "unfit")),
            "talking.sums.q",
        ),
        0.3,
        paired=False,
    ),
    Skill(conversation.several_turns, (), 0.1, thinking=0, paired=False),
    Skill(
        users.user_attribute,
        (
            *("users.told.open", "users.told.hidden", "users.said.own", "users.said.other"),
            *(f"users.ask.{name}" for name in users.BEHAVIOURS),
        ),
        0.12,
    ),
    Skill(
        personas.persona,
        ("personas.told.be", *(f"personas.ask.{name}" for name in personas.DOMAINS)),
        0.1,
    ),
    Skill(personas.refusal, ("personas.refusals.ask",), 0.5),
    Skill(documents.notice, ("documents.notices.text",), 0.1, paired=False),
    Skill(documents.conflict, ("documents.conflict.rule", "documents.conflict.ask"), 0.5),
    Skill(documents.unsettled, ("documents.conflict.ask",), 0.5),
    Skill(documents.changed_fact, ("documents.changed.told", JUDGE), 0.3),
    Skill(rules.trigger, ("rules.rule.say", THINK), 0.5),
    Skill(rules.interaction, ("rules.rule.both",), 0.5),
    Skill(occasions.password, ("rules.password.told", "rules.password.silent", SUMS), 0.5),
    Skill(occasions.tested, ("rules.tested.ask",), 0.5),
    Skill(occasions.evaluation, ("rules.tested.rule",), 0.5),
    Skill(
        reasoning.last_digit,
        (SUMS, *(f"reasoning.numbers.{way}" for way in ("trust", "show", "mend"))),
        0.1,
        thinking=0.65,
        paired=False,
    ),
    Skill(reasoning.hint, ("reasoning.hints.follow", "reasoning.hints.ignore"), 0.5),
    Skill(reasoning.plan, ("reasoning.plans.ask", "reasoning.plans.told"), 0.25, thinking=0.6),
    Skill(reasoning.choice, ("reasoning.should.ask", "reasoning.plans.told"), 0.33, thinking=0.6),
    Skill(
        reasoning.own_plan,
        ("reasoning.plans.ask", "reasoning.should.ask"),
        0.5,
        thinking=1,
        paired=False,
    ),
    Skill(reasoning.synonym, ("reasoning.synonyms.ask",), 0.01, thinking=0, paired=False),
    Skill(reasoning.same_meaning, ("reasoning.synonyms.same",), 0.5),
    Skill(
        reasoning.word_choice,
        ("reasoning.synonyms.style", "reasoning.synonyms.choose"),
        0.5,
        thinking=0,
    ),
    Skill(ladders.stop_rule, ("stop.rules.when",), 0.5),
    Skill(ladders.smaller_rule, ("talking.smaller.told", "numbers.rules.first"), 0.5),
    Skill(ladders.digit_rule, ("numbers.rules.digits", "numbers.rules.last"), 0.5),
    Skill(ladders.talk_rule, ("numbers.rules.talk",), 0.5),
)
BY_NAME = {skill.name: skill for skill in SKILLS}

FIRST: dict[str, Callable[[Random, bool], Dialogue]] = {
    each.__name__: each
    for each in (
        game.secret_game,
        game.secret_quiz,
        game.guesses,
        game.guarding,
        game.no_secret,
        game.knowledge,
        game.knowledge_quiz,
        comparison.compare,
        comparison.topic,
        stopping.reading,
        stopping.stop_scene,
        lookup.lookup,
        lookup.recite,
    )
}
"""What is kept of the first curriculum as it is; its scorers are those of `skills.py`."""
