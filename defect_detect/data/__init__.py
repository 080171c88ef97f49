"""Datasets: read, repaired, split, written. README.md lists what a normalized one promises."""
