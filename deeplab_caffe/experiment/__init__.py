"""The released experiment flow: what run_pascal.sh, run_densecrf.sh and EvalSegResults.m do, in the same folders."""
