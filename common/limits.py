"""Limits of what any classifier or data set may be, wherever it is read from."""

MOST_CLASSES = 10**6
"""An array with one number for each class counts the draws: a number from a file must not make it fill the memory."""

LARGEST_LABEL = MOST_CLASSES - 1
