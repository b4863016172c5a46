"""The micro-world, what is said and played in it, and talking to a model about it. Its words are data, in `*.toml`."""
