"""What people ask, read from the log alone: topics, intents, what is not answered, usage.

In reading order: `reading` joins the records of each question, `masking` keeps the data of persons out, `clusters`
groups question vectors, `topics` follows the groups from week to week, `words` names them, `intents` looks at the form
of a question, `analysis` puts it all together, `summary` is what it says, `report` and `plots` make a page of that.
"""
