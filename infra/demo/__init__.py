"""The main job, once, on a stack of its own: documents in, answers with citations out, changes that show at once."""
