"""Nipype interfaces: each reads files, calls one pure function or one tool, and writes files."""
