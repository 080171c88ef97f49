"""Where things stand in the plots: values into percent of a plot's width and height.

The templates draw in percent, so text keeps its size on a phone and lines stay crisp in print.
"""
