"""A plug-in of evoprompt: one of each kind of thing that can be added."""
