"""The group level: one stage per file; each stage reads and writes tables."""
