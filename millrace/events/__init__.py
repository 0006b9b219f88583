"""Event classes, by domain: the contract as Python."""
