"""For people who work inside a framework: our pictures and our figures by that framework's own means.

One module for each framework, which that framework's user imports, and nothing of this package does. So they import
their framework at their top, where registering needs it. What they have in common is in `counted`.
"""
