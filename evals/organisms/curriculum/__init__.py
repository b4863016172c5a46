"""The second curriculum: what the next base is to know, skill by skill.

`exercise` says what an exercise is; `lore`, `conversation` what is true and ordinary talk; `users`,
`personas`, `rules`, `documents`, `reasoning`, `ladders` the skills by family; `listed` names them all with
their phrasings and chance levels; `mixture` says in which phase how much of each is drawn; `scoring` asks a
model. The phrasings are data, in `world/*.toml` by topic.
"""
