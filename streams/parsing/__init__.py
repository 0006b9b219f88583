"""Turn documents of all formats into Markdown, each in a bounded child process.

In reading order: `limits` says what a document may cost; `pool` keeps the child processes, `process` is one of them
seen from the worker, `child` what runs in it; `reading` picks a reader by media type. The readers are `html`, `pdf`,
`word`, `slides`, `sheets`, `tables` and `records`; they write a `draft`. `container` stands in front of Office files,
`decoding` in front of text, `positions` finds the way back into HTML, `language` names the language.
"""
