"""What works on this machine and what doesn't, with the command that mends it.

`trying` trains and predicts with a framework for real, `probe` tells what an interpreter has, `machine` what the
computer has, `database` whether FiftyOne's starts; `examine` puts them together as `found` has it and `table` shows it.
`before` is the quick part that a comparison asks before it spends hours.
"""
