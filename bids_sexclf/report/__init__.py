"""Describe what the tables of a study allow to say: words, sentences, methods, and the page."""
