"""The comparison in FiftyOne."""
