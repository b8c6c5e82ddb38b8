"""The papers' networks, one module each, with the parameter names of their published checkpoints."""
