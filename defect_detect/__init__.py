"""Which detector misses the fewest defects on your parts, and why."""
