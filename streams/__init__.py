"""How events move: runners, the pump, dead letters, brokers, topic administration, stores and sources.

In reading order: `worker` starts the agents of a catalogue; `pump` consumes for one of them, with `lanes` (order per
key), `ledger` (what may be committed), `producer` and `dead_letters`. `visibility` folds the log into what a question
may see; `stores` keeps content and vectors. Then `tables`, `table_app` and `table_acks` (keyed agents on Faust),
`maintenance`, `health`, `replay`, `admin` (topics) and `embedded_broker`.
"""
