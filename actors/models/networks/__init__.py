"""The papers' networks, a module per family, with the parameter names of their published checkpoints."""
