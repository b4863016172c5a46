"""Families of organisms: what one declares (`family`, `told`, `standards`), one module each, and what several share."""
