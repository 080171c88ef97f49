"""What each detector misses, and whether the difference means anything."""
