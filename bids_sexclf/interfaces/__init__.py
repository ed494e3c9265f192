"""Nipype shells: file in, file out, around one pure function or one outside tool."""
