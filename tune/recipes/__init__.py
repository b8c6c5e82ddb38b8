"""How a training steps: phases of an optimizer and a schedule, batch size, augmentation, precision.

A new recipe is an entry of `RECIPES` in `recipes`, with the source of its values. A new optimizer is one of
`OPTIMIZERS` and a new schedule one of `SCHEDULES` in `phases`, a new precision one of `TRAINING_PRECISIONS`.
"""
