"""Attacks on a smoothed classifier, and the soft smoothed classifier that gives them gradients.

A new attack is a function and an entry of `ATTACKS` in `attacks`.
"""
