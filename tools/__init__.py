"""Programs for people who work on Millrace: checks and generated reference pages. No part of the product."""
