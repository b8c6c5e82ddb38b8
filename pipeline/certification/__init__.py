"""From label counts to a certificate, and how many draws that takes. Pure functions: no files, no Ray.

Start at `sampling_rule`: it maps CERTIFY and PREDICT, line by line, to this code. A new sampling method is a rule (see
there) and an entry of `SAMPLINGS` in `sampling_methods`; a new bound on the other classes is an entry of `NOISE_BOUNDS`
in `certificate`. `several_levels` certifies from the draws of several noise levels at once (a noise family needs a
proof there), and `memory` adjusts certificates to those of a classifier that remembers its answers.
"""
