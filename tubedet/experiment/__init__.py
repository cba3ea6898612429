"""The paper's experiments from start weights to tables."""
