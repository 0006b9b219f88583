"""Golden logs: what a fixed scenario left on the log of each step of the project. Later code is held against them.

``python -m tools.golden record FOLDER --step N [--checkout PATH]`` makes one. In reading order: `scenario.toml` says
what is done, `drive` does it with the client of the checkout that is recorded, `log` is the file that comes out.
"""
