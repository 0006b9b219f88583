"""What an operator may set about the guards, with defaults and reasons."""

from typing import Annotated, Literal

import msgspec

Choice = Literal["allow", "flag", "block"]


class GuardPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of what looks at questions, answers and documents; the same for every worker of a stack."""

    questions: Annotated[bool, "Whether questions are looked at."] = True
    answers: Annotated[bool, "Whether answers are looked at; without it they leave as they were read."] = True
    documents: Annotated[bool, "Whether documents are scanned; without it untrusted ones are visible at once."] = True
    question_injection: Annotated[
        Choice, "What becomes of a question that gives orders to a model; blocked ones are refused, or taken back."
    ] = "flag"
    blocked_question_rules: Annotated[
        tuple[str, ...], "Rules that block a question whatever question_injection says; one that ends in * is a prefix."
    ] = ("override", "override_*", "reveal")
    ignored_question_rules: Annotated[
        tuple[str, ...], "Rules that say nothing of a question: to ask and to order is what it is there for."
    ] = ("question", "order", "answer_order", "code_order")
    doubtful_rules: Annotated[
        tuple[str, ...],
        "Rules that say nothing of a trusted source by themselves: a handbook asks and orders as well.",
    ] = ("question", "order", "code_order")
    strict_rules: Annotated[
        tuple[str, ...], "Rules that keep a passage from being quoted however unsure they are: they say how to answer."
    ] = ("answer_order",)
    least_score: Annotated[float, "Single findings that are less sure than this do not count."] = 0.5
    question_obscenity: Annotated[Choice, "What becomes of an obscene question."] = "flag"
    question_personal_data: Annotated[
        Choice,
        "What becomes of a question with personal data or secrets in it; it is needed to answer, so it may stay.",
    ] = "allow"
    mask_personal_data: Annotated[bool, "Whether answers show [EMAIL_ADDRESS_1] in place of an address, and so on."] = (
        True
    )
    mask_secrets: Annotated[bool, "The same for keys, tokens and passwords."] = True
    unmasked_rules: Annotated[tuple[str, ...], "Rules whose findings are shown all the same, such as IP_ADDRESS."] = ()
    link_hosts: Annotated[
        tuple[str, ...], "Hosts that links in answers may lead to; *.example.org stands for all below example.org."
    ] = ()
    leak_markers: Annotated[
        tuple[str, ...], "Texts that must not leave, such as a marker in a prompt; an answer with one is taken back."
    ] = ()
    untrusted_flagged: Annotated[
        Literal["reject", "show"], "What becomes of an untrusted document that gives orders to a model."
    ] = "reject"
    untrusted_unread: Annotated[
        Literal["reject", "show"], "What becomes of an untrusted document that could not be scanned in time."
    ] = "reject"
    hidden_elements: Annotated[
        int, "From so many elements on, text that the parser found hidden in a document is put up for review."
    ] = 10
    hidden_characters: Annotated[int, "The same for invisible characters, by which text can be smuggled."] = 100
    repeated_times: Annotated[int, "An answer that says the same line so often is put up for review."] = 3
    max_finding_chars: Annotated[
        int, "At most so many characters of a streamed answer are held back until they are known to be harmless."
    ] = 4_096
