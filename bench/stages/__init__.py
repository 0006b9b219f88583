"""Whether the stage that is said to have failed is the one that was broken."""
