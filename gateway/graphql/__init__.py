"""GraphQL over what the log says of documents and answers, within a budget that is checked before any of it is done."""
