"""Talking to language models that investigate: one neutral interface over three wire protocols."""
