"""Bad inputs, each with what must become of it: the rows of test_bad_input.py, by kind of input."""
