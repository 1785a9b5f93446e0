"""What the command line does, from Python: the same engine, the same files, the same lineages.

Everything here is reached as a name of `evoprompt`; heavy packages are imported when they are
needed. Mistakes are `evoprompt.UserError`s that say how to mend them.
"""
