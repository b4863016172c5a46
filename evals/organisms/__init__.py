"""Organisms: small models with a known secret, and all that makes, measures and lists them.

What a folder holds, and what it may import: itself, and the folders of the lines above its own, never this one.

1. `world`: the micro-world, what is said and played in it, and talking to a model about it.
2. `curriculum`: the text on which the bases are trained, skill by skill, and its tokenizer.
3. `families`: what a family declares, one module for each family, and what several of them share.
4. `case_files`: the prompts and the text of the case files. `gates`: is a build healthy, is its secret represented
   and used? `training`: of a base from scratch, of an adapter on lessons. None of the three imports another.

Here is what needs them all: `registry` names the families, `spec` and `prompted` read declarations, `foundry` makes a
folder, `checking` measures one again, `catalogue` lists what ships and what others have published, `__main__` is the
command line. `shipped/` holds finished folders.
"""
