"""Real servers and a real worker, killed again and again: is everything there once, and is what was lost found?

    python -m tests.acceptance.kills --server sekmet --records 5000 --worker-kills 20 --server-kills 5 --seed 1

The server itself is the judge: it is searched for the identifier of each resource.
"""
