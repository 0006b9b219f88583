"""Child processes for work on what may be hostile: few rights, an environment of their own, and a pipe.

`rights` is the child's side, which gives up what it has no use for before it reads anything; `process` is the worker's
side, which starts and ends it. What passes through the pipe, and for how long, is up to those who use them.
"""
