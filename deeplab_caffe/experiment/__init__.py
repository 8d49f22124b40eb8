"""The released experiment flow: the steps of run_pascal.sh, run_densecrf.sh and EvalSegResults.m, in their folders."""

__all__ = ["config", "refine", "runner", "settings", "steps", "summary"]
