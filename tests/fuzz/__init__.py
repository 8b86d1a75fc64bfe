"""Bytes of strangers against everything that reads a network or a file.

    python -m tests.fuzz --inputs 10000000

Each reader is a target: it may refuse with an error of the project's tree, and nothing else; no input may take long.
With atheris the search is led by coverage; the everyday test tries the seeds and simple mutations of them.
"""
