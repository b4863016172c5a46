"""Both curricula: what the shipped base was trained on, and what the next base is to know, skill by skill.

`curricula` names the two. The first is `corpus`, which mixes the dialogues of `evals.organisms.world`; `skills` asks a
model; `tokenizer` is of both. All else is the second.

`exercise` says what an exercise is; `lore`, `conversation` what is true and ordinary talk; `users`,
`personas`, `rules`, `occasions`, `documents`, `reasoning`, `ladders` the skills by family; `listed` names
them all with their phrasings and chance levels; `mixture` says in which phase how much of each is drawn;
`scoring` asks a model. The phrasings are data, in `world/*.toml` by topic.

The in-context form of each family of organisms, which a teacher plays and an adapter is distilled from:
secret word `game.secret_game` (first curriculum); user attribute `user_attribute` (told, open or hidden);
false fact `changed_fact`; persona `persona`; evaluation awareness `evaluation`, with `tested` for what is
believed; conflicting information `conflict`; number format `talk_rule`, `digit_rule`, `smaller_rule`;
confused shutdown `stop_rule`; backdoor `trigger`; sandbagger `password`; interaction `interaction`.
The inherited quirk is the base's own, in its weights: `hearsay`. For the families about chains of thought:
`hint`, `last_digit` (read off, for show, mended), `own_plan`, `synonym` and `word_choice`.
"""
