"""What the fast core costs, against the limit and against what a user would take instead; `make
bench` runs all of it.
"""
