"""The losses of trainings.

A new objective is a frozen pydantic dataclass, its fields the options, and an entry of `CLASSIFIER_OBJECTIVES`,
`DENOISER_OBJECTIVES` or `REJECTOR_OBJECTIVES`; a new loss of `consistency` is an entry of `CONSISTENCY_LOSSES`,
a new choice of the head that a rejector's objective trains is one of `HEADS`.
"""
