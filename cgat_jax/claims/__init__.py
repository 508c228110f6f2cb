"""Claims of how robust a network is, in a form that others can check.

A claim is a folder: ``claim.json``, whose form is ``schema.json`` beside this file, and
the network. ``making`` makes one from a run, ``checking`` measures a sample of it
again, ``page`` puts several into a table.
"""
