"""Finds personal data with a structure, and secrets, by their form and their check digits.

In reading order: `finder` is the adapter, `runs` finds numbers in groups, `numbers` says which of them are cards and
telephones, `identities` knows the numbers that states give, `written` what has letters in it, `credentials` what opens
doors, `tail` which part of a text that still grows is settled. All patterns run in RE2, in time linear in the text.
"""

from inference.personal_data.finder import MAX_FINDING_CHARS, PersonalDataFinder
from inference.personal_data.tail import settled

__all__ = ["MAX_FINDING_CHARS", "PersonalDataFinder", "settled"]
