"""How a training steps: phases of an optimizer and a schedule, batch size, augmentation, precision.

A new recipe is an entry of `RECIPES` in `recipes`, with the source of its values.
"""
