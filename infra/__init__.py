"""How Millrace is assembled and run: settings, launcher, worker entry point, real servers.

In reading order: `settings` says what can be set and reads it; `__main__` is ``python -m infra``; `launch` starts and
ends a stack on this machine, `kafka` its broker; `worker` is one worker process, and `composition` chooses the adapters
behind its agents' ports. `demo` shows all of it at work.
"""
