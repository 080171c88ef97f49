"""Environments: a folder of its own for each framework, with an interpreter that has it and this package.

`recipes` says what goes into one, `making` makes it, step by step: `installing` (pip or uv), `wheels` (what no
registry has compiled), `package` (this one), and a trial by `doctor.trying`. `workshop` keeps it from being seen half
made.
"""
