"""The simulated logger: as real as a desk allows."""
