"""Kills, stops and damages at random, over whole programs.

python -m tests.faults --kills=100 --damages=100 --out=docs/reliability.md
"""
