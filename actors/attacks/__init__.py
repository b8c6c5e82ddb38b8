"""Attacks on a smoothed classifier, and the soft smoothed classifier whose gradients they follow.

A new attack is a function and an entry of `ATTACKS` in `attacks`.
"""
