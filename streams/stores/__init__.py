"""Where content and vectors are kept: the embedded and the production adapters of the store ports."""
