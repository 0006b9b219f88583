"""What becomes of a question: fast rules before it is worked on, all rules beside generation. Pure but for the scanner.

Whoever asks speaks for themselves: orders to a model in a question do an extractive reader no harm. So they are noted,
and only plain attempts to override instructions or to draw them out are refused.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from millrace.event import Event
from millrace.events.guard import Action, VerdictGiven
from millrace.findings import Finding

from agents.guard.policy import Choice, GuardPolicy
from agents.guard.verdicts import Subject, reviews, verdict, verdicts_of
from agents.ports import PersonalData, Rank, TextScanner

REFUSED: Final = "the question was refused by the guards (rule {rule}); ask for what you want to know in other words"
_ACTIONS: Final[dict[Choice, Action]] = {"allow": "allow", "flag": "flag", "block": "block"}


class Judged(msgspec.Struct, frozen=True):
    """Verdicts on a question, and the rule that blocks it, if one does."""

    verdicts: Sequence[VerdictGiven] = ()
    blocked_by: str = ""

    def events(self, conversation: str) -> list[Event]:
        """Verdicts and the review items they open."""
        return [*self.verdicts, *reviews(self.verdicts, conversation=conversation)]


def judge_quickly(
    question: str, subject: Subject, scanner: TextScanner, personal_data: PersonalData, policy: GuardPolicy
) -> Judged:
    """Look at a question before it is worked on, and let the full scan begin beside it."""
    if not policy.questions:
        return Judged()
    judged = judge(subject, [*scanner.quick(question), *personal_data.find(question)], policy)
    if not judged.blocked_by:
        scanner.begin(question, Rank.QUESTION)
    return judged


async def judge_fully(question: str, subject: Subject, scanner: TextScanner, policy: GuardPolicy) -> Judged:
    """Look at a question with all rules, before its answer ends; what the fast ones had found is not said again."""
    if not policy.questions or not question:
        return Judged()
    scan = await scanner.scan(question, Rank.QUESTION)
    said = {(finding.kind, finding.rule) for finding in scanner.quick(question)}
    judged = judge(subject, [found for found in scan.findings if (found.kind, found.rule) not in said], policy)
    if scan.complete:
        return judged
    unread = verdict(subject, "injection", "scan_incomplete", "flag")
    return msgspec.structs.replace(judged, verdicts=[*judged.verdicts, unread])


def judge(subject: Subject, findings: Iterable[Finding], policy: GuardPolicy) -> Judged:
    """Decide by policy what each finding leads to."""
    judged = [
        (finding, _ACTIONS[_choice(finding, policy)])
        for finding in findings
        if finding.score >= policy.least_score and not _listed(finding.rule, policy.ignored_question_rules)
    ]
    blocked_by = next((finding.rule for finding, action in judged if action == "block"), "")
    return Judged(verdicts_of(subject, judged), blocked_by)


def _choice(finding: Finding, policy: GuardPolicy) -> Choice:
    match finding.kind:
        case "injection" | "hidden_text":
            return "block" if _listed(finding.rule, policy.blocked_question_rules) else policy.question_injection
        case "obscenity":
            return policy.question_obscenity
        case "personal_data" | "secret":
            return policy.question_personal_data


def _listed(rule: str, rules: Iterable[str]) -> bool:
    return any(rule == each or (each.endswith("*") and rule.startswith(each[:-1])) for each in rules)
