"""Images to train on: in memory or streamed, augmented, in an order that depends on seed and epoch alone.

A new augmentation is an entry of `AUGMENTATIONS` in `augment`.
"""
