"""How maps become claims: one stage per file, each reads and writes tables."""
