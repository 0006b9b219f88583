"""Turn documents of all formats into Markdown, each in a bounded child process.

In reading order: `limits` says what a document may cost; `pool` keeps the child processes; `child` is what runs in one;
`reading` picks a reader by media type. The readers are `html`, `pdf`, `word`, `slides`, `sheets`, `tables` and `records`,
with `container` in front of Office files, `positions` for the way back into the source, and `language`.
"""
